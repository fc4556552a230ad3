"""When schedules run, above all where the clocks change.

The clock's own record, minute by minute, says what is right; croniter has no part in it.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.schedules import cron
from shared.schedules.expressions import CronExpression, parse

NEW_YORK = "America/New_York"
LONDON = "Europe/London"
LORD_HOWE = "Australia/Lord_Howe"


def local(text: str, zone: str) -> datetime:
    """`2026-03-08 01:45` as the zone's clock shows it first, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def shown(moments: list[datetime], zone: str) -> list[str]:
    """The moments as the zone's clock shows them, with the offset that tells the passes apart."""
    return [f"{moment.astimezone(ZoneInfo(zone)):%d %H:%M%z}" for moment in moments]


def after(expression: str, zone: str, start: str, count: int) -> list[str]:
    return shown(cron.occurrences(expression, zone, local(start, zone), count), zone)


# --- gaps: the clocks go forward ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "zone", "start", "expected"),
    [
        ("30 2 * * *", NEW_YORK, "2026-03-07 03:00", ["08 03:00-0400", "09 02:30-0400"]),
        ("0 2 * * *", NEW_YORK, "2026-03-07 03:00", ["08 03:00-0400", "09 02:00-0400"]),
        ("0 3 * * *", NEW_YORK, "2026-03-07 03:00", ["08 03:00-0400", "09 03:00-0400"]),
        ("30 1 * * *", LONDON, "2026-03-28 02:00", ["29 02:00+0100", "30 01:30+0100"]),
        ("15 2 * * *", LORD_HOWE, "2026-10-03 03:00", ["04 02:30+1100", "05 02:15+1100"]),
        ("30 2 * * *", LORD_HOWE, "2026-10-03 03:00", ["04 02:30+1100", "05 02:30+1100"]),
        ("0 0 * * *", "Africa/Cairo", "2026-04-23 12:00", ["24 01:00+0300", "25 00:00+0300"]),
    ],
)
def test_a_named_time_in_a_gap_comes_once_at_the_first_moment_after_it(
    expression: str, zone: str, start: str, expected: list[str]
) -> None:
    assert after(expression, zone, start, 2) == expected


def test_named_times_in_one_gap_come_together() -> None:
    found = after("*/20 1-3 * * *", NEW_YORK, "2026-03-08 01:15", 6)

    assert found == [
        "08 01:20-0500", "08 01:40-0500",
        "08 03:00-0400", "08 03:20-0400", "08 03:40-0400",
        "09 01:00-0400",
    ]  # fmt: skip


def test_a_weekly_run_in_a_gap_is_not_lost() -> None:
    assert after("30 2 * * SUN", NEW_YORK, "2026-03-05 00:00", 2) == [
        "08 03:00-0400",
        "15 02:30-0400",
    ]


def test_a_day_that_a_zone_left_out_is_made_up_for_once() -> None:
    """Samoa went from 29 to 31 December 2011."""
    found = after("0 9 * * *", "Pacific/Apia", "2011-12-28 10:00", 3)

    assert found == ["29 09:00-1000", "31 00:00+1400", "31 09:00+1400"]


# --- overlaps: the clocks go back ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "zone", "start", "expected"),
    [
        ("30 1 * * *", NEW_YORK, "2026-10-31 02:00", ["01 01:30-0400", "02 01:30-0500"]),
        ("0 1 * * *", NEW_YORK, "2026-10-31 02:00", ["01 01:00-0400", "02 01:00-0500"]),
        ("0 2 * * *", NEW_YORK, "2026-10-31 03:00", ["01 02:00-0500", "02 02:00-0500"]),
        ("0 1 * * *", LONDON, "2026-10-24 02:00", ["25 01:00+0100", "26 01:00+0000"]),
        ("45 1 * * *", LORD_HOWE, "2026-04-04 02:00", ["05 01:45+1100", "06 01:45+1030"]),
        ("0 2 * * *", LORD_HOWE, "2026-04-04 03:00", ["05 02:00+1030", "06 02:00+1030"]),
        ("30 23 * * *", "Africa/Cairo", "2026-10-28 23:45", ["29 23:30+0300", "30 23:30+0200"]),
    ],
)
def test_a_named_time_that_comes_twice_runs_the_first_time_only(
    expression: str, zone: str, start: str, expected: list[str]
) -> None:
    assert after(expression, zone, start, 2) == expected


def test_asked_during_the_second_pass_the_first_one_is_over() -> None:
    second_pass = local("2026-11-01 01:10", NEW_YORK) + timedelta(hours=1)

    assert shown([cron.next_after("30 1 * * *", NEW_YORK, second_pass)], NEW_YORK) == [
        "02 01:30-0500"
    ]


