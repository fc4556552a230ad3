"""StreamingPull: deliveries down, acknowledgements and deadlines up, on one call."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from infra.local.pubsub import wire
from infra.local.pubsub.broker import Broker
from infra.local.pubsub.delivery import Lease
from infra.local.pubsub.errors import invalid
from infra.local.pubsub.subscription_config import LONGEST_ACK_DEADLINE, SHORTEST_ACK_DEADLINE
from infra.local.pubsub.subscriptions import Subscription

_MOST_MESSAGES = 1000
LARGEST_RESPONSE = 3_500_000
"""Bytes of messages in one response, unless a single one is larger. Google's clients take 4 MiB
from a local server (gRPC's default); the rest is for the ack IDs."""


async def received(broker: Broker, subscription: Subscription, leases: list[Lease]) -> list[Any]:
    """The ReceivedMessages of these deliveries; one that was deleted meanwhile is left out."""
    bodies = await broker.bodies.get([lease.message_id for lease in leases])
    messages = []
    for lease in leases:
        if lease.message_id not in bodies:
            continue
        message = wire.ReceivedMessage(ack_id=subscription.ack_id(lease))
        message.message.MergeFromString(bodies[lease.message_id])
        if subscription.counts_attempts:
            message.delivery_attempt = lease.attempt
        messages.append(message)
    return messages


class Stream:
    """One StreamingPull call; also the owner under which its deliveries are counted."""

    def __init__(self, broker: Broker, first: Any) -> None:
        self._broker = broker
        self._subscription = broker.subscription(first.subscription)
        self._seconds = _checked_deadline(first.stream_ack_deadline_seconds)
        self._most_messages = first.max_outstanding_messages
        self._most_bytes = first.max_outstanding_bytes
        self._reading: asyncio.Task[None] | None = None

    async def responses(self, first: Any, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """What to send, until the client has no more requests or the subscription is gone.

        Raises:
            RequestError: the subscription was deleted or is pushed, or a request is malformed.
        """
        self._subscription.require_pull()
        await self._apply(first)
        self._reading = asyncio.create_task(self._read(requests))
        self._reading.add_done_callback(lambda _: self._subscription.wake_receivers())
        try:
            while not self._reading.done():
                leases = self._lease()
                if leases:
                    yield await self._response(leases)
                else:
                    await self._subscription.changed(None)
            self._reading.result()
        finally:
            self._reading.cancel()

    def _lease(self) -> list[Lease]:
        held = self._subscription.backlog.held(self)
        limit, room = _MOST_MESSAGES, float(LARGEST_RESPONSE)
        if self._most_messages > 0:
            limit = min(limit, self._most_messages - held.messages)
        if self._most_bytes > 0:
            room = min(room, self._most_bytes - held.size)
        if limit <= 0 or room <= 0:
            self._subscription.require_pull()
            return []
        return self._subscription.lease(
            seconds=self._seconds, limit=limit, max_bytes=room, owner=self
        )

    async def _response(self, leases: list[Lease]) -> Any:
        response = wire.StreamingPullResponse()
        response.received_messages.extend(await received(self._broker, self._subscription, leases))
        ordered = self._subscription.config.enable_message_ordering
        response.subscription_properties.message_ordering_enabled = ordered
        return response

    async def _read(self, requests: AsyncIterator[Any]) -> None:
        async for request in requests:
            await self._apply(request)

    async def _apply(self, request: Any) -> None:
        if request.stream_ack_deadline_seconds:
            self._seconds = _checked_deadline(request.stream_ack_deadline_seconds)
        if len(request.modify_deadline_ack_ids) != len(request.modify_deadline_seconds):
            raise invalid("modify_deadline_ack_ids and modify_deadline_seconds differ in length.")
        for ack_id, seconds in zip(
            request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True
        ):
            self._subscription.modify([ack_id], seconds)
        if request.ack_ids:
            await self._broker.acknowledge(self._subscription, list(request.ack_ids))


def _checked_deadline(seconds: int) -> int:
    if not SHORTEST_ACK_DEADLINE <= seconds <= LONGEST_ACK_DEADLINE:
        raise invalid(
            f"Invalid ack deadline given (ack_deadline={seconds}). The stream's ack deadline must "
            f"be between {SHORTEST_ACK_DEADLINE} and {LONGEST_ACK_DEADLINE} seconds."
        )
    return seconds
