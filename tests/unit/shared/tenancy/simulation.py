"""A cloud in one process whose every call is a point where others may come first, or death.

Each simulated request runs the product's own code in a thread; a seeded scheduler lets one thread
at a time go on from one call to the next. So a seed is a whole history, and repeats exactly.
"""

import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from threading import Semaphore, Thread, current_thread
from typing import Any, Self

import pytest

from shared.errors import ConvergenceError, Retryable
from shared.expiring import ExpiringCache
from shared.tenancy import admission, quota, slots
from shared.tenancy.quota import Admission, Limits, Usage
from shared.warehouse.claims import Holder
from shared.warehouse.rows import Row

TENANT = "acme_corp"


class Death(BaseException):
    """The process is gone, as by kill -9."""


def usage_of(
    ledger: Sequence[dict[str, Any]],
    now: datetime,
    limits: Limits,
    subscribed_at: datetime,
    run_ids: Sequence[str] = (),
) -> Usage:
    """What the product's query says of a tenant's ledger, slot by slot and run by run."""
    since = quota.window_begins(now)
    found: dict[int, list[dict[str, Any]]] = {}
    for row in ledger:
        if row["usage_date"] >= since:
            found.setdefault(row["slot"], []).append(row)
    first = {slot: min(row["recorded_at"] for row in events) for slot, events in found.items()}
    old = [slot for slot, at in first.items() if at <= now - quota.DEAD_AFTER]
    runs = _runs(found)
    days = {
        (run_id, min(row["usage_date"] for row in found[slot]))
        for run_id, slots_of_run in _held(found).items()
        for slot in slots_of_run
    }
    return Usage(
        at=now,
        limits=limits,
        run_today=sum(day == now.date() for _, day in days),
        run_this_month=sum((day.year, day.month) == (now.year, now.month) for _, day in days),
        running=sum(not run.released and run.deadline > now for run in runs),
        highest=max(found, default=0),
        settled=max(old, default=None),
        recent=frozenset(found) - frozenset(old),
        subscribed_at=subscribed_at,
        own={run.run_id: run for run in runs if run.run_id in run_ids},
    )


def _held(found: dict[int, list[dict[str, Any]]]) -> dict[str, list[int]]:
    """The slots that count, by run."""
    held: dict[str, list[int]] = {}
    for slot, rows in found.items():
        events = {row["event"] for row in rows}
        if "ADMITTED" in events and "REFUNDED" not in events:
            run_id = next(row["pipeline_logging_id"] for row in rows if row["event"] == "ADMITTED")
            held.setdefault(run_id, []).append(slot)
    return held


def _runs(found: dict[int, list[dict[str, Any]]]) -> list[Admission]:
    runs = []
    for run_id, slots_of_run in _held(found).items():
        rows = [row for slot in slots_of_run for row in found[slot]]
        runs.append(
            Admission(
                run_id=run_id,
                slot=min(slots_of_run),
                usage_date=min(row["usage_date"] for row in rows),
                deadline=max(row["deadline"] for row in rows if row.get("deadline")),
                released=any(row["event"] == "RELEASED" for row in rows),
            )
        )
    return runs


@dataclass
class Process:
    """A simulated process at one of its calls."""

    thread: Thread
    turn: Semaphore = field(default_factory=lambda: Semaphore(0))
    frozen_until: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    doomed: bool = False
    ended: bool = False


@dataclass(frozen=True)
class Chances:
    """How likely a call meets a misfortune."""

    death: float = 0.0
    lost_answer: float = 0.0
    freeze: float = 0.0