# --- expressions that leave the hour open -------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        (NEW_YORK, "2026-03-08 00:45"),
        (NEW_YORK, "2026-11-01 00:45"),
        (LONDON, "2026-03-29 00:45"),
        (LONDON, "2026-10-25 00:45"),
        (LORD_HOWE, "2026-10-04 00:45"),
        (LORD_HOWE, "2026-04-05 00:45"),
    ],
)
@pytest.mark.parametrize("minutes", [1, 5, 15, 30])
def test_short_intervals_are_those_of_real_time_across_every_change(
    zone: str, start: str, minutes: int
) -> None:
    found = cron.occurrences(f"*/{minutes} * * * *", zone, local(start, zone), 300 // minutes)

    assert {b - a for a, b in pairwise(found)} == {timedelta(minutes=minutes)}


@pytest.mark.parametrize("start", ["2026-03-08 00:15", "2026-11-01 00:15"])
@pytest.mark.parametrize("expression", ["0 * * * *", "30 * * * *", "17 0-23 * * *", "59 */1 * * *"])
def test_an_hourly_run_stays_hourly_where_clocks_change_by_an_hour(
    expression: str, start: str
) -> None:
    found = cron.occurrences(expression, NEW_YORK, local(start, NEW_YORK), 6)

    assert {b - a for a, b in pairwise(found)} == {timedelta(hours=1)}


def test_an_hourly_run_follows_the_clock_where_it_changes_by_half_an_hour() -> None:
    assert after("0 * * * *", LORD_HOWE, "2026-10-04 00:45", 3) == [
        "04 01:00+1030", "04 03:00+1100", "04 04:00+1100",
    ]  # fmt: skip
    assert after("45 * * * *", LORD_HOWE, "2026-04-05 00:45", 3) == [
        "05 01:45+1100", "05 01:45+1030", "05 02:45+1030",
    ]  # fmt: skip


def test_a_second_pass_that_begins_the_day_before_is_not_forgotten() -> None:
    """Cairo's clocks go from 24:00 on Thursday back to 23:00."""
    found = after("*/30 * * * THU", "Africa/Cairo", "2026-10-29 23:15", 4)

    assert found == ["29 23:30+0300", "29 23:00+0200", "29 23:30+0200", "05 00:00+0200"]


# --- calendars ----------------------------------------------------------------------------------


def dates(expression: str, start: date, count: int) -> list[str]:
    moment = datetime(start.year, start.month, start.day, tzinfo=UTC) - timedelta(minutes=1)
    return [f"{found:%Y-%m-%d}" for found in cron.occurrences(expression, "UTC", moment, count)]


def test_the_31st_comes_in_months_that_have_one() -> None:
    assert dates("0 0 31 * *", date(2026, 1, 1), 5) == [
        "2026-01-31", "2026-03-31", "2026-05-31", "2026-07-31", "2026-08-31",
    ]  # fmt: skip


def test_leap_days_come_when_they_are_there() -> None:
    assert dates("0 0 29 2 *", date(2025, 1, 1), 2) == ["2028-02-29", "2032-02-29"]
    assert dates("0 0 29 2 *", date(2096, 3, 1), 1) == ["2104-02-29"]


def test_either_day_field_is_enough_when_both_are_restricted() -> None:
    """1 July 2026 is a Wednesday."""
    assert dates("0 0 1 * MON", date(2026, 7, 1), 4) == [
        "2026-07-01", "2026-07-06", "2026-07-13", "2026-07-20",
    ]  # fmt: skip
    assert dates("0 0 1-31 * MON", date(2026, 7, 1), 2) == ["2026-07-01", "2026-07-02"]


def test_a_day_field_that_begins_with_an_asterisk_restricts_the_other() -> None:
    """crontab(5); odd days that are Mondays."""
    assert dates("0 0 */2 * MON", date(2026, 7, 1), 3) == [
        "2026-07-13", "2026-07-27", "2026-08-03",
    ]  # fmt: skip


def test_a_date_that_never_comes_does_not_stop_the_weekday_beside_it() -> None:
    assert dates("0 0 31 2 MON", date(2026, 1, 1), 2) == ["2026-02-02", "2026-02-09"]


@pytest.mark.parametrize("weekday", ["SUN", "0", "7", "sun", "7-7", "0-0"])
def test_sunday_has_several_names(weekday: str) -> None:
    assert dates(f"0 0 * * {weekday}", date(2026, 7, 1), 2) == ["2026-07-05", "2026-07-12"]


@pytest.mark.parametrize("weekdays", ["SAT-SUN", "6-7", "6,0", "sat,SUN"])
def test_a_weekend_may_be_a_range(weekdays: str) -> None:
    assert dates(f"0 0 * * {weekdays}", date(2026, 7, 1), 2) == ["2026-07-04", "2026-07-05"]


# --- against the clock's own record -------------------------------------------------------------


def _matches(said: CronExpression, wall: datetime) -> bool:
    day = wall.day in said.days_of_month
    weekday = wall.isoweekday() % 7 in said.days_of_week
    return (
        wall.minute in said.minutes
        and wall.hour in said.hours
        and wall.month in said.months
        and ((day or weekday) if said.either_day else (day and weekday))
    )


def recorded(expression: str, zone: str, start: datetime, hours: int) -> Iterator[datetime]:
    """What the clock shows, minute by minute, and which times it shows or passes first."""
    said = parse(expression)
    furthest = start.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    for minute in range(1, hours * 60 + 1):
        moment = start + timedelta(minutes=minute)
        wall = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        reached = [wall]
        if not said.every_hour:
            passed = int((wall - furthest).total_seconds()) // 60
            reached = [furthest + timedelta(minutes=number) for number in range(1, passed + 1)]
        furthest = max(furthest, wall)
        if any(_matches(said, time) for time in reached):
            yield moment


ZONES = [NEW_YORK, LONDON, LORD_HOWE, "Africa/Cairo", "America/Havana", "Antarctica/Troll"]
MINUTES = st.sampled_from(["*", "*/7", "*/15", "*/30", "0", "30", "59", "5,50", "10-40/10"])
HOURS = st.sampled_from(["*", "0-23", "0-5", "*/2", "1", "2", "0,1,2,3", "23", "22-23", "1-3/2"])
DAYS = st.sampled_from(["*", "*/2", "1-31", "1-7", "8,25,29", "31"])
WEEKDAYS = st.sampled_from(["*", "SUN", "THU-SAT", "0,6", "*/3"])
CHANGES = {
    zone: [
        hour
        for number in range(365 * 24)
        if (hour := datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number))
        .astimezone(ZoneInfo(zone))
        .utcoffset()
        != (hour + timedelta(hours=1)).astimezone(ZoneInfo(zone)).utcoffset()
    ]
    for zone in ZONES
}


