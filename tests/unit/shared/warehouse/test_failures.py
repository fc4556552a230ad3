"""The mapping that decides what is tried again. Facts: BigQuery documentation, "Error messages"."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.auth import exceptions as auth_exceptions

from shared.errors import Permanent, Retryable
from shared.warehouse.failures import (
    QUOTA_WAIT_SECONDS,
    WarehouseBusyError,
    WarehouseError,
    failure,
    from_exception,
    translated,
)

client: Any = exceptions
auth: Any = auth_exceptions
"""The same modules without types: their constructors have none."""
Kind = type[exceptions.GoogleAPICallError]


def answer(kind: Kind, reason: str, message: str = "what Google says") -> Exception:
    """The client's exception for an error body with this reason."""
    return kind(message, errors=[{"reason": reason, "message": message}])


PERMANENT: list[tuple[Kind, str, str]] = [
    (exceptions.Forbidden, "accessDenied", "Access Denied"),
    (exceptions.BadRequest, "billingTierLimitExceeded", "too much CPU"),
    (exceptions.Forbidden, "billingNotEnabled", "enable billing"),
    (exceptions.Forbidden, "blocked", "blocked for a while"),
    (exceptions.Conflict, "duplicate", "Already Exists: Job a:b.c"),
    (exceptions.BadRequest, "invalid", "bad value"),
    (exceptions.BadRequest, "invalidQuery", "Syntax error: Unexpected identifier"),
    (exceptions.NotFound, "notFound", "Not found: Table a:b.c"),
    (exceptions.BadRequest, "resourcesExceeded", "Resources exceeded: out of memory"),
    (exceptions.Forbidden, "responseTooLarge", "Response too large to return"),
    (exceptions.BadRequest, "stopped", "Job execution was cancelled"),
    (
        exceptions.InternalServerError,
        "bytesBilledLimitExceeded",
        "Query exceeded limit for bytes billed: 1000000. 10485760 or higher required.",
    ),
    (exceptions.InternalServerError, "reasonOfNextYear", "unknown reasons arrive as 500"),
]

TRANSIENT: list[tuple[Kind, str, str]] = [
    (exceptions.InternalServerError, "backendError", "try again"),
    (exceptions.ServiceUnavailable, "backendError", "try again"),
    (exceptions.InternalServerError, "internalError", "try again"),
    (exceptions.BadRequest, "jobBackendError", "try again"),
    (exceptions.BadRequest, "jobInternalError", "try again"),
    (exceptions.BadRequest, "jobRateLimitExceeded", "try again"),
    (exceptions.Forbidden, "rateLimitExceeded", "Exceeded rate limits"),
    (exceptions.TooManyRequests, "rateLimitExceeded", "Exceeded rate limits"),
    (exceptions.Forbidden, "quotaExceeded", "Quota exceeded"),
    (exceptions.BadRequest, "tableUnavailable", "try again"),
    (
        exceptions.BadRequest,
        "resourcesExceeded",
        "Resources exceeded during query execution: Too many DML statements outstanding",
    ),
    (
        exceptions.BadRequest,
        "invalidQuery",
        "Could not serialize access to table p:d.t due to concurrent update",
    ),
    (
        exceptions.BadRequest,
        "invalidQuery",
        "Transaction is aborted due to concurrent update against table p:d.t.",
    ),
    (
        exceptions.Forbidden,
        "invalid",
        "Exceeded rate limits: too many table update operations for this table.",
    ),
]


@pytest.mark.parametrize(("kind", "reason", "message"), PERMANENT)
def test_refusals_are_permanent_whatever_their_status(
    kind: Kind, reason: str, message: str
) -> None:
    error = from_exception(answer(kind, reason, message))

    assert isinstance(error, WarehouseError)
    assert isinstance(error, Permanent)
    assert error.reason == reason
    assert message in str(error)


@pytest.mark.parametrize(("kind", "reason", "message"), TRANSIENT)
def test_what_passes_by_itself_is_retryable_whatever_its_status(
    kind: Kind, reason: str, message: str
) -> None:
    error = from_exception(answer(kind, reason, message))

    assert isinstance(error, WarehouseBusyError)
    assert isinstance(error, Retryable)
    assert error.reason == reason


def test_used_up_quota_waits_ten_minutes_other_limits_do_not() -> None:
    quota = failure("quotaExceeded", "Quota exceeded")
    rate = failure("rateLimitExceeded", "Exceeded rate limits")

    assert isinstance(quota, WarehouseBusyError)
    assert quota.retry_after_seconds == QUOTA_WAIT_SECONDS == 600
    assert isinstance(rate, WarehouseBusyError)
    assert rate.retry_after_seconds is None


@pytest.mark.parametrize(
    "error",
    [
        client.ServiceUnavailable("upstream connect error"),
        client.InternalServerError("no body"),
        client.GatewayTimeout("no body"),
        client.TooManyRequests("no body"),
        client.RetryError("deadline", cause=None),
        requests.exceptions.ConnectionError("refused"),
        requests.exceptions.ReadTimeout("read"),
        requests.exceptions.ChunkedEncodingError("cut off"),
        ConnectionResetError("reset"),
        TimeoutError("timed out"),
        auth.TransportError("the metadata server is away"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_answer_at_all_is_retryable(error: Exception) -> None:
    with pytest.raises(WarehouseBusyError, match="BigQuery does not answer"), translated():
        raise error


@pytest.mark.parametrize("kind", [exceptions.BadRequest, exceptions.Forbidden, exceptions.NotFound])
def test_refusal_without_a_reason_is_permanent(kind: Kind) -> None:
    assert isinstance(from_exception(kind("no body")), WarehouseError)


def test_exceptions_that_the_caller_acts_on_pass_as_they_are() -> None:
    with pytest.raises(exceptions.Conflict), translated(exceptions.Conflict):
        raise answer(exceptions.Conflict, "duplicate")


@pytest.mark.parametrize("make", [lambda: KeyError("x"), lambda: WarehouseError("x", "y")])
def test_errors_of_our_own_are_not_dressed_up_as_bigquerys(make: Callable[[], Exception]) -> None:
    error = make()
    with pytest.raises(type(error)) as caught, translated():
        raise error

    assert caught.value is error


def test_cause_is_kept_for_the_log() -> None:
    cause = answer(exceptions.BadRequest, "invalidQuery")
    with pytest.raises(WarehouseError) as caught, translated():
        raise cause

    assert caught.value.__cause__ is cause
