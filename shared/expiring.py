"""A small cache whose entries expire: for values that another process may change."""

import time
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class ExpiringCache(Generic[KeyT, ValueT]):
    """Remembers what `load` answered for `lifetime_seconds`, at most `capacity` entries.

    They count from before `load` was called, so that nothing older than that is ever answered.

    Thread-safe. Two threads that miss at once both load; the later answer stays. An error of `load`
    is not remembered.
    """

    def __init__(
        self,
        lifetime_seconds: float,
        capacity: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lifetime = lifetime_seconds
        self._capacity = capacity
        self._clock = clock
        self._entries: dict[KeyT, tuple[float, ValueT]] = {}
        self._lock = Lock()

    def get(self, key: KeyT, load: Callable[[], ValueT]) -> ValueT:
        """The remembered value, or what `load` answers now."""
        now = self._clock()
        entry = self._entries.get(key)
        if entry and entry[0] > now:
            return entry[1]
        value = load()
        with self._lock:
            self._entries.pop(key, None)
            while len(self._entries) >= self._capacity:
                self._entries.pop(next(iter(self._entries)))
            self._entries[key] = (now + self._lifetime, value)
        return value

    def forget(self, key: KeyT) -> None:
        """Drop one entry, so that the next `get` loads."""
        with self._lock:
            self._entries.pop(key, None)