@settings(max_examples=150, deadline=None)
@given(
    minutes=MINUTES,
    hours=HOURS,
    days=DAYS,
    weekdays=WEEKDAYS,
    zone=st.sampled_from(ZONES),
    change=st.integers(0, 1),
    before=st.integers(0, 240),
)
@example("*/30", "*", "*", "THU-SAT", "Africa/Cairo", 1, 90)
@example("30", "2", "8,25,29", "*", NEW_YORK, 0, 240)
def test_occurrences_are_what_the_clock_records_around_a_change(
    minutes: str, hours: str, days: str, weekdays: str, zone: str, change: int, before: int
) -> None:
    expression = f"{minutes} {hours} {days} * {weekdays}"
    start = CHANGES[zone][change] - timedelta(minutes=before)
    expected = list(islice(recorded(expression, zone, start, 30), 150))
    end = expected[-1] if len(expected) == 150 else start + timedelta(hours=30)

    assert list(cron.missed(expression, zone, start, end)) == expected


def test_every_change_of_the_zones_above_is_looked_at() -> None:
    assert {zone: len(changes) for zone, changes in CHANGES.items()} == dict.fromkeys(ZONES, 2)


# --- around the occurrences ---------------------------------------------------------------------


def test_an_occurrence_is_never_the_moment_itself() -> None:
    at_two = datetime(2026, 7, 1, 2, tzinfo=UTC)

    assert cron.next_after("0 2 * * *", "UTC", at_two) == at_two + timedelta(days=1)
    just_before = at_two - timedelta(microseconds=1)
    assert cron.next_after("0 2 * * *", "UTC", just_before) == at_two


def test_what_was_missed_ends_with_now() -> None:
    since = datetime(2026, 7, 1, 2, tzinfo=UTC)
    now = since + timedelta(hours=6)

    assert list(cron.missed("0 */2 * * *", "UTC", since, now)) == [
        since + timedelta(hours=hours) for hours in (2, 4, 6)
    ]
    assert list(cron.missed("0 0 1 1 *", "UTC", since, now)) == []


def test_jitter_is_steady_and_spreads() -> None:
    places = [cron.jitter_seconds(f"config-{number}", 600) for number in range(6000)]

    assert places == [cron.jitter_seconds(f"config-{number}", 600) for number in range(6000)]
    assert (min(places), max(places)) == (0, 600)
    tenths = [sum(place // 61 == tenth for place in places) for tenth in range(10)]
    assert min(tenths) > 480
    assert cron.jitter_seconds("config-1", 0) == 0


@pytest.mark.parametrize(
    ("zone", "scheduled", "expected"),
    [
        ("UTC", datetime(2026, 7, 2, 2, tzinfo=UTC), date(2026, 7, 1)),
        (NEW_YORK, datetime(2026, 7, 2, 2, tzinfo=UTC), date(2026, 6, 30)),
        ("Pacific/Kiritimati", datetime(2026, 7, 1, 12, tzinfo=UTC), date(2026, 7, 1)),
    ],
)
def test_a_run_processes_the_last_complete_day_of_its_zone(
    zone: str, scheduled: datetime, expected: date
) -> None:
    assert cron.date_of_run(zone, scheduled) == expected
