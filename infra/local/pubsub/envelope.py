"""The HTTP request that a push makes of a message."""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from infra.local.pubsub import wire
from infra.local.pubsub.messages import timestamp

USER_AGENT = "CloudPubSub-Google"
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NOT_IN_HEADER = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Push:
    headers: dict[str, str]
    content: bytes


def push_request(config: Any, body: bytes, *, attempt: int | None) -> Push:
    """The push of one message to a subscription's endpoint.

    Args:
        config: the Subscription.
        body: the serialized PubsubMessage.
        attempt: the delivery attempt, None without a dead-letter policy.
    """
    message = wire.PubsubMessage.FromString(body)
    if config.push_config.HasField("no_wrapper"):
        return _unwrapped(config, message, attempt)
    document: dict[str, Any] = {
        "message": _fields(message),
        "subscription": config.name,
    }
    if attempt is not None:
        document["deliveryAttempt"] = attempt
    return Push(
        headers={"content-type": "application/json", "user-agent": USER_AGENT},
        content=json.dumps(document, sort_keys=True, separators=(",", ":")).encode(),
    )


def _fields(message: Any) -> dict[str, Any]:
    """As in proto3's JSON, empty fields are left out; the service repeats two in snake case."""
    published = timestamp(message.publish_time)
    fields: dict[str, Any] = {
        "messageId": message.message_id,
        "message_id": message.message_id,
        "publishTime": published,
        "publish_time": published,
    }
    if message.data:
        fields["data"] = base64.b64encode(message.data).decode()
    if message.attributes:
        fields["attributes"] = dict(message.attributes)
    if message.ordering_key:
        fields["orderingKey"] = message.ordering_key
    return fields


def _unwrapped(config: Any, message: Any, attempt: int | None) -> Push:
    headers = {"user-agent": USER_AGENT}
    if config.push_config.no_wrapper.write_metadata:
        headers |= {
            "x-goog-pubsub-subscription-name": config.name,
            "x-goog-pubsub-message-id": message.message_id,
            "x-goog-pubsub-publish-time": timestamp(message.publish_time),
        }
        if message.ordering_key:
            headers["x-goog-pubsub-ordering-key"] = _line(message.ordering_key)
        if attempt is not None:
            headers["x-goog-pubsub-delivery-attempt"] = str(attempt)
        headers |= {
            key: _line(value)
            for key, value in message.attributes.items()
            if _HEADER_NAME.fullmatch(key)
        }
    return Push(headers=headers, content=message.data)


def _line(value: str) -> str:
    """A header value is one line of printable ASCII."""
    return _NOT_IN_HEADER.sub(" ", value).encode("ascii", "replace").decode()
