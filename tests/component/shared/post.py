"""Pub/Sub's part in component tests: takes what was published for a tenant and delivers it."""

from collections.abc import Callable, Sequence
from typing import Any

from google.api_core.exceptions import DeadlineExceeded
from google.cloud import pubsub_v1

from shared.engine.execute import execute
from shared.engine.messages import StepMessage
from shared.errors import Retryable
from tests.waiting import wait_until

_PATIENCE_SECONDS = 0.2
"""A published message is there at once; a pull without one waits for the next."""
TOPICS = ("step-gcp", "step-aws", "step-azure", "step-customer", "step-shared")


class Post:
    """Subscriptions, to every step topic mostly, that see the messages of one tenant only."""

    def __init__(self, project: str, tenant_id: str, topics: Sequence[str] = TOPICS) -> None:
        self._client = pubsub_v1.SubscriberClient()
        self._subscriptions = [
            self._client.create_subscription(
                request={
                    "name": f"projects/{project}/subscriptions/{tenant_id}-{topic}",
                    "topic": f"projects/{project}/topics/{topic}",
                    "filter": f'attributes.tenant_id = "{tenant_id}"',
                    "ack_deadline_seconds": 600,
                }
            ).name
            for topic in topics
        ]

    def close(self) -> None:
        """Take the subscriptions back."""
        for name in self._subscriptions:
            self._client.delete_subscription(request={"subscription": name})
        self._client.close()

    def received(self) -> list[Any]:
        """The messages that have arrived since the last call, acknowledged."""
        found = []
        for name in self._subscriptions:
            try:
                answer = self._client.pull(
                    request={"subscription": name, "max_messages": 100}, timeout=_PATIENCE_SECONDS
                )
            except DeadlineExceeded:
                continue
            if answer.received_messages:
                ids = [message.ack_id for message in answer.received_messages]
                self._client.acknowledge(request={"subscription": name, "ack_ids": ids})
            found += [message.message for message in answer.received_messages]
        return found

    def steps(self) -> list[StepMessage]:
        """The step messages among them."""
        return [StepMessage.model_validate_json(message.data) for message in self.received()]

    def deliver_all(self, *, copies: int = 1) -> int:
        """Deliver, and deliver what that publishes, until nothing comes; how many there were."""
        count = 0
        while waiting := self.steps():
            for message in waiting:
                count += 1
                for _ in range(copies):
                    deliver(message)
        return count


def deliver(message: StepMessage, handle: Callable[[StepMessage], None] = execute) -> None:
    """Deliver a message as Pub/Sub does: again and again until it is acknowledged."""

    def acknowledged() -> bool:
        try:
            handle(message)
        except Retryable:
            return False
        return True

    wait_until(acknowledged, timeout=90, message=f"acknowledgement of {message.step.step_id}")
