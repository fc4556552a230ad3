"""When a schedule runs: cron expressions on the wall clock of a time zone.

What holds where the clocks change, for every zone and also where they change by half an hour
(Australia/Lord_Howe) or at midnight:

- An expression that names hours (`30 2 * * *`, `0 */6 * * *`, `*/30 0-5 * * *`) asks for times of
  day. Each of them comes once a day that has it. One that falls into a gap, because the clocks go
  forward over it, comes at the first moment after the gap; several that fall into the same gap
  come together, as one occurrence. One that the clock shows twice, because it goes back, comes the
  first time only. So a nightly run neither vanishes on the shortest day nor doubles on the longest.
- An expression that leaves the hour open (`*/30 * * * *`, `15 * * * *`) asks for an interval. It
  comes whenever the clock shows one of its minutes: in both passes of an hour that the clock shows
  twice, and not for minutes that the clock leaves out, since the next one is due anyway. Where the
  clocks change by whole hours its intervals are those of real time, across the change too; so are
  those of `*/30` and of divisors of 30 where they change by half an hour.

Which days count is decided by the date that the wall clock shows, also for a time that a gap moves
to the next day.

croniter finds the next time on a wall clock that never changes; zones are put on here, because
croniter 7 with a zone runs a named time in both passes of a repeated hour, which would bill a
tenant's nightly pipeline twice.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from shared.schedules.expressions import CronExpression, parse

_LONGEST_REPEAT = timedelta(days=1)
"""No clock has ever gone back by more."""
_MINUTE = timedelta(minutes=1)


@lru_cache(maxsize=10_000)
def next_after(expression: str, timezone: str, moment: datetime) -> datetime:
    """The first occurrence after `moment`, never `moment` itself, in UTC.

    Raises:
        CronSyntaxError: the expression is refused.
        zoneinfo.ZoneInfoNotFoundError: the time zone does not exist.
    """
    return next(_after(expression, timezone, moment))


def occurrences(expression: str, timezone: str, start: datetime, count: int) -> list[datetime]:
    """The first `count` occurrences after `start`, in UTC.

    Raises:
        CronSyntaxError: the expression is refused.
        zoneinfo.ZoneInfoNotFoundError: the time zone does not exist.
    """
    return list(islice(_after(expression, timezone, start), count))


def missed(expression: str, timezone: str, since: datetime, now: datetime) -> Iterator[datetime]:
    """Every occurrence after `since` up to and including `now`, in UTC, oldest first.

    Found one by one: `* * * * *` has half a million a year, so take no more than are wanted.

    Raises:
        CronSyntaxError: the expression is refused.
        zoneinfo.ZoneInfoNotFoundError: the time zone does not exist.
    """
    return takewhile(lambda moment: moment <= now, _after(expression, timezone, since))


def jitter_seconds(config_id: str, max_jitter_seconds: int) -> int:
    """How much later than its occurrences a schedule runs: from 0 to the maximum, always the same.

    Identical expressions of many tenants spread evenly; a schedule keeps its place for good.
    """
    digest = hashlib.sha256(f"jitter/{config_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (max_jitter_seconds + 1)


def date_of_run(timezone: str, scheduled: datetime) -> date:
    """The date that a run of this occurrence processes: the last complete day of the time zone."""
    return scheduled.astimezone(ZoneInfo(timezone)).date() - timedelta(days=1)


def _after(expression: str, timezone: str, moment: datetime) -> Iterator[datetime]:
    cron = parse(expression)
    zone = ZoneInfo(timezone)
    if cron.every_hour:
        return _shown(cron, zone, moment.astimezone(UTC))
    return _named(cron, zone, moment.astimezone(UTC))


def _named(cron: CronExpression, zone: ZoneInfo, moment: datetime) -> Iterator[datetime]:
    """Each named time once: the first time that the clock shows it, or when it has passed it."""
    latest = moment
    for wall in _walls(cron, _wall(moment, zone)):
        first = _first(wall, zone)
        if first > latest:
            latest = first
            yield first


def _shown(cron: CronExpression, zone: ZoneInfo, moment: datetime) -> Iterator[datetime]:
    """Every moment at which the clock shows one of the times."""
    while True:
        moment = _next_shown(cron, zone, moment)
        yield moment


def _next_shown(cron: CronExpression, zone: ZoneInfo, moment: datetime) -> datetime:
    """The first moment after `moment` at which the clock shows one of the times.

    Where the clock goes back within a day, that can be a time that it has shown before.
    """
    now = _wall(moment, zone)
    back = now + _LONGEST_REPEAT - _wall(moment + _LONGEST_REPEAT, zone)
    best: datetime | None = None
    for wall in _walls(cron, now - max(back, timedelta())):
        later = [shown for shown in _moments(wall, zone) if shown > moment]
        best = min([*later, best] if best else later, default=None)
        if best is not None and wall > now:
            return best
    raise AssertionError("a cron expression that was accepted always comes again")


def _walls(cron: CronExpression, after: datetime) -> Iterator[datetime]:
    """The times of `cron` on a wall clock that never changes."""
    from croniter import croniter

    times = croniter(cron.canonical, after, day_or=cron.either_day)
    while True:
        wall: datetime = times.get_next(datetime)
        yield wall


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _moments(wall: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
    """When the clock shows `wall`: once, twice, or never."""
    early, late = _by_offset(wall, zone)
    if early == late:
        return (early,)
    return (early, late) if early < late else ()


def _first(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the clock shows `wall` for the first time, or jumps over it."""
    before, after = _by_offset(wall, zone)
    if before <= after:
        return before
    low, high = after, before  # the clocks change after `low`, at `high` at the latest
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        low, high = (middle, high) if _wall(middle, zone) < wall else (low, middle)
    return high.replace(microsecond=0)


def _by_offset(wall: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """`wall` in UTC by the offset before a change of the clocks, and by the one after it.

    Equal where there is no change; the first is the later one in a gap (PEP 495).
    """
    return (
        wall.replace(tzinfo=zone, fold=0).astimezone(UTC),
        wall.replace(tzinfo=zone, fold=1).astimezone(UTC),
    )
