"""What a subscription delivers next: leases, redelivery, ordering keys, dead-lettering.

Pure state: no clock, no sockets, no storage. Times are seconds on whatever clock the caller
passes as `now`. A message is in exactly one state:

    READY      deliverable now
    QUEUED     behind others of its ordering key
    DELAYED    waits for its retry backoff
    LEASED     delivered, neither acknowledged nor given up
    SETTLED    acknowledged while an earlier message of its key is not; kept, because a failure of
               the earlier one delivers this one again ("Order messages", Pub/Sub documentation)
    EXHAUSTED  out of attempts, waits to be forwarded to the dead-letter topic
"""

import enum
import heapq
import itertools
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

SHORTEST_BACKOFF = 0.1
"""Seconds. A policy with a minimum of 0 starts doubling from here."""


class State(enum.Enum):
    READY = enum.auto()
    QUEUED = enum.auto()
    DELAYED = enum.auto()
    LEASED = enum.auto()
    SETTLED = enum.auto()
    EXHAUSTED = enum.auto()


_RESTING = frozenset({State.READY, State.QUEUED, State.DELAYED})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff of one message, in seconds."""

    minimum: float
    maximum: float

    def delay(self, failures: int) -> float:
        """How long a message rests after its n-th failure (n from 1)."""
        doubled = max(self.minimum, SHORTEST_BACKOFF) * 2.0 ** min(failures - 1, 30)
        return min(doubled, max(self.maximum, self.minimum))


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """The part of a subscription's configuration that decides what is delivered when."""

    ordered: bool = False
    retry: RetryPolicy | None = None
    max_attempts: int | None = None
    retention_seconds: float = 7 * 24 * 3600.0


class Lease(NamedTuple):
    """One delivery of one message."""

    message_id: int
    generation: int
    attempt: int
    """1 + negative acknowledgements + expired deadlines so far."""


@dataclass(slots=True, eq=False)
class Entry:
    message_id: int
    key: str
    size: int
    published_at: float
    failures: int = 0
    generation: int = 0
    state: State = State.READY
    until: float = 0.0
    """End of the lease when LEASED; end of the backoff otherwise."""
    owner: Hashable = None


@dataclass(slots=True)
class KeyLine:
    """The messages of one ordering key, oldest first; the first `out` of them are delivered."""

    entries: deque[Entry] = field(default_factory=deque)
    out: int = 0


@dataclass(slots=True)
class Effects:
    """What the caller has to make durable, collected since it was last drained."""

    exhausted: list[Entry] = field(default_factory=list)
    outdated: list[int] = field(default_factory=list)
    """Older than the retention: gone from the backlog."""
    failures: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Held:
    messages: int = 0
    size: int = 0


