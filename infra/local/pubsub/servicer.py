"""The gRPC methods of google.pubsub.v1 on a broker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from infra.local.pubsub import limits, names, wire
from infra.local.pubsub.broker import Broker
from infra.local.pubsub.errors import invalid, unimplemented
from infra.local.pubsub.streaming import LARGEST_RESPONSE, Stream, received
from infra.local.pubsub.subscription_config import LONGEST_ACK_DEADLINE

EMPTY_PULL_SECONDS = 5.0
"""How long a pull waits for a first message. Google documents "a bounded amount of time"."""
_MOST_PULLED = 1000


@dataclass(frozen=True)
class Unary:
    """A method with one request and one response."""

    request: Any
    run: Callable[[Any], Awaitable[Any]]


class Publisher:
    """google.pubsub.v1.Publisher."""

    NAME = "google.pubsub.v1.Publisher"

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def methods(self) -> dict[str, Unary]:
        return {
            "CreateTopic": Unary(wire.Topic, self._broker.create_topic),
            "UpdateTopic": Unary(wire.UpdateTopicRequest, self._broker.update_topic),
            "GetTopic": Unary(wire.GetTopicRequest, self._get),
            "ListTopics": Unary(wire.ListTopicsRequest, self._list),
            "ListTopicSubscriptions": Unary(
                wire.ListTopicSubscriptionsRequest, self._list_subscriptions
            ),
            "ListTopicSnapshots": Unary(wire.ListTopicSnapshotsRequest, _no("snapshots")),
            "DeleteTopic": Unary(wire.DeleteTopicRequest, self._delete),
            "DetachSubscription": Unary(wire.DetachSubscriptionRequest, _no("detaching")),
            "Publish": Unary(wire.PublishRequest, self._publish),
        }

    async def _get(self, request: Any) -> Any:
        return self._broker.topic(request.topic).config

    async def _list(self, request: Any) -> Any:
        prefix = f"{names.checked_project(request.project)}/"
        topics = self._broker.topics
        found = (name for name in topics if name.startswith(prefix))
        shown, token = names.page(found, request.page_size, request.page_token)
        return wire.ListTopicsResponse(
            topics=[topics[name].config for name in shown], next_page_token=token
        )

    async def _list_subscriptions(self, request: Any) -> Any:
        found = self._broker.topic(request.topic).subscriptions
        shown, token = names.page(found, request.page_size, request.page_token)
        return wire.ListTopicSubscriptionsResponse(subscriptions=shown, next_page_token=token)

    async def _delete(self, request: Any) -> Any:
        await self._broker.delete_topic(request.topic)
        return wire.Empty()

    async def _publish(self, request: Any) -> Any:
        self._broker.topic(request.topic)
        limits.check_publish(request)
        ids = await self._broker.publish(request.topic, request.messages)
        return wire.PublishResponse(message_ids=ids)


class Subscriber:
    """google.pubsub.v1.Subscriber."""

    NAME = "google.pubsub.v1.Subscriber"

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def methods(self) -> dict[str, Unary]:
        no_snapshots = _no("snapshots and seek")
        return {
            "CreateSubscription": Unary(wire.Subscription, self._broker.create_subscription),
            "GetSubscription": Unary(wire.GetSubscriptionRequest, self._get),
            "UpdateSubscription": Unary(
                wire.UpdateSubscriptionRequest, self._broker.update_subscription
            ),
            "ListSubscriptions": Unary(wire.ListSubscriptionsRequest, self._list),
            "DeleteSubscription": Unary(wire.DeleteSubscriptionRequest, self._delete),
            "ModifyPushConfig": Unary(wire.ModifyPushConfigRequest, self._modify_push_config),
            "Acknowledge": Unary(wire.AcknowledgeRequest, self._acknowledge),
            "ModifyAckDeadline": Unary(wire.ModifyAckDeadlineRequest, self._modify_ack_deadline),
            "ListSnapshots": Unary(wire.ListSnapshotsRequest, no_snapshots),
            "CreateSnapshot": Unary(wire.CreateSnapshotRequest, no_snapshots),
            "Seek": Unary(wire.SeekRequest, no_snapshots),
        }

    async def pull(self, request: Any, seconds: float) -> Any:
        """Answer a Pull: at once with what is there, else after waiting at most `seconds`."""
        subscription = self._broker.subscription(request.subscription)
        if request.max_messages <= 0:
            raise invalid(
                "You have passed an invalid argument to the service (argument=max_messages)."
            )
        loop = asyncio.get_running_loop()
        end = loop.time() + (0 if request.return_immediately else seconds)
        while True:
            leases = subscription.lease(
                seconds=subscription.config.ack_deadline_seconds,
                limit=min(request.max_messages, _MOST_PULLED),
                max_bytes=LARGEST_RESPONSE,
            )
            if leases or loop.time() >= end:
                messages = await received(self._broker, subscription, leases)
                return wire.PullResponse(received_messages=messages)
            await subscription.changed(end - loop.time())

    async def streaming_pull(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Answer a StreamingPull."""
        first = await anext(requests, None)
        if first is None:
            return
        stream = Stream(self._broker, first)
        async for response in stream.responses(first, requests):
            yield response

    async def _get(self, request: Any) -> Any:
        return self._broker.subscription(request.subscription).config

    async def _list(self, request: Any) -> Any:
        prefix = f"{names.checked_project(request.project)}/"
        subscriptions = self._broker.subscriptions
        found = (name for name in subscriptions if name.startswith(prefix))
        shown, token = names.page(found, request.page_size, request.page_token)
        return wire.ListSubscriptionsResponse(
            subscriptions=[subscriptions[name].config for name in shown], next_page_token=token
        )

    async def _delete(self, request: Any) -> Any:
        await self._broker.delete_subscription(request.subscription)
        return wire.Empty()

    async def _modify_push_config(self, request: Any) -> Any:
        await self._broker.modify_push_config(request.subscription, request.push_config)
        return wire.Empty()

    async def _acknowledge(self, request: Any) -> Any:
        subscription = self._broker.subscription(request.subscription)
        await self._broker.acknowledge(subscription, list(request.ack_ids))
        return wire.Empty()

    async def _modify_ack_deadline(self, request: Any) -> Any:
        subscription = self._broker.subscription(request.subscription)
        seconds = request.ack_deadline_seconds
        if not 0 <= seconds <= LONGEST_ACK_DEADLINE:
            raise invalid(
                f"Invalid ack deadline given (ack_deadline={seconds}). "
                f"The ack deadline must be between 0 and {LONGEST_ACK_DEADLINE} seconds."
            )
        subscription.modify(list(request.ack_ids), seconds)
        return wire.Empty()


def _no(what: str) -> Callable[[Any], Awaitable[Any]]:
    async def refuse(_request: Any) -> Any:
        raise unimplemented(what)

    return refuse
