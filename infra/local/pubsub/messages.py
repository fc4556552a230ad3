"""Messages on their way in: IDs, publish times, and what a dead letter looks like."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from infra.local.pubsub import wire


@dataclass(frozen=True, slots=True)
class Message:
    """A published message."""

    message_id: int
    published_at: float
    key: str
    attributes: Any
    body: bytes
    """Serialized PubsubMessage, with ID and publish time."""


class Stamp:
    """Gives messages their ID and publish time; IDs only ever grow, over restarts as well."""

    def __init__(self, clock: Callable[[], float], last_id: int = 0) -> None:
        self._clock = clock
        self._last_id = last_id

    def message(self, message: Any) -> Message:
        """Stamp a PubsubMessage in place."""
        # Whole milliseconds, as the service's publish times.
        milliseconds = int(self._clock() * 1000)
        # Microseconds since 1970 have the 16 digits of the service's IDs, and need no counter
        # on disk.
        self._last_id = max(self._last_id + 1, milliseconds * 1000)
        message.message_id = str(self._last_id)
        message.publish_time.seconds, rest = divmod(milliseconds, 1000)
        message.publish_time.nanos = rest * 1_000_000
        return Message(
            message_id=self._last_id,
            published_at=milliseconds / 1000,
            key=message.ordering_key,
            attributes=message.attributes,
            body=message.SerializeToString(),
        )


def dead_letter(body: bytes, *, subscription: str, attempts: int) -> Any:
    """The message that goes to the dead-letter topic: the original and where it came from."""
    message = wire.PubsubMessage.FromString(body)
    _, project, _, name = subscription.split("/", 3)
    message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] = str(attempts)
    message.attributes["CloudPubSubDeadLetterSourceSubscription"] = name
    message.attributes["CloudPubSubDeadLetterSourceSubscriptionProject"] = project
    message.attributes["CloudPubSubDeadLetterSourceTopicPublishTime"] = timestamp(
        message.publish_time, utc="+00:00"
    )
    return message


def timestamp(publish_time: Any, *, utc: str = "Z") -> str:
    """RFC 3339 with milliseconds, as the service writes publish times."""
    moment = datetime.fromtimestamp(publish_time.seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{publish_time.nanos // 1_000_000:03}{utc}"


def now() -> float:
    """The clock of the service: seconds since 1970, because it must survive a restart."""
    return time.time()