class Backlog:
    """Unacknowledged messages of one subscription."""

    def __init__(self, rules: DeliveryRules) -> None:
        self.rules = rules
        self._entries: dict[int, Entry] = {}
        self._lines: dict[str, KeyLine] = {}
        self._ready: list[int] = []
        self._delayed: list[tuple[float, int]] = []
        self._leases: list[tuple[float, int, int]] = []
        self._out = 0
        self._held: dict[Hashable, Held] = {}
        self._effects = Effects()

    def __len__(self) -> int:
        return len(self._entries)

    def message_ids(self) -> list[int]:
        """All messages that are not finished, oldest first."""
        return list(self._entries)

    def add(
        self, message_id: int, *, key: str, size: int, published_at: float, failures: int = 0
    ) -> None:
        """Take a message in; within an ordering key, messages must come in publish order."""
        entry = Entry(message_id, key if self.rules.ordered else "", size, published_at, failures)
        self._entries[message_id] = entry
        if not entry.key:
            heapq.heappush(self._ready, message_id)
            return
        line = self._lines.setdefault(entry.key, KeyLine())
        line.entries.append(entry)
        if len(line.entries) > 1:
            entry.state = State.QUEUED
        else:
            heapq.heappush(self._ready, message_id)

    def lease(
        self,
        now: float,
        *,
        seconds: float,
        limit: int,
        max_bytes: float = float("inf"),
        owner: Hashable = None,
        per_key: int | None = None,
    ) -> list[Lease]:
        """Deliver the oldest deliverable messages until `now + seconds`.

        At least one message is delivered whatever its size, then as many as fit `max_bytes`.
        `per_key` bounds how many of one ordering key go out together (1 for push).
        """
        taken: list[Entry] = []
        room = max_bytes
        while self._ready and len(taken) < limit:
            head = self._entries.get(self._ready[0])
            if head is None or head.state is not State.READY:
                heapq.heappop(self._ready)
                continue
            if taken and head.size > room:
                break
            heapq.heappop(self._ready)
            for entry in self._batch(head, limit - len(taken), per_key, room):
                self._deliver(entry, now + seconds, owner)
                room -= entry.size
                taken.append(entry)
        return [Lease(e.message_id, e.generation, e.failures + 1) for e in taken]

    def acknowledge(self, message_id: int, generation: int, now: float) -> list[int]:
        """End a delivery with success; the messages that are finished by it.

        Late acknowledgements (the lease expired, the message perhaps went out again) count,
        except within an ordering key, whose messages are delivered again from the failed one on.
        """
        entry = self._entries.get(message_id)
        if entry is None or entry.state in {State.EXHAUSTED, State.SETTLED}:
            return []
        if entry.key:
            current = entry.state is State.LEASED and entry.generation == generation
            return self._settle(entry, now) if current else []
        return self._settle(entry, now)

    def is_current(self, message_id: int, generation: int) -> bool:
        """Whether this very delivery is still leased."""
        entry = self._entries.get(message_id)
        return entry is not None and entry.state is State.LEASED and entry.generation == generation

    def extend(self, message_id: int, generation: int, until: float) -> None:
        """Set a new end of the lease; without effect on a delivery that is over."""
        if self.is_current(message_id, generation):
            self._watch(self._entries[message_id], until)

    def nack(self, message_id: int, generation: int, now: float) -> None:
        """End a delivery without success; without effect on a delivery that is over."""
        if self.is_current(message_id, generation):
            self._fail(self._entries[message_id], now)

    def forwarded(self, message_id: int, now: float) -> list[int]:
        """An exhausted message is safe on the dead-letter topic; the messages finished by it."""
        entry = self._entries.get(message_id)
        if entry is None or entry.state is not State.EXHAUSTED:
            return []
        return self._settle(entry, now)

    def not_forwarded(self, message_id: int, now: float) -> None:
        """No dead-letter topic takes it: the message is tried again after its backoff."""
        entry = self._entries.get(message_id)
        if entry is not None and entry.state is State.EXHAUSTED:
            self._rest(entry, now)

    def advance(self, now: float) -> None:
        """Let time pass: leases and backoffs that ended, messages older than the retention."""
        while self._leases and self._leases[0][0] <= now:
            _, message_id, generation = heapq.heappop(self._leases)
            if self.is_current(message_id, generation):
                entry = self._entries[message_id]
                if entry.until <= now:
                    self._fail(entry, now)
        while self._delayed and self._delayed[0][0] <= now:
            _, message_id = heapq.heappop(self._delayed)
            rested = self._entries.get(message_id)
            if rested is not None and rested.state is State.DELAYED and rested.until <= now:
                self._make_ready(rested, now)
        self._drop_outdated(now)

    def next_change(self) -> float | None:
        """When `advance` has something to do next; None without a message."""
        while self._leases and not self._lease_ends(*self._leases[0]):
            heapq.heappop(self._leases)
        times = []
        if self._leases:
            times.append(self._leases[0][0])
        if self._delayed:
            times.append(self._delayed[0][0])
        oldest = next(iter(self._entries.values()), None)
        if oldest is not None and oldest.state in _RESTING:
            times.append(oldest.published_at + self.rules.retention_seconds)
        return min(times, default=None)

    def held(self, owner: Hashable) -> Held:
        """How much is out with one receiver."""
        return self._held.get(owner) or Held()

    def drain(self) -> Effects:
        """What happened since the last call."""
        effects, self._effects = self._effects, Effects()
        return effects

    def _batch(self, head: Entry, limit: int, per_key: int | None, room: float) -> list[Entry]:
        if not head.key:
            return [head]
        line = self._lines[head.key]
        batch = [head]
        room -= head.size
        most = min(limit, per_key or limit)
        for entry in itertools.islice(line.entries, 1, most):
            room -= entry.size
            if room < 0:
                break
            batch.append(entry)
        line.out = len(batch)
        return batch

    def _deliver(self, entry: Entry, until: float, owner: Hashable) -> None:
        entry.state = State.LEASED
        entry.generation += 1
        entry.owner = owner
        self._out += 1
        self._watch(entry, until)
        if owner is not None:
            held = self._held.setdefault(owner, Held())
            held.messages += 1
            held.size += entry.size

    def _watch(self, entry: Entry, until: float) -> None:
        """Note the end of a lease; ends that no longer count are thrown out now and then."""
        entry.until = until
        heapq.heappush(self._leases, (until, entry.message_id, entry.generation))
        if len(self._leases) > 1000 + 4 * self._out:
            self._leases = [end for end in self._leases if self._lease_ends(*end)]
            heapq.heapify(self._leases)

    def _release(self, entry: Entry) -> None:
        if entry.state is State.LEASED:
            self._out -= 1
        if entry.owner is None:
            return
        held = self._held[entry.owner]
        held.messages -= 1
        held.size -= entry.size
        if not held.messages:
            del self._held[entry.owner]
        entry.owner = None

    def _settle(self, entry: Entry, now: float) -> list[int]:
        self._release(entry)
        if not entry.key:
            del self._entries[entry.message_id]
            return [entry.message_id]
        entry.state = State.SETTLED
        line = self._lines[entry.key]
        finished = []
        while line.out and line.entries[0].state is State.SETTLED:
            done = line.entries.popleft()
            line.out -= 1
            del self._entries[done.message_id]
            finished.append(done.message_id)
        self._open_line(entry.key, line, now)
        return finished

    def _open_line(self, key: str, line: KeyLine, now: float) -> None:
        if line.out:
            return
        if line.entries:
            self._make_ready(line.entries[0], now)
        else:
            del self._lines[key]

    def _make_ready(self, entry: Entry, now: float) -> None:
        if entry.until > now:
            entry.state = State.DELAYED
            heapq.heappush(self._delayed, (entry.until, entry.message_id))
            return
        entry.state = State.READY
        heapq.heappush(self._ready, entry.message_id)

    def _fail(self, entry: Entry, now: float) -> None:
        entry.failures += 1
        self._effects.failures[entry.message_id] = entry.failures
        attempts = self.rules.max_attempts
        if attempts is None or entry.failures < attempts:
            self._rest(entry, now)
            return
        self._revoke_later(entry, keep=1)
        self._release(entry)
        entry.state = State.EXHAUSTED
        self._effects.exhausted.append(entry)

    def _rest(self, entry: Entry, now: float) -> None:
        self._release(entry)
        retry = self.rules.retry
        entry.until = now + retry.delay(entry.failures) if retry else now
        entry.state = State.QUEUED
        if not entry.key:
            self._make_ready(entry, now)
            return
        line = self._revoke_later(entry, keep=0)
        self._open_line(entry.key, line, now)

    def _revoke_later(self, entry: Entry, *, keep: int) -> KeyLine:
        """Take back what was delivered of the key after `entry`; it is delivered again after it."""
        if not entry.key:
            return KeyLine()
        line = self._lines[entry.key]
        position = line.entries.index(entry)
        for later in itertools.islice(line.entries, position + 1, line.out):
            self._release(later)
            later.state = State.QUEUED
            later.until = 0.0
        line.out = position + keep
        return line

    def _lease_ends(self, until: float, message_id: int, generation: int) -> bool:
        return self.is_current(message_id, generation) and self._entries[message_id].until == until

    def _drop_outdated(self, now: float) -> None:
        horizon = now - self.rules.retention_seconds
        while self._entries:
            oldest = next(iter(self._entries.values()))
            if oldest.published_at > horizon or oldest.state not in _RESTING:
                return
            del self._entries[oldest.message_id]
            self._effects.outdated.append(oldest.message_id)
            if oldest.key:
                line = self._lines[oldest.key]
                line.entries.remove(oldest)
                self._open_line(oldest.key, line, now)
