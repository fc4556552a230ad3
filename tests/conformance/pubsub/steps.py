"""The steps that the tests of Pub/Sub are written in: Google's clients, names made fresh."""

import uuid
from collections.abc import Sequence
from typing import Any

from google.api_core import exceptions
from google.cloud import pubsub_v1
from google.protobuf import duration_pb2
from google.pubsub_v1 import PublisherClient, types

QUICK_RETRY = types.RetryPolicy(
    minimum_backoff=duration_pb2.Duration(nanos=100_000_000),
    maximum_backoff=duration_pb2.Duration(nanos=400_000_000),
)


class PubSub:
    """One test's project on the server under test.

    `publisher` publishes single requests (the generated client below Google's batching publisher,
    on the same connection), so that a test decides what is one request.
    """

    def __init__(
        self,
        target: str,
        batching: pubsub_v1.PublisherClient,
        subscriber: pubsub_v1.SubscriberClient,
        project: str = "",
    ) -> None:
        self.target = target
        self.project = project or f"projects/p-{uuid.uuid4().hex[:12]}"
        self.batching = batching
        self.publisher = PublisherClient(transport=batching.transport)
        self.subscriber = subscriber

    def topic_name(self, name: str = "topic") -> str:
        return f"{self.project}/topics/{name}"

    def subscription_name(self, name: str = "subscription") -> str:
        return f"{self.project}/subscriptions/{name}"

    def topic(self, name: str = "topic", **fields: Any) -> str:
        request = {"name": self.topic_name(name), **fields}
        return str(self.publisher.create_topic(request=request, retry=None).name)

    def subscription(self, topic: str, name: str = "subscription", **fields: Any) -> str:
        request = {"name": self.subscription_name(name), "topic": topic, **fields}
        return str(self.subscriber.create_subscription(request=request, retry=None).name)

    def dead_letter_policy(self, attempts: int = 5) -> tuple[types.DeadLetterPolicy, str]:
        """A policy with a fresh dead-letter topic, and the subscription that sees it."""
        topic = self.topic("dead")
        policy = types.DeadLetterPolicy(dead_letter_topic=topic, max_delivery_attempts=attempts)
        return policy, self.subscription(topic, "dead")

    def publish(self, topic: str, *messages: bytes | dict[str, Any]) -> list[str]:
        wrapped = [m if isinstance(m, dict) else {"data": m} for m in messages]
        request = {"topic": topic, "messages": wrapped}
        return list(self.publisher.publish(request=request, retry=None, timeout=10).message_ids)

    def pull(self, subscription: str, most: int = 100, wait: float = 5.0) -> list[Any]:
        """What one pull brings; empty when nothing comes within `wait` seconds."""
        request = {"subscription": subscription, "max_messages": most}
        try:
            answer = self.subscriber.pull(request=request, retry=None, timeout=wait)
        except exceptions.DeadlineExceeded:  # Google's emulator holds an empty pull open
            return []
        return list(answer.received_messages)

    def pull_now(self, subscription: str, most: int = 100) -> list[Any]:
        """What is deliverable at this moment."""
        request = {
            "subscription": subscription,
            "max_messages": most,
            "return_immediately": True,
        }
        return list(self.subscriber.pull(request=request, retry=None, timeout=5).received_messages)

    def pull_data(self, subscription: str, count: int, wait: float = 5.0) -> list[bytes]:
        """Pull and acknowledge until `count` messages came; their data in the order of arrival."""
        data: list[bytes] = []
        while len(data) < count:
            received = self.pull(subscription, wait=wait)
            assert received, f"only {data} of {count} messages came"
            self.acknowledge(subscription, received)
            data += [message.message.data for message in received]
        return data

    def acknowledge(self, subscription: str, received: Sequence[Any]) -> None:
        ack_ids = [message.ack_id for message in received]
        self.subscriber.acknowledge(subscription=subscription, ack_ids=ack_ids, retry=None)

    def set_deadline(self, subscription: str, received: Sequence[Any], seconds: int) -> None:
        self.subscriber.modify_ack_deadline(
            subscription=subscription,
            ack_ids=[message.ack_id for message in received],
            ack_deadline_seconds=seconds,
            retry=None,
        )

    def nack(self, subscription: str, received: Sequence[Any]) -> None:
        self.set_deadline(subscription, received, 0)
