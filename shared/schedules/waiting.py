"""Runs that wait for a free slot: `pipeline_execution_queue`, and how they come out of it.

A run enters with a QUEUED row and leaves with LAUNCHED, CANCELLED or EXPIRED, for good.
`process_queue` only publishes: the dispatcher admits a run as it admits any other, so neither two
calls at once nor a crash passes a limit or starts a run twice, and a run that finds no room after
all goes on waiting.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from shared.engine.queued_runs import QUEUE_LOG
from shared.schedules import compaction, requests
from shared.schedules.requests import RunRequestMessage
from shared.telemetry import log
from shared.tenancy import quota
from shared.tenancy.tenants import PROFILES
from shared.warehouse import rows
from shared.warehouse.queries import query
from shared.warehouse.rows import Row

LONGEST_WAIT = timedelta(hours=24)
"""Of a scheduled run; by then its next occurrence has come, mostly."""
ITS_TURN = "Its turn has come; it is about to start."
"""The reason of a QUEUED row that a publication leaves."""
_IN_FLIGHT = timedelta(minutes=5)
"""After so long without a word of the dispatcher a run is published again."""
_LIVE_DAYS = timedelta(days=2)
MOST_RUNS = 20_000
"""Published by one call; the others are next."""

_ANY = f"""
SELECT 1 AS one
FROM `{QUEUE_LOG}`
WHERE recorded_at >= @since
GROUP BY tenant_id, pipeline_logging_id
HAVING COUNTIF(state != 'QUEUED') = 0
LIMIT 1
"""  # noqa: S608 - own names

# `known` is what the ledger knows: a run that was ever admitted waits no more, its dispatcher has
# only not said so yet. A scheduled run whose day or month is used up leaves, as it would have been
# skipped had it not waited; a run of a backfill waits for better days.
_QUEUE = f"""
WITH entries AS (
  SELECT
    * EXCEPT (backfill_id),
    MAX(backfill_id) OVER (PARTITION BY tenant_id, pipeline_logging_id) AS backfill_id,
    state = 'QUEUED' AND IFNULL(reason, '') = @its_turn AND recorded_at > @in_flight_since
      AS in_flight
  FROM `{QUEUE_LOG}`
  WHERE recorded_at >= @since
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY tenant_id, pipeline_logging_id
    ORDER BY IF(state = 'QUEUED', 0, 1) DESC, recorded_at DESC, sequence DESC
  ) = 1
),
slots AS (
  SELECT
    tenant_id,
    slot,
    MAX(pipeline_logging_id) AS run_id,
    MIN(usage_date) AS usage_date,
    LOGICAL_OR(event = 'ADMITTED') AND NOT LOGICAL_OR(event = 'REFUNDED') AS counts,
    LOGICAL_OR(event = 'RELEASED') AS released,
    MAX(deadline) AS deadline
  FROM `{quota.LEDGER}`
  WHERE usage_date >= @usage_since
  GROUP BY tenant_id, slot
),
known AS (
  SELECT
    tenant_id,
    run_id,
    NOT LOGICAL_OR(released) AND MAX(deadline) > @now AND MAX(usage_date) >= @live_since AS is_live
  FROM slots
  WHERE counts
  GROUP BY tenant_id, run_id
),
running AS (
  SELECT tenant_id, COUNTIF(is_live) AS runs
  FROM known
  GROUP BY tenant_id
),
used AS (
  SELECT
    tenant_id,
    COUNT(DISTINCT IF(usage_date = @today, run_id, NULL)) AS today,
    COUNT(DISTINCT IF(usage_date >= @month, CONCAT(run_id, CAST(usage_date AS STRING)), NULL))
      AS this_month
  FROM slots
  WHERE counts
  GROUP BY tenant_id
),
waiting AS (
  SELECT
    entry.*,
    known.run_id IS NOT NULL AS was_admitted,
    SUM(IF(entry.in_flight AND known.run_id IS NULL, 1, 0))
      OVER (PARTITION BY entry.tenant_id) AS tenant_in_flight,
    SUM(IF(known.is_live OR (entry.in_flight AND known.run_id IS NULL), 1, 0))
      OVER (PARTITION BY entry.tenant_id, entry.backfill_id) AS backfill_busy
  FROM entries AS entry
  LEFT JOIN known
    ON known.tenant_id = entry.tenant_id AND known.run_id = entry.pipeline_logging_id
),
candidates AS (
  SELECT
    waiting.*,
    (tenant.status IS NULL OR tenant.status != 'ACTIVE')
      OR (plan.status IS NULL OR plan.status != 'ACTIVE')
      OR IFNULL(waiting.expires_at <= @now, FALSE)
      OR (
        waiting.backfill_id IS NULL
        AND (
          IFNULL(used.today, 0) >= plan.daily_limit
          OR IFNULL(used.this_month, 0) >= plan.monthly_limit
        )
      ) AS is_to_leave,
    LEAST(
      plan.concurrent_limit - IFNULL(running.runs, 0),
      plan.daily_limit - IFNULL(used.today, 0),
      plan.monthly_limit - IFNULL(used.this_month, 0)
    ) - waiting.tenant_in_flight AS free
  FROM waiting
  LEFT JOIN `{PROFILES}` AS tenant
    ON tenant.tenant_id = waiting.tenant_id
  LEFT JOIN `tenants.tenant_subscriptions` AS plan
    ON plan.tenant_id = waiting.tenant_id
  LEFT JOIN running
    ON running.tenant_id = waiting.tenant_id
  LEFT JOIN used
    ON used.tenant_id = waiting.tenant_id
  WHERE waiting.state = 'QUEUED' AND NOT waiting.was_admitted AND NOT waiting.in_flight
),
in_backfill AS (
  SELECT
    *,
    ROW_NUMBER() OVER (
      PARTITION BY tenant_id, is_to_leave, backfill_id
      ORDER BY priority DESC, enqueued_at, pipeline_logging_id
    ) AS place
  FROM candidates
),
allowed AS (
  SELECT
    *,
    ROW_NUMBER() OVER (
      PARTITION BY tenant_id, is_to_leave
      ORDER BY priority DESC, enqueued_at, pipeline_logging_id
    ) AS turn
  FROM in_backfill
  WHERE
    is_to_leave
    OR backfill_id IS NULL
    OR place <= IFNULL(CAST(JSON_VALUE(request, '$.max_concurrency') AS INT64), 1) - backfill_busy
),
picked AS (
  SELECT *, 1 AS side
  FROM allowed
  WHERE is_to_leave OR turn <= free
),
total AS (
  SELECT
    COUNTIF(state = 'QUEUED' AND NOT was_admitted AND NOT in_flight) AS waiting_count,
    1 AS side
  FROM waiting
)
SELECT
  total.waiting_count,
  picked.tenant_id,
  picked.pipeline_logging_id,
  picked.request,
  picked.enqueued_at,
  picked.expires_at,
  picked.retry_count,
  picked.is_to_leave
