"""What a subscription may be configured to, and what follows for delivery."""

from typing import Any
from urllib.parse import urlsplit

from infra.local.pubsub import filters, names, wire
from infra.local.pubsub.delivery import DeliveryRules, RetryPolicy
from infra.local.pubsub.errors import invalid, out_of_range, too_large, too_small, unimplemented
from infra.local.pubsub.masks import masked
from infra.local.pubsub.topic_config import check_retention

DEFAULT_ACK_DEADLINE = 10
SHORTEST_ACK_DEADLINE = 10
LONGEST_ACK_DEADLINE = 600
DEFAULT_RETENTION = 7 * 24 * 3600
LONGEST_BACKOFF = 600
DEFAULT_ATTEMPTS = 5
MOST_ATTEMPTS = 100

PUSH_BACKOFF = RetryPolicy(minimum=0.1, maximum=60.0)
"""Of push subscriptions without a retry policy (Pub/Sub, "Push backoff": 100 ms to 60 s); here
each message has its own, so that one that always fails does not hold up the others."""

_MUTABLE = frozenset(
    {
        "ack_deadline_seconds",
        "dead_letter_policy",
        "enable_exactly_once_delivery",
        "expiration_policy",
        "labels",
        "message_retention_duration",
        "push_config",
        "retain_acked_messages",
        "retry_policy",
    }
)
_MISSING = {
    "bigquery_config": "BigQuery subscriptions",
    "cloud_storage_config": "Cloud Storage subscriptions",
    "bigtable_config": "Bigtable subscriptions",
    "message_transforms": "message transforms",
    "enable_exactly_once_delivery": "exactly-once delivery",
}


def created(request: Any) -> Any:
    """The subscription as the service would store it, from a CreateSubscription request."""
    names.checked("subscriptions", request.name)
    names.checked("topics", request.topic)
    config = wire.Subscription()
    config.CopyFrom(request)
    filters.compiled(config.filter)
    return _completed(config)


def updated(current: Any, request: Any) -> Any:
    """The subscription after an UpdateSubscriptionRequest."""
    changes = request.subscription
    return _completed(masked(current, changes, request.update_mask.paths, mutable=_MUTABLE))


def with_push_config(current: Any, push_config: Any) -> Any:
    """The subscription after ModifyPushConfig; an empty one makes it a pull subscription."""
    config = wire.Subscription()
    config.CopyFrom(current)
    config.push_config.CopyFrom(push_config)
    return _completed(config)


def is_push(config: Any) -> bool:
    return bool(config.push_config.push_endpoint)


def delivery_rules(config: Any) -> DeliveryRules:
    """What the configuration means for the order and the repetition of deliveries."""
    retry = None
    if config.HasField("retry_policy"):
        policy = config.retry_policy
        retry = RetryPolicy(_seconds(policy.minimum_backoff), _seconds(policy.maximum_backoff))
    elif is_push(config):
        retry = PUSH_BACKOFF
    return DeliveryRules(
        ordered=config.enable_message_ordering,
        retry=retry,
        max_attempts=config.dead_letter_policy.max_delivery_attempts or None,
        retention_seconds=_seconds(config.message_retention_duration),
    )


def _completed(config: Any) -> Any:
    for descriptor, _ in config.ListFields():
        if descriptor.name in _MISSING:
            raise unimplemented(_MISSING[descriptor.name])
    config.push_config.SetInParent()  # the service always shows one
    _check_push(config.push_config)
    config.ack_deadline_seconds = config.ack_deadline_seconds or DEFAULT_ACK_DEADLINE
    if not SHORTEST_ACK_DEADLINE <= config.ack_deadline_seconds <= LONGEST_ACK_DEADLINE:
        raise invalid(
            f"Invalid ack deadline given (ack_deadline={config.ack_deadline_seconds}). "
            f"The ack deadline must be between {SHORTEST_ACK_DEADLINE} and "
            f"{LONGEST_ACK_DEADLINE} seconds."
        )
    if not config.HasField("message_retention_duration"):
        config.message_retention_duration.seconds = DEFAULT_RETENTION
    check_retention(config.message_retention_duration.seconds)
    _complete_retry(config)
    _complete_dead_letter(config)
    return config


def _check_push(push_config: Any) -> None:
    if not push_config.push_endpoint:
        return
    parts = urlsplit(push_config.push_endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise invalid(f"Invalid push endpoint given (endpoint={push_config.push_endpoint}).")
    if push_config.HasField("oidc_token") and not push_config.oidc_token.service_account_email:
        raise invalid("The oidc_token of the push_config must name a service_account_email.")


def _complete_retry(config: Any) -> None:
    if not config.HasField("retry_policy"):
        return
    policy = config.retry_policy
    if not policy.HasField("minimum_backoff"):
        policy.minimum_backoff.seconds = 10
    if not policy.HasField("maximum_backoff"):
        policy.maximum_backoff.seconds = LONGEST_BACKOFF
    for field in ("minimum_backoff", "maximum_backoff"):
        seconds = _seconds(getattr(policy, field))
        if not 0 <= seconds <= LONGEST_BACKOFF:
            raise invalid(
                f"The value for {field} is out of bounds. You passed {seconds:g}s in the request, "
                f"but the value must be between 0s and {LONGEST_BACKOFF}s."
            )
    minimum, maximum = _seconds(policy.minimum_backoff), _seconds(policy.maximum_backoff)
    if maximum < minimum:
        raise too_small("maximum_backoff", f"{maximum:g}s", f"{minimum:g}s")


def _complete_dead_letter(config: Any) -> None:
    if not config.HasField("dead_letter_policy"):
        return
    policy = config.dead_letter_policy
    names.checked("topics", policy.dead_letter_topic)
    attempts = policy.max_delivery_attempts = policy.max_delivery_attempts or DEFAULT_ATTEMPTS
    if attempts < DEFAULT_ATTEMPTS:
        raise out_of_range(too_small("max_delivery_attempts", attempts, DEFAULT_ATTEMPTS))
    if attempts > MOST_ATTEMPTS:
        raise out_of_range(too_large("max_delivery_attempts", attempts, MOST_ATTEMPTS))


def _seconds(duration: Any) -> float:
    return float(duration.seconds) + float(duration.nanos) / 1e9