class Simulation:
    """One tenant, its ledger and claims, and processes that take turns by a seed."""

    def __init__(
        self,
        seed: int,
        limits: Limits,
        *,
        chances: Chances | None = None,
        now: datetime = datetime(2026, 11, 20, 12, tzinfo=UTC),
    ) -> None:
        self.random = random.Random(seed)
        self.limits = limits
        self.chances = chances or Chances()
        self.now = now
        self.subscribed_at = now - timedelta(days=1)
        self.ledger: list[dict[str, Any]] = []
        self.claims: dict[str, tuple[str, datetime]] = {}
        self.running: dict[str, Admission] = {}
        self.started: dict[str, Admission] = {}
        self.counted: set[tuple[str, date]] = set()
        """Each run with each day on which it was let in."""
        self.over: set[str] = set()
        self.refused: dict[str, ConvergenceError] = {}
        self.calls = 0
        self._processes: list[Process] = []
        self._of_thread: dict[Thread, Process] = {}
        self._control = Semaphore(0)
        self._failures: list[BaseException] = []
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Self:
        """Put this cloud, and its clock, under the product's code."""
        clock, patch = self, self._patch

        class SimulatedTime(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
                return clock.now

        for module in (admission, quota):
            patch.setattr(module, "datetime", SimulatedTime)
        patch.setattr(admission.time, "monotonic", clock._seconds)
        patch.setattr(quota, "read", self._read)
        patch.setattr(quota, "highest_slot_before", self._highest_slot_before)
        patch.setattr(slots.claims, "win", self._win)
        patch.setattr(slots.claims, "holder", self._holder)
        patch.setattr(admission.rows, "append", self._append)
        patch.setattr(admission, "_older_slots", ExpiringCache(lifetime_seconds=3600))
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def _started(self, body: Callable[[], None]) -> Process:
        """A process that runs `body` when its turns come."""

        def run() -> None:
            process.turn.acquire()
            try:
                body()
            except Death:
                pass
            except BaseException as error:  # noqa: BLE001 - told by the scheduler's thread
                self._failures.append(error)
            finally:
                process.ended = True
                self._control.release()

        process = Process(Thread(target=run, daemon=True))
        self._of_thread[process.thread] = process
        process.thread.start()
        return process

    def request(
        self, *run_ids: str, minutes: float | None = None, deadline: float = 60, repeats: int = 1
    ) -> None:
        """Ask for the runs in one process; each ends after some minutes, None means never.

        A request that the cloud did not answer is repeated.
        """

        def body() -> None:
            asked: list[Any] = []
            for _ in range(1 + repeats):
                until = self.now + timedelta(minutes=deadline)
                asked = [admission._Request(run_id, until, "manual") for run_id in run_ids]
                admission._serve(TENANT, asked)
                for request in asked:
                    self._note(request)
                if not any(isinstance(request.answer, Retryable) for request in asked):
                    break
            if minutes is not None:
                self._end(asked, minutes)

        self._processes.append(self._started(body))

    def _end(self, asked: Sequence[Any], minutes: float) -> None:
        self._process().frozen_until = self.now + timedelta(minutes=minutes)
        self._hand_over()
        for request in asked:
            if isinstance(request.answer, Admission):
                self.running.pop(request.run_id, None)
                self.over.add(request.run_id)
                self._release(request.answer)

    def _release(self, entry: Admission) -> None:
        """As an executor does, whose message comes again until it has succeeded."""
        with contextlib.suppress(Retryable):
            admission.release(TENANT, entry.run_id, entry.slot, entry.usage_date)
            return
        self._release(entry)

    def _note(self, request: Any) -> None:
        try:
            entry = request.admission()
        except ConvergenceError as error:
            self.refused[request.run_id] = error
            return
        self.refused.pop(request.run_id, None)
        if request.run_id not in self.over:
            self.started.setdefault(request.run_id, entry)
            self.counted.add((request.run_id, entry.usage_date))
            self.running[request.run_id] = entry
        self.check()

    def check(self) -> None:
        """No limit is passed, now or on any day or month."""
        live = [entry for entry in self.running.values() if entry.deadline > self.now]
        assert len(live) <= self.limits.concurrent, "one too many at a time"
        days = [day for _, day in self.counted]
        for day in set(days):
            assert days.count(day) <= self.limits.daily, f"one too many on {day}"
            months = [d for d in days if (d.year, d.month) == (day.year, day.month)]
            assert len(months) <= self.limits.monthly, f"one too many in the month of {day}"

    def run(self) -> None:
        """Let the processes take turns until all have ended."""
        while alive := [process for process in self._processes if not process.ended]:
            ready = [process for process in alive if process.frozen_until <= self.now]
            if not ready:
                self.now = min(process.frozen_until for process in alive)
                continue
            self.now += timedelta(milliseconds=self.random.randint(1, 50))
            process = self.random.choice(ready)
            if self.random.random() < self.chances.freeze:
                minutes = self.random.choice((1, 2.9, 3.1, 9.9, 10.1, 15))
                process.frozen_until = self.now + timedelta(minutes=minutes)
                continue
            process.doomed = self.random.random() < self.chances.death
            self.step(process)

    def step(self, process: Process) -> None:
        """Let one process go on to its next call."""
        process.turn.release()
        self._control.acquire()
        if self._failures:
            raise self._failures[0]

    def _seconds(self) -> float:
        return self.now.timestamp()

    def _process(self) -> Process:
        return self._of_thread[current_thread()]

    def _hand_over(self) -> None:
        """Let others go first; a doomed process never returns from here."""
        process = self._process()
        self._control.release()
        process.turn.acquire()
        if process.doomed:
            raise Death

    def _call(self) -> None:
        self.calls += 1
        self._hand_over()

    def _answer_is_lost(self) -> bool:
        return self.random.random() < self.chances.lost_answer

    def _read(self, tenant_id: str, run_ids: Sequence[str] = ()) -> Usage:
        self._call()
        return usage_of(self.ledger, self.now, self.limits, self.subscribed_at, run_ids)

    def _highest_slot_before(self, tenant_id: str, since: date) -> int:
        self._call()
        return max((row["slot"] for row in self.ledger if row["usage_date"] < since), default=0)

    def _win(self, key: str, owner: str) -> bool:
        self._call()
        won = key not in self.claims
        self.claims.setdefault(key, (owner, self.now))
        return won and not self._answer_is_lost()

    def _holder(self, key: str) -> Holder:
        self._call()
        owner, taken_at = self.claims[key]
        return _KnownHolder(owner, taken_at)

    def _append(self, table: str, entries: Sequence[Row]) -> None:
        self._call()
        self.ledger.extend(dict(entry.values) for entry in entries)
        if self._answer_is_lost():
            raise Retryable("the answer was lost")


class _KnownHolder(Holder):
    def is_(self, owner: str) -> bool:
        return self.label == owner
