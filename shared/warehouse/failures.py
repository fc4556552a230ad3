"""One mapping from what BigQuery answers to `Retryable` or `Permanent`.

Decided by Google's reason codes and texts, never by HTTP status: a bytes-billed refusal arrives as
a 500 and a serialization conflict as a 400 (BigQuery documentation, "Error messages").
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shared.errors import Permanent, Retryable

TRANSIENT_REASONS = frozenset(
    {
        "backendError",
        "internalError",
        "badGateway",
        "jobBackendError",
        "jobInternalError",
        "jobRateLimitExceeded",
        "quotaExceeded",
        "rateLimitExceeded",
        "tableUnavailable",
        "resourceInUse",
    }
)
"""Reasons that pass by themselves; a failed job needs a new job ID, a failed call does not."""

TRANSIENT_TEXTS = (
    "Too many DML statements outstanding",
    "Could not serialize access",
    "Transaction is aborted due to concurrent update",
    "too many table update operations",
    "DML statement has been queued for too long",
)
"""Texts of errors whose reason alone (resourcesExceeded, invalidQuery) would say permanent."""

QUOTA_WAIT_SECONDS = 600.0
"""quotaExceeded refills gradually; the page advises at least ten minutes."""


class WarehouseError(Permanent):
    """BigQuery refused for good; `reason` is Google's code."""

    code = "warehouse-refused"

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class WarehouseBusyError(Retryable):
    """BigQuery could not do it now; `reason` is Google's code or the kind of failure."""

    code = "warehouse-busy"

    def __init__(self, message: str, reason: str) -> None:
        wait = QUOTA_WAIT_SECONDS if reason == "quotaExceeded" else None
        super().__init__(message, retry_after_seconds=wait)
        self.reason = reason


def is_transient(reason: str, message: str) -> bool:
    """Whether an error of this reason and text passes by itself."""
    return reason in TRANSIENT_REASONS or any(text in message for text in TRANSIENT_TEXTS)


def failure(reason: str, message: str) -> WarehouseError | WarehouseBusyError:
    """The error of the product for Google's reason and text."""
    kind = WarehouseBusyError if is_transient(reason, message) else WarehouseError
    return kind(message, reason)


@contextmanager
def translated(*passing: type[Exception]) -> Iterator[None]:
    """Turn what Google's client or its transport raises inside into an error of the product.

    Exceptions of the types in `passing` go through as they are.

    Raises:
        WarehouseBusyError: not now.
        WarehouseError: BigQuery refused.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, passing) or not _is_foreign(error):
            raise
        raise from_exception(error) from error


def _is_foreign(error: Exception) -> bool:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import TransportError
    from requests.exceptions import RequestException

    foreign = (GoogleAPIError, TransportError, RequestException, TimeoutError, ConnectionError)
    return isinstance(error, foreign)


def from_exception(error: Exception) -> WarehouseError | WarehouseBusyError:
    """The error of the product for an exception of Google's client, or of its transport."""
    import requests
    from google.api_core import exceptions
    from google.auth.exceptions import TransportError

    details: list[dict[str, Any]] = list(getattr(error, "errors", None) or [])
    reason = str(details[0].get("reason", "")) if details else ""
    if reason:
        return failure(reason, str(details[0].get("message") or error))
    message = getattr(error, "message", None) or str(error)
    unanswered = (
        exceptions.RetryError,
        exceptions.ServerError,
        exceptions.TooManyRequests,
        TransportError,
        requests.exceptions.RequestException,
        ConnectionError,
        TimeoutError,
    )
    if isinstance(error, unanswered):
        return WarehouseBusyError(f"BigQuery does not answer: {message}", "unanswered")
    return WarehouseError(message, type(error).__name__)
