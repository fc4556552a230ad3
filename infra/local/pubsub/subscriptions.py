"""A subscription at run time: its configuration, its backlog, and who waits for it."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

from infra.local.pubsub import filters, subscription_config
from infra.local.pubsub.delivery import Backlog, Lease
from infra.local.pubsub.errors import failed_precondition, invalid, not_found
from infra.local.pubsub.messages import Message

WRONG_KIND = "This method is not supported for this subscription type."


class Subscription:
    """Lives from creation to deletion; `row` is its number in the store."""

    def __init__(self, row: int, config: Any, clock: Callable[[], float]) -> None:
        self.row = row
        self.config = config
        self.deleted = False
        self.backlog = Backlog(subscription_config.delivery_rules(config))
        self.work = asyncio.Event()
        """Set when the subscription's own task has something to do."""
        self._clock = clock
        self._matches = filters.compiled(config.filter)
        self._receivers: set[asyncio.Future[None]] = set()

    @property
    def name(self) -> str:
        return str(self.config.name)

    @property
    def counts_attempts(self) -> bool:
        """Receivers see delivery attempts only under a dead-letter policy."""
        return self.backlog.rules.max_attempts is not None

    def configure(self, config: Any) -> None:
        """Take a changed configuration; it applies to deliveries from now on."""
        self.config = config
        self.backlog.rules = subscription_config.delivery_rules(config)
        self.wake()

    def wants(self, message: Message) -> bool:
        """Whether the message passes the filter."""
        return self._matches(message.attributes)

    def take(self, message: Message) -> None:
        """Add a published message; `wake` follows after the last of a request."""
        self.backlog.add(
            message.message_id,
            key=message.key,
            size=len(message.body),
            published_at=message.published_at,
        )

    def lease(
        self, *, seconds: float, limit: int, max_bytes: float, owner: Hashable = None
    ) -> list[Lease]:
        """Deliver to a pulling receiver what is deliverable now.

        Raises:
            RequestError: the subscription was deleted or became a push subscription.
        """
        self.require_pull()
        now = self._clock()
        self.backlog.advance(now)
        leases = self.backlog.lease(
            now, seconds=seconds, limit=limit, max_bytes=max_bytes, owner=owner
        )
        if leases:
            self.work.set()
        return leases

    def require_pull(self) -> None:
        if self.deleted:
            raise not_found(self.name)
        if subscription_config.is_push(self.config):
            raise failed_precondition(WRONG_KIND)

    def modify(self, ack_ids: list[str], seconds: int) -> None:
        """Move the deadline of these deliveries to `seconds` from now; 0 gives them up."""
        now = self._clock()
        for message_id, generation in self.parsed(ack_ids):
            if seconds:
                self.backlog.extend(message_id, generation, now + seconds)
            else:
                self.backlog.nack(message_id, generation, now)
        self.wake()

    def acknowledge(self, deliveries: list[tuple[int, int]]) -> list[int]:
        """The messages that are finished by these acknowledgements."""
        now = self._clock()
        finished: list[int] = []
        for message_id, generation in deliveries:
            finished += self.backlog.acknowledge(message_id, generation, now)
        self.wake()
        return finished

    def ack_id(self, lease: Lease) -> str:
        return f"{self.name}:{lease.message_id}:{lease.generation}"

    def parsed(self, ack_ids: list[str]) -> list[tuple[int, int]]:
        """Message ID and generation of each ack ID.

        Raises:
            RequestError: one was not given out by this subscription.
        """
        if not ack_ids:
            raise invalid("You have not specified an ack ID in the request.")
        deliveries = []
        for ack_id in ack_ids:
            name, _, rest = ack_id.partition(":")
            message_id, _, generation = rest.partition(":")
            if name != self.name or not (message_id.isdecimal() and generation.isdecimal()):
                raise invalid(
                    f"You have passed an invalid ack ID to the service (ack_id={ack_id})."
                )
            deliveries.append((int(message_id), int(generation)))
        return deliveries

    def wake(self) -> None:
        """Something changed: receivers look again, and so does the subscription's own task."""
        self.work.set()
        self.wake_receivers()

    def wake_receivers(self) -> None:
        for receiver in self._receivers:
            if not receiver.done():
                receiver.set_result(None)

    async def changed(self, seconds: float | None) -> None:
        """Wait for the next `wake`, at most so long."""
        receiver: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._receivers.add(receiver)
        try:
            await asyncio.wait({receiver}, timeout=seconds)
        finally:
            self._receivers.discard(receiver)
