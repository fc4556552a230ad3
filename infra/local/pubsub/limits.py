"""What a publish request may hold. Source of the numbers: Pub/Sub quotas, "Resource limits"."""

from typing import Any

from infra.local.pubsub.errors import invalid, too_large, too_small

MOST_MESSAGES = 1000
LARGEST_REQUEST = 10_000_000
MOST_ATTRIBUTES = 100
LONGEST_ATTRIBUTE_KEY = 256
LONGEST_ATTRIBUTE_VALUE = 1024
LONGEST_ORDERING_KEY = 1024

_QUOTAS = "Refer to https://cloud.google.com/pubsub/quotas for more information."


def check_publish(request: Any) -> None:
    """Accept a PublishRequest or raise the RequestError that the service would answer with."""
    count = len(request.messages)
    if count == 0:
        raise too_small("message_count", 0, 1)
    if count > MOST_MESSAGES:
        raise too_large("message_count", count, MOST_MESSAGES)
    size = request.ByteSize()
    if size > LARGEST_REQUEST:
        raise too_large("request_size", size, LARGEST_REQUEST)
    for message in request.messages:
        _check_message(message)


def _check_message(message: Any) -> None:
    if not message.data and not message.attributes:
        raise invalid(
            "One or more messages in the publish request is empty. Each message must contain "
            "either non-empty data, or at least one attribute."
        )
    if message.attributes:
        _check_attributes(message.attributes)
    if message.ordering_key and len(message.ordering_key.encode()) > LONGEST_ORDERING_KEY:
        raise too_large(
            "ordering_key_size", len(message.ordering_key.encode()), LONGEST_ORDERING_KEY
        )


def _check_attributes(attributes: Any) -> None:
    if len(attributes) > MOST_ATTRIBUTES:
        raise too_large("attribute_count", len(attributes), MOST_ATTRIBUTES)
    for key, value in attributes.items():
        if not key:
            raise invalid("Message attribute keys must be non-empty.")
        if key.startswith("goog"):
            raise invalid(
                f'The attribute key "{key}" is reserved: keys must not begin with "goog".'
            )
        if len(key.encode()) > LONGEST_ATTRIBUTE_KEY:
            raise invalid(
                f'The attribute key "{key[:32]}..." in the request is too long. The length is '
                f"{len(key.encode())} bytes, but the maximum allowed is {LONGEST_ATTRIBUTE_KEY}. "
                f"{_QUOTAS}"
            )
        if len(value.encode()) > LONGEST_ATTRIBUTE_VALUE:
            raise invalid(
                f'The attribute "{key}" in the request has a value that is too long. The length '
                f"is {len(value)} characters, but the maximum allowed is "
                f"{LONGEST_ATTRIBUTE_VALUE}. {_QUOTAS}"
            )
