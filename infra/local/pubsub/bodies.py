"""The messages themselves: stored once however many subscriptions wait for them.

Recent ones stay in memory within a budget, the rest is read back when it is delivered, so that
a long queue of large messages costs disk and not memory.
"""

from collections import OrderedDict
from collections.abc import Iterable

from infra.local.pubsub.store import Store

CACHE_BYTES = 32 * 1024 * 1024


class Bodies:
    """Serialized PubsubMessages by ID, with the number of subscriptions that still need each."""

    def __init__(self, store: Store, budget: int = CACHE_BYTES) -> None:
        self._store = store
        self._budget = budget
        self._cached: OrderedDict[int, bytes] = OrderedDict()
        self._size = 0
        self._references: dict[int, int] = {}

    @property
    def cached_bytes(self) -> int:
        """What the cache holds now; never above the budget."""
        return self._size

    def refer(self, message_id: int, references: int, body: bytes | None = None) -> None:
        """Note that so many more subscriptions wait for a message that the store holds."""
        self._references[message_id] = self._references.get(message_id, 0) + references
        if body is not None:
            self._keep(message_id, body)

    async def get(self, message_ids: Iterable[int]) -> dict[int, bytes]:
        """The bodies of those messages that still exist."""
        found: dict[int, bytes] = {}
        missing = []
        for message_id in message_ids:
            body = self._cached.get(message_id)
            if body is None:
                missing.append(message_id)
            else:
                found[message_id] = body
        if missing:
            found.update(await self._store.bodies(missing))
        return found

    def release(self, message_ids: Iterable[int]) -> list[int]:
        """Note that one subscription is done with each; the messages that nobody needs any more."""
        unneeded = []
        for message_id in message_ids:
            left = self._references.get(message_id, 0) - 1
            if left > 0:
                self._references[message_id] = left
                continue
            self._references.pop(message_id, None)
            self._size -= len(self._cached.pop(message_id, b""))
            unneeded.append(message_id)
        return unneeded

    def _keep(self, message_id: int, body: bytes) -> None:
        self._cached[message_id] = body
        self._size += len(body)
        while self._size > self._budget:
            _, evicted = self._cached.popitem(last=False)
            self._size -= len(evicted)
