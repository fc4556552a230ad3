"""Which occurrences a schedule owes, without a clock."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.schedules import cron
from shared.schedules.due import MOST_CAUGHT_UP, due_times

NEW_YORK = "America/New_York"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TWO = datetime(2025, 11, 15, 2, tzinfo=UTC)
SECOND = timedelta(seconds=1)
START = datetime(2025, 1, 1, tzinfo=UTC)


def test_the_one_occurrence_that_is_due() -> None:
    owed = due_times("0 2 * * *", "UTC", TWO, TWO + HOUR, catch_up=False)

    assert owed.occurrences == (TWO,)
    assert owed.following == TWO + DAY


@pytest.mark.parametrize("catch_up", [True, False])
def test_the_last_moment_before_the_next_occurrence_and_that_moment(*, catch_up: bool) -> None:
    before = due_times("0 * * * *", "UTC", TWO, TWO + HOUR - SECOND, catch_up=catch_up)
    exactly = due_times("0 * * * *", "UTC", TWO, TWO + HOUR, catch_up=catch_up)

    assert before.occurrences == (TWO,)
    assert exactly.occurrences[-1] == TWO + HOUR
    assert exactly.following == TWO + 2 * HOUR


def test_missed_ones_collapse_into_the_latest() -> None:
    owed = due_times("0 * * * *", "UTC", TWO, TWO + 6 * HOUR + SECOND, catch_up=False)

    assert owed.occurrences == (TWO + 6 * HOUR,)
    assert owed.following == TWO + 7 * HOUR


def test_with_catch_up_each_is_owed_oldest_first() -> None:
    owed = due_times("0 * * * *", "UTC", TWO, TWO + 6 * HOUR, catch_up=True)

    assert owed.occurrences == tuple(TWO + n * HOUR for n in range(7))
    assert owed.following == TWO + 7 * HOUR


def test_what_is_too_much_for_once_is_owed_from_the_next_one_on() -> None:
    owed = due_times("* * * * *", "UTC", TWO, TWO + DAY, catch_up=True)

    assert len(owed.occurrences) == MOST_CAUGHT_UP
    assert owed.following == TWO + MOST_CAUGHT_UP * timedelta(minutes=1)


def test_a_schedule_of_minutes_that_was_down_for_a_year_is_quickly_told() -> None:
    owed = due_times("* * * * *", "UTC", TWO, TWO + 365 * DAY, catch_up=False)

    assert owed.occurrences == (TWO + 365 * DAY,)


def test_a_moment_that_is_no_occurrence_is_one_all_the_same() -> None:
    """As a next run time is that an edit of the log by hand left."""
    odd = TWO + timedelta(minutes=7)

    owed = due_times("0 2 * * *", "UTC", odd, odd + HOUR, catch_up=False)

    assert owed.occurrences == (odd,)
    assert owed.following == TWO + DAY


@pytest.mark.parametrize(
    ("first", "days", "expected"),
    [
        (datetime(2025, 3, 8, 7, 30, tzinfo=UTC), 1, datetime(2025, 3, 9, 7, tzinfo=UTC)),
        (datetime(2025, 11, 1, 6, 30, tzinfo=UTC), 1, datetime(2025, 11, 2, 6, 30, tzinfo=UTC)),
    ],
    ids=["gap", "overlap"],
)
def test_a_change_of_the_clocks_neither_loses_nor_doubles_a_nightly_run(
    first: datetime, days: int, expected: datetime
) -> None:
    """2:30 does not exist on 9 March; 1:30 comes twice on 2 November, here as the second time."""
    expression = "30 2 * * *" if first.month == 3 else "30 1 * * *"
    first = cron.next_after(expression, NEW_YORK, first - DAY)

    owed = due_times(expression, NEW_YORK, first, first + days * DAY + 12 * HOUR, catch_up=True)

    assert len(owed.occurrences) == 2
    assert owed.following - owed.occurrences[-1] > 22 * HOUR


def test_the_last_day_of_the_month_and_leap_days() -> None:
    last = datetime(2025, 1, 31, tzinfo=UTC)
    owed = due_times("0 0 31 * *", "UTC", last, datetime(2025, 6, 15, tzinfo=UTC), catch_up=True)
    assert [moment.month for moment in owed.occurrences] == [1, 3, 5]
    assert owed.following == datetime(2025, 7, 31, tzinfo=UTC)

    leap = datetime(2024, 2, 29, tzinfo=UTC)
    owed = due_times("0 0 29 2 *", "UTC", leap, datetime(2028, 3, 1, tzinfo=UTC), catch_up=False)
    assert owed.occurrences == (datetime(2028, 2, 29, tzinfo=UTC),)


@settings(max_examples=30, deadline=None)
@given(
    expression=st.sampled_from(
        ["*/20 * * * *", "15 * * * *", "30 2 * * *", "0 */5 * * *", "0 0 31 * *", "5 4 * * 1-5"]
    ),
    zone=st.sampled_from(["UTC", NEW_YORK, "Europe/London", "Australia/Lord_Howe"]),
    start=st.integers(0, 2 * 365 * 24 * 60).map(lambda n: START + n * timedelta(minutes=1)),
    seconds=st.integers(0, 3 * 86_400),
)
def test_collapsed_is_always_the_last_that_walking_finds(
    expression: str, zone: str, start: datetime, seconds: int
) -> None:
    first = cron.next_after(expression, zone, start)
    limit = first + timedelta(seconds=seconds)
    walked = [first, *cron.missed(expression, zone, first, limit)]

    collapsed = due_times(expression, zone, first, limit, catch_up=False)
    caught_up = due_times(expression, zone, first, limit, catch_up=True)

    assert collapsed.occurrences == (walked[-1],)
    assert collapsed.following == cron.next_after(expression, zone, walked[-1])
    assert list(caught_up.occurrences) == walked[:MOST_CAUGHT_UP]
    assert caught_up.following == cron.next_after(expression, zone, caught_up.occurrences[-1])
