"""Admission: may this run start now? Strict under any concurrency, on any number of instances.

A run that is in holds a slot of its tenant's sequence (`slots.py` has the rules that make it
strict), and the ledger says what became of the slot. A crash between claim and row costs the tenant
a slot for ten minutes; nothing lets one too many in. Nobody is refused while fewer slots are taken
than the limits allow.

Requests of a tenant that meet in one process are served together, by one query and one append, so a
burst costs little more than a single request and does not compete with itself.
"""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from shared.errors import ConvergenceError, Retryable
from shared.expiring import ExpiringCache
from shared.tenancy import quota
from shared.tenancy.quota import LEDGER, Admission, Usage
from shared.tenancy.slots import GIVE_UP_AFTER_SECONDS, Slots
from shared.warehouse import rows
from shared.warehouse.queries import query
from shared.warehouse.rows import Row

_LINE_TIMEOUT_SECONDS = 50.0
_HOLES_WINDOW = timedelta(days=3)

_older_slots: ExpiringCache[tuple[str, date], int] = ExpiringCache(lifetime_seconds=3600)
"""Highest slot before a window; it does not change, since rows are written for today only."""


def admit(
    tenant_id: str, run_id: str, *, deadline: datetime, trigger_type: str = "manual"
) -> Admission:
    """Let the run in, or say which limit of the tenant's plan is in the way.

    Asking again for a run that is in answers its admission, also after the run has ended. A run
    that was refused leaves no trace and may ask again. The limits are those of the subscription at
    this moment. Three calls to BigQuery for a run that gets in, one for a run that does not; a few
    more where other processes admit runs of the tenant at the same time.

    Args:
        tenant_id: whose quota.
        run_id: the run's `pipeline_logging_id`.
        deadline: when the run stops counting as running even if nobody says that it has ended;
            within two days.
        trigger_type: for the record.

    Raises:
        QuotaExceededError: a limit is reached.
        NoSubscriptionError: the tenant may not run anything.
        Retryable: BigQuery does not answer. The run is not in, unless only the answer was lost;
            then asking again finds it.
    """
    request = _Request(run_id, deadline, trigger_type)
    line = _line(tenant_id)
    line.waiting.append(request)
    if not line.lock.acquire(timeout=_LINE_TIMEOUT_SECONDS):
        raise Retryable(f"admissions of {tenant_id} take longer than {_LINE_TIMEOUT_SECONDS:.0f} s")
    try:
        if request.answer is None:
            _serve(tenant_id, line.take_all())
    finally:
        line.lock.release()
    return request.admission()


@dataclass(eq=False)
class _Request:
    run_id: str
    deadline: datetime
    trigger_type: str
    answer: Admission | ConvergenceError | None = None

    def admission(self) -> Admission:
        if isinstance(self.answer, Admission):
            return self.answer
        raise self.answer or Retryable("the admission that this one waited for broke off")


