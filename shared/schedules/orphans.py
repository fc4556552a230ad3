"""What nobody will end any more: runs past their deadline, and slots that died before their row.

Both are found by what the ledger lacks: a run without RELEASED, a slot without a row. Each is
completed by appending that very row last, so a call that is cut short, or meets another one, leaves
exactly what is still to be done.
"""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from shared.engine.expiry import Expired, OverdueRun, expire
from shared.errors import ConvergenceError
from shared.telemetry import log, log_context
from shared.tenancy import admission, quota, tenants
from shared.tenancy.tenants import TenantProfile
from shared.warehouse import rows
from shared.warehouse.queries import query

_WINDOW = timedelta(days=7)
"""How old an orphan may be: a scheduler may be down for days. Older slots count nowhere."""
_MAX_RUNS = 5_000
_PORTION = 50
"""Runs of one tenant that one thread takes at a time: queries and appends are shared by them."""
_THREADS = 8
_BUDGET_SECONDS = 240.0
"""No portion begins later; far below the function's timeout, whatever the last one takes."""


@dataclass(frozen=True)
class Cleanup:
    """What a cleanup did."""

    cleaned: int
    """Runs that are TIMED_OUT now."""
    released: int
    """Runs whose slots were given back: those, and some that had ended or never begun."""
    refunded: int
    """Slots whose owners had died before they had a row."""
    remaining: int
    """Runs that are left to the next call."""


def clean_up(budget_seconds: float = _BUDGET_SECONDS) -> Cleanup:
    """End what is overdue, of all tenants, as far as the time goes.

    What is overdue is found by two queries, whatever the number of tenants; then come a handful
    of calls for each fifty runs of a tenant. One tenant's trouble is logged and delays no other.

    Raises:
        Retryable: BigQuery does not answer; what is done stays done.
    """
    ends_at = time.monotonic() + budget_seconds
    refunded = admission.refund_holes()
    overdue, found = find_overdue(datetime.now(UTC))
    profiles = tenants.find_all(sorted({run.tenant_id for run in overdue}))

    def work(portion: Sequence[OverdueRun]) -> Expired:
        return _expire(portion, profiles.get(portion[0].tenant_id), ends_at)

    with ThreadPoolExecutor(_THREADS) as pool:
        parts = [pool.submit(copy_context().run, work, portion) for portion in _portions(overdue)]
    done = [part.result() for part in parts]
    released = sum(part.released for part in done)
    return Cleanup(
        cleaned=sum(part.ended for part in done),
        released=released,
        refunded=refunded,
        remaining=max(0, found - released),
    )


def find_overdue(now: datetime, limit: int = _MAX_RUNS) -> tuple[list[OverdueRun], int]:
    """The runs whose deadline has passed and whose slots nobody gave back; how many there are.

    Those longest overdue come first where there are more than `limit`.

    Raises:
        WarehouseBusyError: not now.
    """
    found = rows.read(
        query(
            "WITH slots AS ("  # noqa: S608 - own names
            " SELECT tenant_id, slot, MAX(pipeline_logging_id) AS run_id,"
            " MIN(usage_date) AS usage_date, MAX(deadline) AS deadline,"
            " LOGICAL_OR(event = 'ADMITTED') AND NOT LOGICAL_OR(event = 'REFUNDED') AS counts,"
            " LOGICAL_OR(event = 'RELEASED') AS released"
            f" FROM `{quota.LEDGER}` WHERE usage_date >= @since GROUP BY tenant_id, slot"
            "), runs AS ("
            " SELECT tenant_id, run_id, MAX(deadline) AS deadline,"
            " LOGICAL_OR(released) AS released,"
            " ARRAY_AGG(STRUCT(slot, usage_date) ORDER BY slot) AS slots"
            " FROM slots WHERE counts GROUP BY tenant_id, run_id"
            ") SELECT tenant_id, run_id, deadline, slots, COUNT(*) OVER () AS found FROM runs"
            " WHERE NOT released AND deadline <= @now"
            " ORDER BY deadline, tenant_id, run_id LIMIT @wanted",
            since=(now - _WINDOW).date(),
            now=now,
            wanted=limit,
        )
    )
    overdue = [
        OverdueRun(
            tenant_id=row["tenant_id"],
            run_id=row["run_id"],
            deadline=row["deadline"],
            slots=tuple((entry["slot"], entry["usage_date"]) for entry in row["slots"]),
        )
        for row in found
    ]
    return overdue, found[0]["found"] if found else 0


def _portions(overdue: Sequence[OverdueRun]) -> list[list[OverdueRun]]:
    """The runs by tenant, in portions; a tenant with many does not come before all others."""
    by_tenant = sorted(overdue, key=lambda run: run.tenant_id)
    ranked = []
    for _, group in groupby(by_tenant, key=lambda run: run.tenant_id):
        runs = list(group)
        ranked += [
            (begin // _PORTION, runs[begin : begin + _PORTION])
            for begin in range(0, len(runs), _PORTION)
        ]
    return [runs for _, runs in sorted(ranked, key=lambda entry: entry[0])]


def _expire(
    portion: Sequence[OverdueRun], profile: TenantProfile | None, ends_at: float
) -> Expired:
    """What became of a portion: nothing where time is up, or it cannot be done now."""
    tenant_id = portion[0].tenant_id
    if time.monotonic() >= ends_at:
        return Expired(ended=0, released=0)
    with log_context(tenant_id=tenant_id):
        try:
            return expire(tenant_id, profile, portion)
        except ConvergenceError as error:
            log(logging.ERROR, "overdue runs could not be ended", error=str(error), code=error.code)
            return Expired(ended=0, released=0)
