"""Which schedules are due, and for which of their occurrences."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from shared.schedules import compaction, cron
from shared.schedules.revisions import CONFIGS_LOG
from shared.tenancy.tenants import PROFILES
from shared.warehouse import rows
from shared.warehouse.queries import query

MOST_SCHEDULES = 20_000
"""Of one call; those that have been due longest come first, the others stay due."""
MOST_CAUGHT_UP = 24
"""Missed occurrences of one schedule that one call triggers; the rest stay due."""
MOST_RUNS = 20_000
"""Of all schedules in one call: what each of them owes is held in memory."""
_FIRST_LOOK_BACK = timedelta(hours=1)

# Like the view tenant_pipeline_configs, on the rows since the last compaction only. Among these is
# one of each revision that has all of its columns: its first, or the compaction's.
DUE = f"""
WITH schedules AS (
  SELECT
    *,
    MAX(next_run_time) OVER (PARTITION BY tenant_id, config_id, revision) AS due_at
  FROM `{CONFIGS_LOG}`
  WHERE recorded_at >= @since
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY tenant_id, config_id
    ORDER BY
      IF(change = 'DELETED', 1, 0) DESC,
      revision DESC,
      IF(schedule_cron IS NULL, 0, 1) DESC,
      recorded_at DESC,
      sequence DESC
  ) = 1
)
SELECT
  schedule.tenant_id,
  schedule.config_id,
  schedule.revision,
  schedule.provider,
  schedule.domain,
  schedule.pipeline_template,
  schedule.schedule_cron,
  schedule.timezone,
  schedule.catch_up,
  schedule.priority,
  TO_JSON_STRING(schedule.parameters) AS parameters,
  schedule.max_jitter_seconds,
  schedule.due_at,
  tenant.status AS tenant_status
FROM schedules AS schedule
LEFT JOIN `{PROFILES}` AS tenant
  ON tenant.tenant_id = schedule.tenant_id
WHERE schedule.change != 'DELETED' AND schedule.is_active AND schedule.due_at <= @now
ORDER BY schedule.due_at, schedule.config_id
LIMIT @most
"""  # noqa: S608 - own names


def due_schedules(now: datetime, *, since: datetime | None = None) -> list[dict[str, Any]]:
    """The schedules that are due at `now`, as rows: one query, at most `MOST_SCHEDULES`.

    `parameters` is JSON text, `tenant_status` None where there is no such tenant. Plain rows, since
    ten thousand models would take as long as all the rest.

    Args:
        now: up to when.
        since: which rows of the log to read; by default those since the last compaction.

    Raises:
        WarehouseBusyError: not now.
    """
    begin = compaction.rows_needed_since(now) if since is None else since
    return rows.read(query(DUE, since=begin, now=now, most=MOST_SCHEDULES))


@dataclass(frozen=True)
class DueTimes:
    """What a schedule owes at a moment."""

    occurrences: tuple[datetime, ...]
    """Occurrences to trigger now, oldest first."""
    following: datetime
    """The first occurrence that is not settled with these: when it is due next, less the jitter."""


@lru_cache(maxsize=20_000)
def due_times(
    expression: str, timezone: str, first: datetime, limit: datetime, *, catch_up: bool
) -> DueTimes:
    """The occurrences from `first`, which is one, to `limit`.

    Missed ones collapse into the latest unless `catch_up`: then each is triggered, the oldest
    `MOST_CAUGHT_UP` now. Remembered, since many schedules say the same.

    Raises:
        CronSyntaxError: the expression is refused.
        zoneinfo.ZoneInfoNotFoundError: the time zone does not exist.
    """
    following = cron.next_after(expression, timezone, first)
    if following > limit:
        return DueTimes((first,), following)
    if not catch_up:
        latest = _latest(expression, timezone, first, limit)
        return DueTimes((latest,), cron.next_after(expression, timezone, latest))
    later = cron.occurrences(expression, timezone, first, MOST_CAUGHT_UP)
    count = min(1 + bisect_right(later, limit), MOST_CAUGHT_UP)
    return DueTimes((first, *later[: count - 1]), later[count - 1])


def _latest(expression: str, timezone: str, first: datetime, limit: datetime) -> datetime:
    """The last occurrence from `first` to `limit`, without walking through all of them."""
    look_back = _FIRST_LOOK_BACK
    while limit - look_back > first:
        latest = _last(cron.missed(expression, timezone, limit - look_back, limit))
        if latest is not None:
            return latest
        look_back *= 8
    return _last(cron.missed(expression, timezone, first, limit)) or first


def _last(moments: Iterable[datetime]) -> datetime | None:
    return next(iter(deque(moments, maxlen=1)), None)


@lru_cache(maxsize=20_000)
def date_of_run(timezone: str, scheduled: datetime) -> date:
    """`cron.date_of_run`, remembered."""
    return cron.date_of_run(timezone, scheduled)
