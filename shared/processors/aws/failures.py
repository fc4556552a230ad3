"""One mapping from what AWS and its client raise to the product's errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shared.errors import ConvergenceError
from shared.processors.provider_credentials import ProviderCredential
from shared.processors.provider_errors import (
    CredentialExpiredError,
    IncompleteAnswerError,
    ProviderRefusedError,
    ProviderUnavailableError,
)

THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_NOT_NOW = frozenset(
    {"DataUnavailableException", "InvalidNextTokenException", "RequestChangedException"}
)
"""Of Cost Explorer: its pages are gone or not there yet; asking from the first one helps."""
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenExpired"})
_UNKNOWN_KEYS = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""What AWS says to these may hold the signed request with its token: it is never repeated."""
_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "UnauthorizedOperation", "403"}
)
_LONGEST = 500


@contextmanager
def calling(service: str, credential: ProviderCredential) -> Iterator[None]:
    """Turn what boto3 raises inside into an error of the product that holds no secret.

    Raises:
        ProviderUnavailableError: throttled, failed, or no answer; another attempt may succeed.
        IncompleteAnswerError: the answer broke off.
        CredentialExpiredError: the tenant's stored session token is over.
        ProviderRefusedError: AWS said no.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        raise _of_answer(service, credential, error.response) from None
    except (BotoCoreError, HTTPError) as error:
        raise _of_client(service, error) from None


def _of_answer(
    service: str, credential: ProviderCredential, answer: dict[str, Any]
) -> ConvergenceError:
    code = str(answer.get("Error", {}).get("Code", ""))
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    message = str(answer.get("Error", {}).get("Message", ""))
    text = credential.redacted(message)[:_LONGEST]
    if code in THROTTLED or status == 429:
        return ProviderUnavailableError(service, f"throttles requests ({code})")
    if status >= 500:
        return ProviderUnavailableError(service, f"failed ({status} {code})")
    if code in _NOT_NOW:
        return ProviderUnavailableError(service, f"cannot answer now ({code})")
    if code in _EXPIRED:
        return _expired(service, credential, code)
    if code in _UNKNOWN_KEYS:
        return ProviderRefusedError(
            service,
            f"does not accept the keys of {credential} ({code}). Store valid ones with"
            f" {credential.route}.",
            code,
        )
    if code in _DENIED or status == 403:
        return ProviderRefusedError(
            service,
            f"denies access to {credential}: {text or code}. Let its policy, or its role's trust"
            " policy and external ID, allow this.",
            code,
        )
    return ProviderRefusedError(service, f"refused the request ({code}): {text}", code)


def _expired(service: str, credential: ProviderCredential, code: str) -> ConvergenceError:
    if credential.kind != "access_key":
        return ProviderUnavailableError(
            service, f"says that the role's session is over ({code}); the next attempt begins one"
        )
    return CredentialExpiredError(
        service,
        f"says that the session token of {credential} has expired ({code}). Store a new one with"
        f" {credential.route}, or a role, which needs no renewal.",
        code,
    )


def _of_client(service: str, error: Exception) -> ConvergenceError:
    """Failures of the transport, and answers that cannot be read; only their kind is told."""
    from botocore import exceptions
    from urllib3.exceptions import IncompleteRead, ProtocolError

    kind = type(error).__name__
    broken = (
        exceptions.ResponseStreamingError,
        exceptions.IncompleteReadError,
        IncompleteRead,
        ProtocolError,
    )
    if isinstance(error, broken) or kind == "ResponseParserError":
        return IncompleteAnswerError(service, f"the answer broke off ({kind})")
    if isinstance(error, exceptions.ParamValidationError | exceptions.InvalidRegionError):
        return ProviderRefusedError(service, f"cannot be asked this: {error}"[:_LONGEST])
    return ProviderUnavailableError(service, f"does not answer ({kind})")
