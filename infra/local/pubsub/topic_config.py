"""What a topic may be configured to."""

from typing import Any

from infra.local.pubsub import names
from infra.local.pubsub.errors import invalid, unimplemented
from infra.local.pubsub.masks import masked

SHORTEST_RETENTION = 600
LONGEST_RETENTION = 31 * 24 * 3600
_MUTABLE = frozenset(
    {"labels", "message_retention_duration", "message_storage_policy", "kms_key_name"}
)
_MISSING = {
    "schema_settings": "schemas",
    "ingestion_data_source_settings": "ingestion from other services",
    "message_transforms": "message transforms",
}


def created(request: Any) -> Any:
    """The topic as the service would store it, from a CreateTopic request."""
    names.checked("topics", request.name)
    return _checked(request)


def updated(current: Any, request: Any) -> Any:
    """The topic after an UpdateTopicRequest."""
    return _checked(masked(current, request.topic, request.update_mask.paths, mutable=_MUTABLE))


def _checked(topic: Any) -> Any:
    for field, what in _MISSING.items():
        if _is_set(topic, field):
            raise unimplemented(what)
    if topic.HasField("message_retention_duration"):
        check_retention(topic.message_retention_duration.seconds)
    return topic


def check_retention(seconds: int) -> None:
    """Pub/Sub keeps messages between 10 minutes and 31 days."""
    if not SHORTEST_RETENTION <= seconds <= LONGEST_RETENTION:
        raise invalid(
            f"message_retention_duration out of bounds: you passed {seconds}s in the request, "
            f"but the value must be between {SHORTEST_RETENTION}s and {LONGEST_RETENTION}s."
        )


def _is_set(message: Any, field: str) -> bool:
    return any(descriptor.name == field for descriptor, _ in message.ListFields())
