"""The fan-out: every schedule that is due becomes run requests, and is due later.

The order of effects is publish, record, advance. Whoever dies in between leaves schedules that are
due still: the next call publishes the same runs again, under the same IDs, and the dispatcher
starts each once. So may two calls at the same moment. No tenant is waited for, and the calls of
BigQuery are as many for one tenant as for ten thousand.
"""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from shared.schedules import cron, history, requests
from shared.schedules.due import MOST_RUNS, date_of_run, due_schedules, due_times
from shared.schedules.revisions import CONFIGS_LOG
from shared.telemetry import log
from shared.tenancy.tenants import TenantStatus
from shared.warehouse import rows
from shared.warehouse.rows import Row

_REQUIRED = ("tenant_id", "config_id", "revision", "provider", "domain", "pipeline_template")


@dataclass(frozen=True)
class Triggered:
    """What a call did."""

    triggered_count: int
    """Schedules that were due and run."""
    queued_count: int
    """Run requests published: more than one for a schedule that catches up."""
    skipped_count: int
    """Schedules that were due and do not run, since their tenant may not."""
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One run of a schedule that is due."""

    schedule: Mapping[str, Any]
    time: datetime
    run_id: str
    date: date
    stands_for_since: datetime | None
    """The first of the missed occurrences that this one stands for, if any."""


@dataclass(frozen=True, slots=True)
class Due:
    """A schedule that is due, with what it owes."""

    schedule: Mapping[str, Any]
    occurrences: tuple[Occurrence, ...]
    next_run_time: datetime


def trigger(now: datetime | None = None) -> Triggered:
    """Publish a run request for what is due, record it, and advance the schedules.

    Missed occurrences of a schedule collapse into the latest unless it catches up. Schedules of
    tenants that are not active are advanced too, and their occurrences recorded as skipped.

    Raises:
        Retryable: not now, or not everything; call again.
    """
    began = time.monotonic()
    moment = now or datetime.now(UTC)
    due = plan(due_schedules(moment), moment)
    running = [one for one in due if one.schedule["tenant_status"] == TenantStatus.ACTIVE]
    skipped = [one for one in due if one.schedule["tenant_status"] != TenantStatus.ACTIVE]
    published = requests.begin_to_publish(encoded_requests(running, moment))
    recorded = [
        *(_history_row(o, "TRIGGERED", _missed(o)) for one in running for o in one.occurrences),
        *(_history_row(o, "SKIPPED", _why(one)) for one in skipped for o in one.occurrences),
    ]
    advanced = [_advanced_row(one) for one in due]
    requests.wait_for(published)
    rows.append(history.LOG, recorded, batch_rows=rows.AT_THE_LIMIT)
    rows.append(CONFIGS_LOG, advanced, batch_rows=rows.AT_THE_LIMIT)
    done = Triggered(
        triggered_count=len(running),
        queued_count=len(published),
        skipped_count=len(skipped),
        duration_ms=round((time.monotonic() - began) * 1000),
    )
    log(logging.INFO, "schedules triggered", **done.__dict__)
    return done


def plan(schedules: Iterable[Mapping[str, Any]], now: datetime) -> list[Due]:
    """What each of `schedules` owes at `now`, as far as `MOST_RUNS` go; the others stay due.

    One whose times cannot be computed is left out and logged: it holds up nobody else.
    """
    found: list[Due] = []
    runs = 0
    for schedule in schedules:
        if runs >= MOST_RUNS:
            break
        try:
            found.append(_owed(schedule, now))
            runs += len(found[-1].occurrences)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            about = {name: schedule[name] for name in ("tenant_id", "config_id", "schedule_cron")}
            log(logging.ERROR, "schedule without a next time", error=repr(error), **about)
    return found


def _owed(schedule: Mapping[str, Any], now: datetime) -> Due:
    config_id, timezone = schedule["config_id"], schedule["timezone"]
    jitter = timedelta(seconds=cron.jitter_seconds(config_id, schedule["max_jitter_seconds"] or 0))
    first = schedule["due_at"] - jitter
    times = due_times(
        schedule["schedule_cron"],
        timezone,
        first,
        now - jitter,
        catch_up=bool(schedule["catch_up"]),
    )
    occurrences = tuple(
        Occurrence(
            schedule=schedule,
            time=moment,
            run_id=requests.scheduled_run_id(config_id, moment),
            date=date_of_run(timezone, moment),
            stands_for_since=first if times.occurrences[0] > first else None,
        )
        for moment in times.occurrences
    )
    return Due(schedule, occurrences, times.following + jitter)


def encoded_requests(due: Sequence[Due], now: datetime) -> Iterator[tuple[str, str, bytes]]:
    """The requests as they are published: of each tenant one, then of each a second one, ..."""
    requested_at = now.isoformat()
    for occurrence in _interleaved(due):
        schedule = occurrence.schedule
        known = json.dumps(
            {
                "tenant_id": schedule["tenant_id"],
                "pipeline_logging_id": occurrence.run_id,
                "provider": schedule["provider"],
                "domain": schedule["domain"],
                "pipeline_template": schedule["pipeline_template"],
                "date": occurrence.date.isoformat(),
                "trigger_type": "scheduled",
                "trigger_by": f"schedule/{schedule['config_id']}",
                "priority": schedule["priority"],
                "config_id": schedule["config_id"],
                "scheduled_time": occurrence.time.isoformat(),
                "requested_at": requested_at,
            }
        )
        parameters = _parameters(schedule) or "{}"
        data = f'{known[:-1]}, "parameters": {parameters}}}'.encode()
        yield schedule["tenant_id"], occurrence.run_id, data


def _interleaved(due: Sequence[Due]) -> list[Occurrence]:
    """So that a tenant with hundreds does not stand before those with one; priority first."""
    places: defaultdict[str, int] = defaultdict(int)
    ranked = []
    for one in sorted(due, key=lambda one: -(one.schedule["priority"] or 0)):
        for occurrence in one.occurrences:
            tenant_id = one.schedule["tenant_id"]
            ranked.append((places[tenant_id], occurrence))
            places[tenant_id] += 1
    return [occurrence for _, occurrence in sorted(ranked, key=lambda entry: entry[0])]


def _missed(occurrence: Occurrence) -> str | None:
    if occurrence.stands_for_since is None:
        return None
    since = occurrence.stands_for_since
    return f"Stands for the occurrences missed since {since:%Y-%m-%d %H:%M} UTC as well."


def _why(skipped: Due) -> str:
    tenant_id, status = skipped.schedule["tenant_id"], skipped.schedule["tenant_status"]
    return f"Tenant {tenant_id!r} is {status or 'unknown'}; it cannot run pipelines."


def _history_row(occurrence: Occurrence, state: str, reason: str | None) -> Row:
    schedule = occurrence.schedule
    now = rows.stamp()
    values = {
        "tenant_id": schedule["tenant_id"],
        "config_id": schedule["config_id"],
        "pipeline_logging_id": occurrence.run_id,
        "scheduled_time": occurrence.time,
        "provider": schedule["provider"],
        "domain": schedule["domain"],
        "pipeline_template": schedule["pipeline_template"],
        "date": occurrence.date,
        "state": state,
        "reason": reason,
        "priority": schedule["priority"],
        "completed_at": now["recorded_at"] if state == "SKIPPED" else None,
        **now,
    }
    return Row(f"{occurrence.run_id}-{state}", values)


def _advanced_row(due: Due) -> Row:
    """The row that says when the schedule is due next."""
    schedule = due.schedule
    values = {
        **{name: schedule[name] for name in _REQUIRED},
        "change": "ADVANCED",
        "next_run_time": due.next_run_time,
        "last_run_time": due.occurrences[-1].time,
        "recorded_by": "trigger",
        **rows.stamp(),
    }
    identity = (schedule["config_id"], schedule["revision"], due.next_run_time.isoformat())
    return Row("-".join(map(str, identity)), values)


def _parameters(schedule: Mapping[str, Any]) -> str | None:
    """As JSON text; None where there are none."""
    text: str | None = schedule["parameters"]
    return text if text and text != "null" else None