FROM total
LEFT JOIN picked
  ON picked.side = total.side
ORDER BY picked.is_to_leave, picked.turn, picked.priority DESC, picked.enqueued_at
LIMIT @most
"""  # noqa: S608 - own names


@dataclass(frozen=True)
class Processed:
    """What a call did."""

    launched_count: int
    """Runs published whose tenants have room for them."""
    ended_count: int
    """Runs published that may not begin any more."""
    waiting_count: int
    """Runs that go on waiting; those that were published a moment ago do not count."""
    duration_ms: int


def enqueue(
    waiting: Sequence[RunRequestMessage], *, reason: str, expires_at: datetime | None = None
) -> None:
    """Let runs wait; `process_queue` publishes them when their tenants have room.

    Safe to repeat: a run is in the queue once, and one that has left does not come back.

    Args:
        waiting: the requests, as they are to be published.
        reason: what they wait for.
        expires_at: when waiting is given up; each after `LONGEST_WAIT` where absent.

    Raises:
        WarehouseBusyError: not now; some may be in the queue.
    """
    rows.append(
        QUEUE_LOG, [row(request, "QUEUED", reason, expires_at=expires_at) for request in waiting]
    )


def row(
    request: RunRequestMessage,
    state: str,
    reason: str | None,
    *,
    expires_at: datetime | None = None,
) -> Row:
    """The row of the queue's log that says so."""
    stamp = rows.stamp()
    enqueued_at = request.requested_at or stamp["recorded_at"]
    expiry = expires_at or request.expires_at or enqueued_at + LONGEST_WAIT
    waiting = request.model_copy(
        update={"requested_at": enqueued_at, "expires_at": expiry, "waited": True}
    )
    values: dict[str, Any] = {
        "tenant_id": request.tenant_id,
        "pipeline_logging_id": request.pipeline_logging_id,
        "config_id": request.config_id,
        "backfill_id": request.backfill_id,
        "state": state,
        "priority": request.priority,
        "provider": request.provider,
        "domain": request.domain,
        "pipeline_template": request.pipeline_template,
        "request": waiting.model_dump(mode="json"),
        "scheduled_time": request.scheduled_time,
        "enqueued_at": enqueued_at,
        "retry_count": request.retry_count,
        "expires_at": expiry,
        "reason": reason,
        **stamp,
    }
    kind = "turn" if reason == ITS_TURN else state
    return Row(f"{request.pipeline_logging_id}-{kind}-{request.retry_count}", values)