class _Line:
    """Requests of one tenant in this process; whoever gets the lock serves all that wait."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.waiting: deque[_Request] = deque()

    def take_all(self) -> list[_Request]:
        return [self.waiting.popleft() for _ in range(len(self.waiting))]


_lines: WeakValueDictionary[str, _Line] = WeakValueDictionary()
_lines_lock = Lock()


def _line(tenant_id: str) -> _Line:
    with _lines_lock:
        line = _lines.get(tenant_id)
        if line is None:
            line = _lines[tenant_id] = _Line()
        return line


def _serve(tenant_id: str, requests: Sequence[_Request]) -> None:
    """Answer every request."""
    try:
        _answer_all(tenant_id, requests)
    except ConvergenceError as error:
        for request in requests:
            request.answer = request.answer or error


def _answer_all(tenant_id: str, requests: Sequence[_Request]) -> None:
    """Answer every request, or raise what those that have no answer are to be told."""
    usage = quota.read(tenant_id, sorted({request.run_id for request in requests}))
    new: dict[str, _Request] = {}
    for request in requests:
        own = usage.own.get(request.run_id)
        if own and (own.released or own.deadline > usage.at):
            request.answer = own
        else:
            new.setdefault(request.run_id, request)
    limit = usage.exceeded()
    if new and limit:
        raise usage.refusal(limit)
    admitted, refusal = _let_in(tenant_id, usage, new.values())
    for request in requests:
        request.answer = request.answer or admitted.get(request.run_id) or refusal


def _let_in(
    tenant_id: str, usage: Usage, new: Iterable[_Request]
) -> tuple[dict[str, Admission], ConvergenceError | None]:
    """Those that are in now, and why the others are not."""
    slots = Slots(tenant_id, usage, _settled(tenant_id, usage))
    began = time.monotonic()
    admitted: dict[str, Admission] = {}
    refusal: ConvergenceError | None = None
    entries: list[Row] = []
    for request in new:
        try:
            slot = slots.take()
        except ConvergenceError as error:
            refusal = error
            break
        admission = Admission(request.run_id, slot, usage.today, request.deadline)
        admitted[request.run_id] = admission
        entries.append(_admitted_row(tenant_id, admission, request.trigger_type))
    if admitted:
        holes = [_refunded_row(tenant_id, slot, usage.today) for slot in slots.dead]
        rows.append(LEDGER, [*entries, *holes])
    if time.monotonic() - began > GIVE_UP_AFTER_SECONDS:
        _give_up(tenant_id, admitted)
    return admitted, refusal


def _settled(tenant_id: str, usage: Usage) -> int:
    """A slot up to which none is in doubt.

    A tenant without a row of some age, and without a past before the window, begins at zero. Of one
    that comes back after weeks, the older partitions are read.
    """
    since = quota.window_begins(usage.at)
    if usage.settled is not None:
        return usage.settled
    if usage.subscribed_at.date() >= since:
        return 0
    return _older_slots.get((tenant_id, since), lambda: quota.highest_slot_before(tenant_id, since))


def _give_up(tenant_id: str, admitted: Mapping[str, Admission]) -> None:
    """Take the runs out again: others may have thought their slots dead.

    Raises:
        Retryable: always.
    """
    late = [_refunded_row(tenant_id, entry.slot, entry.usage_date) for entry in admitted.values()]
    rows.append(LEDGER, late)
    raise Retryable(f"an admission of {tenant_id} took too long to count")


def release(
    tenant_id: str,
    run_id: str,
    slot: int,
    usage_date: date,
    *,
    status: str | None = None,
    started_at: datetime | None = None,
) -> None:
    """Give the slot back: the run has ended. Safe to repeat.

    Args:
        tenant_id: whose slot.
        run_id: the run that has it.
        slot: as it was admitted.
        usage_date: as it was admitted; a later day where that is not known.
        status: the run's final state, for the record.
        started_at: when the run's first step began, for the record.

    Raises:
        Retryable: BigQuery does not answer; call again.
    """
    facts = {"status": status, "started_at": started_at}
    rows.append(LEDGER, [released_row(tenant_id, run_id, slot, usage_date, **facts)])


def released_row(tenant_id: str, run_id: str, slot: int, usage_date: date, **facts: Any) -> Row:
    """The row of the ledger by which `release` gives a slot back; `facts` are columns of it."""
    return _row(tenant_id, slot, "RELEASED", usage_date, pipeline_logging_id=run_id, **facts)


def refund_holes(older_than: timedelta = quota.DEAD_AFTER) -> int:
    """Name the slots whose owners died between claim and row, of all tenants; how many they were.

    Housekeeping: admissions tell dead slots by themselves, this closes the gaps for whoever reads
    the ledger. One query and one append, whatever the number of tenants; safe to repeat.

    Args:
        older_than: how long ago the slot above a gap must have got its row; at least
            `quota.DEAD_AFTER`.

    Raises:
        Retryable: BigQuery does not answer; call again.
    """
    now = datetime.now(UTC)
    found = rows.read(
        query(
            "WITH known AS ("  # noqa: S608 - own names
            " SELECT tenant_id, slot, MIN(recorded_at) AS recorded_at"
            f" FROM `{LEDGER}` WHERE usage_date >= @since GROUP BY tenant_id, slot"
            "), neighbours AS ("
            " SELECT tenant_id, slot, recorded_at,"
            " LAG(slot) OVER (PARTITION BY tenant_id ORDER BY slot) AS below FROM known"
            ") SELECT tenant_id, hole"
            " FROM neighbours, UNNEST(GENERATE_ARRAY(below + 1, slot - 1)) AS hole"
            " WHERE recorded_at BETWEEN @not_before AND @not_after"
            " ORDER BY tenant_id, hole",
            since=(now - _HOLES_WINDOW).date(),
            not_before=now - _HOLES_WINDOW + timedelta(days=1),
            not_after=now - max(older_than, quota.DEAD_AFTER),
        )
    )
    rows.append(LEDGER, [_refunded_row(row["tenant_id"], row["hole"], now.date()) for row in found])
    return len(found)


def _admitted_row(tenant_id: str, admission: Admission, trigger_type: str) -> Row:
    return _row(
        tenant_id,
        admission.slot,
        "ADMITTED",
        admission.usage_date,
        pipeline_logging_id=admission.run_id,
        deadline=admission.deadline,
        trigger_type=trigger_type,
    )


def _refunded_row(tenant_id: str, slot: int, usage_date: date) -> Row:
    return _row(tenant_id, slot, "REFUNDED", usage_date, reason="owner died before its row")


def _row(tenant_id: str, slot: int, event: str, usage_date: date, **values: Any) -> Row:
    """A row of the ledger; a repetition has the same ID and changes nothing."""
    return Row(
        f"{tenant_id}-{slot}-{event}",
        {
            "tenant_id": tenant_id,
            "slot": slot,
            "event": event,
            "usage_date": usage_date,
            "recorded_at": datetime.now(UTC),
            **values,
        },
    )
