"""Who may change a table by DML now (BigQuery, "Data manipulation language", concurrency).

Of one table, two UPDATE, DELETE or MERGE statements run at once and twenty wait, pending; one more
fails. Two that run at once and change the same partition conflict: the one that ends later is run
again, three times at most, and then fails. INSERT statements conflict with nothing; after the
first 1,500 of a day, ten run at once and a hundred wait.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

from infra.local.bigquery.catalog import TableRef
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.faults import Faults
from infra.local.bigquery.limits import DAY_SECONDS, Limits

RUN_FAULT = "dml.run"
"""No method of the API: what a mutating statement meets while it holds its table."""
_REMEMBERED_CHANGES = 1_000
_CANCELLED_WITHIN_SECONDS = 0.2

Partitions = frozenset[str] | None
"""IDs of partitions; None for all of them."""


@dataclass(slots=True)
class _Places:
    """Statements that run, and those that wait in the order of their coming."""

    taken: int = 0
    queue: deque[object] = field(default_factory=deque)


@dataclass(slots=True)
class _Line:
    """The statements of one table.

    Attributes:
        inserts: when the INSERT statements of the last day ran that needed no place.
        changes: (number, partitions) of what mutating statements have committed, oldest first.
    """

    mutating: _Places = field(default_factory=_Places)
    inserting: _Places = field(default_factory=_Places)
    inserts: deque[float] = field(default_factory=deque)
    last_change: int = 0
    changes: deque[tuple[int, Partitions]] = field(
        default_factory=lambda: deque(maxlen=_REMEMBERED_CHANGES)
    )


@dataclass(frozen=True, slots=True)
class Caller:
    """The job on whose behalf a statement runs; it spends its wait inside `pending()`."""

    job_id: str
    cancelled: threading.Event
    pending: Callable[[], AbstractContextManager[None]] = nullcontext


class Turn:
    """A statement's right to change a table, from its first run to its last."""

    def __init__(self, queues: "DmlQueues", ref: TableRef, line: _Line, caller: Caller) -> None:
        self._queues = queues
        self._ref = ref
        self._line = line
        self._caller = caller
        self._seen = 0
        self._conflicts = 0

    def begin(self) -> None:
        """A run begins: it sees the table as it is now."""
        self._seen = self._line.last_change
        self._queues.meet_fault(self._caller)

    def conflicts(self, partitions: Partitions) -> bool:
        """Whether one of these partitions was changed since the run began; with the table's lock.

        Raises:
            ApiError: invalidQuery, when it has been run again often enough.
        """
        if not any(
            number > self._seen and _meet(partitions, changed)
            for number, changed in self._line.changes
        ):
            return False
        self._conflicts += 1
        if self._conflicts > self._queues.reruns:
            raise ApiError.invalid_query(
                f"Could not serialize access to table {self._ref} due to concurrent update"
            )
        return True

    def committed(self, partitions: Partitions) -> None:
        """The run has changed these partitions; while the table's lock is still held."""
        self._line.last_change += 1
        self._line.changes.append((self._line.last_change, partitions))


class DmlQueues:
    """The lines of all tables, by name; safe to use from any thread."""

    def __init__(self, limits: Limits, faults: Faults) -> None:
        self._limits = limits
        self._faults = faults
        self._changed = threading.Condition()
        self._lines: dict[TableRef, _Line] = {}

    @property
    def reruns(self) -> int:
        """How often a statement that met a conflict is run again."""
        return int(self._limits.number("mutating_dml_reruns"))

    @contextmanager
    def mutating(self, ref: TableRef, caller: Caller) -> Iterator[Turn]:
        """Wait for a place and hold it.

        Raises:
            ApiError: resourcesExceeded when too many wait; stopped when the job is cancelled.
        """
        line = self._line(ref)
        with self._place(line.mutating, "mutating_dml", ref, caller):
            yield Turn(self, ref, line, caller)

    @contextmanager
    def inserting(self, ref: TableRef, caller: Caller) -> Iterator[None]:
        """Wait for a place and hold it.

        Raises:
            ApiError: as `mutating`.
        """
        line = self._line(ref)
        with self._changed:
            free = self._is_free_insert(line)
        with nullcontext() if free else self._place(line.inserting, "insert_dml", ref, caller):
            yield

    @contextmanager
    def _place(self, places: _Places, limit: str, ref: TableRef, caller: Caller) -> Iterator[None]:
        running = self._limits.number(f"{limit}_running")
        queued = int(self._limits.number(f"{limit}_queued"))
        ticket = object()
        with self._changed:
            waits = bool(places.queue) or places.taken >= running
            if waits and len(places.queue) >= queued:
                raise ApiError.resources_exceeded(
                    "Resources exceeded during query execution: Too many DML statements"
                    f" outstanding against table {ref}, limit is {queued}."
                )
            if waits:
                places.queue.append(ticket)
            else:
                places.taken += 1
        if waits:
            with caller.pending():
                self._await(places, ticket, running, caller)
        try:
            yield
        finally:
            with self._changed:
                places.taken -= 1
                self._changed.notify_all()

    def _await(self, places: _Places, ticket: object, running: float, caller: Caller) -> None:
        with self._changed:
            try:
                while places.queue[0] is not ticket or places.taken >= running:
                    if caller.cancelled.is_set():
                        raise ApiError.stopped()
                    self._changed.wait(_CANCELLED_WITHIN_SECONDS)
                places.taken += 1
            finally:
                places.queue.remove(ticket)
                self._changed.notify_all()

    def meet_fault(self, caller: Caller) -> None:
        """Stay with the table for as long as a test wants."""
        fault = self._faults.take(RUN_FAULT, caller.job_id)
        if fault is not None:
            caller.cancelled.wait(fault.delay_seconds)
            error = fault.error()
            if error is not None:
                raise error

    def _line(self, ref: TableRef) -> _Line:
        with self._changed:
            return self._lines.setdefault(ref, _Line())

    def _is_free_insert(self, line: _Line) -> bool:
        now = time.monotonic()
        while line.inserts and line.inserts[0] <= now - DAY_SECONDS:
            line.inserts.popleft()
        if len(line.inserts) >= self._limits.number("insert_dml_free"):
            return False
        line.inserts.append(now)
        return True


def _meet(some: Partitions, others: Partitions) -> bool:
    return some is None or others is None or bool(some & others)