def process_queue(now: datetime | None = None) -> Processed:
    """Publish the waiting runs whose turn has come, of all tenants at once.

    Of each tenant as many as its limits leave room for, those of higher priority and then older
    ones first; of a backfill no more at once than it asked for. What is published goes round the
    tenants, so that hundreds of one do not stand before the single run of another. Runs that may
    not begin any more are published too: the dispatcher ends them, with a reason.

    Raises:
        Retryable: not now, or not everything; call again.
    """
    began = time.monotonic()
    turns, waiting_count = picked(now or datetime.now(UTC))
    published = [request for entry in turns if (request := _request(entry)) is not None]
    # Made before, so that what the dispatcher writes about a run is younger.
    marks = [row(request, "QUEUED", ITS_TURN) for request in published]
    requests.publish(published)
    rows.append(QUEUE_LOG, marks, batch_rows=rows.AT_THE_LIMIT)
    ended = sum(entry["is_to_leave"] for entry in turns)
    done = Processed(
        launched_count=len(turns) - ended,
        ended_count=ended,
        waiting_count=waiting_count - len(turns),
        duration_ms=round((time.monotonic() - began) * 1000),
    )
    log(logging.INFO, "queue processed", **done.__dict__)
    return done


def _request(entry: Mapping[str, Any]) -> RunRequestMessage | None:
    """The request of a row of the queue, to be published; None for one that nobody can read."""
    try:
        request = RunRequestMessage.model_validate(entry["request"])
    except ValidationError as error:
        run_id = entry["pipeline_logging_id"]
        log(logging.ERROR, "waiting run that nobody can read", run_id=run_id, error=str(error))
        return None
    return request.model_copy(
        update={
            "requested_at": entry["enqueued_at"],
            "expires_at": entry["expires_at"],
            "waited": True,
            "retry_count": (entry["retry_count"] or 0) + 1,
        }
    )


def picked(now: datetime) -> tuple[list[dict[str, Any]], int]:
    """The waiting runs to publish, in their order, and how many there are with the others.

    Two queries, whatever the number of tenants and runs; one of the queue's log alone while it is
    empty, so that the ledger is not read every minute for nothing.

    Raises:
        WarehouseBusyError: not now.
    """
    since = compaction.rows_needed_since(now)
    if not rows.read(query(_ANY, since=since)):
        return [], 0
    found = rows.read(
        query(
            _QUEUE,
            now=now,
            since=since,
            its_turn=ITS_TURN,
            in_flight_since=now - _IN_FLIGHT,
            usage_since=quota.window_begins(now),
            live_since=(now - _LIVE_DAYS).date(),
            today=now.date(),
            month=now.date().replace(day=1),
            most=MOST_RUNS,
        )
    )
    turns = [entry for entry in found if entry["pipeline_logging_id"]]
    return turns, found[0]["waiting_count"]
