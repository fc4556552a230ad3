"""Schedules and waiting runs appended once more, so that nobody has to read old rows of their logs.

The log of schedules gets a row with every change and every run, for ever; what a schedule is now
may stand in a row of last year. Once a day each active one gets a row that says again what it is
and when it is due, and each waiting run one that says that it waits. Whoever looks for what is due,
or whose turn it is, reads the rows from that day on.
"""

from datetime import UTC, datetime, time, timedelta

from shared.engine.queued_runs import QUEUE, QUEUE_LOG
from shared.expiring import ExpiringCache
from shared.schedules.revisions import CONFIGS, CONFIGS_LOG
from shared.warehouse import jobs, rows
from shared.warehouse.jobs import JobSpec
from shared.warehouse.queries import query
from shared.warehouse.rows import Row

_COMPACTIONS = "tenants.schedule_compactions"
_AT_MOST = timedelta(minutes=5)
_MARGIN = timedelta(hours=3)
"""A row is in its log within minutes of its `recorded_at`, and a run of a backfill that has left
the queue ends within an hour or two; both are far below this."""
_NEVER = datetime(2000, 1, 1, tzinfo=UTC)
_since: ExpiringCache[str, datetime] = ExpiringCache(lifetime_seconds=600)

_SCHEDULE = """
  tenant_id, config_id, revision, provider, domain, pipeline_template, schedule_cron, timezone,
  is_active, catch_up, priority, parameters, max_jitter_seconds, description, next_run_time,
  last_run_time, created_at, created_by"""
_APPEND_ALL = f"""
INSERT INTO `{CONFIGS_LOG}` ({_SCHEDULE}, change, recorded_by, recorded_at, sequence)
SELECT {_SCHEDULE}, 'ADVANCED', 'compaction', @now, 0
FROM `{CONFIGS}`
WHERE is_active
"""  # noqa: S608 - own names
_WAITING = """
  tenant_id, pipeline_logging_id, config_id, backfill_id, state, priority, provider, domain,
  pipeline_template, request, scheduled_time, enqueued_at, retry_count, expires_at, reason"""
_APPEND_WAITING = f"""
INSERT INTO `{QUEUE_LOG}` ({_WAITING}, recorded_at, sequence)
SELECT {_WAITING}, @now, 0
FROM `{QUEUE}`
"""  # noqa: S608 - own names


def compact_schedules(now: datetime | None = None) -> int:
    """Append every active schedule, and every waiting run, as it is now; how many schedules.

    Once a UTC day, by two statements whatever their number. Safe to repeat, at once and after a
    crash: the day's jobs run once, and whoever asks again finds them done. A row that repeats what
    is known changes nothing that a view shows; one that an edit or a run has overtaken is older
    than that.

    Raises:
        WarehouseBusyError: not now, or not done within some minutes; ask again.
    """
    moment = now or datetime.now(UTC)
    count = _append("schedules", _APPEND_ALL, moment)
    _append("queue", _APPEND_WAITING, moment)
    begun_at = datetime.combine(moment.date(), time.min, UTC)  # before the job, whoever began it
    values = {"begun_at": begun_at, "schedules": count, "recorded_at": datetime.now(UTC)}
    rows.append(_COMPACTIONS, [Row(f"compaction-{moment.date()}", values)])
    return count


def _append(name: str, statement: str, now: datetime) -> int:
    work = JobSpec(work_id=f"compact-{name}--{now.date()}", query=query(statement, now=now))
    return jobs.run(work, datetime.now(UTC) + _AT_MOST).rows_written


def rows_needed_since(now: datetime) -> datetime:
    """From which `recorded_at` on both logs' rows say all about what is active or waits.

    Remembered for some minutes: an older answer only reads more.

    Raises:
        WarehouseBusyError: not now.
    """
    return _since.get("", lambda: _latest(now)) - _MARGIN


def _latest(now: datetime) -> datetime:
    found = rows.read(
        query(
            f"SELECT MAX(begun_at) AS begun_at FROM `{_COMPACTIONS}` WHERE begun_at <= @now",  # noqa: S608 - own names
            now=now,
        )
    )
    return found[0]["begun_at"] or _NEVER
