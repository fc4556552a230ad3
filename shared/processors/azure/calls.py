"""Calls of Azure with a token: throttling waited out, failures as errors of the product.

Endpoints come from the environment alone; a redirect is never followed, because what follows it
would carry the token along.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING, Any

from shared.errors import ConvergenceError
from shared.processors.azure.entra import token_for
from shared.processors.provider_credentials import ProviderCredential
from shared.processors.provider_errors import (
    IncompleteAnswerError,
    ProviderRefusedError,
    ProviderUnavailableError,
)

if TYPE_CHECKING:
    import requests

_TRIES = 4
_FIRST_WAIT_SECONDS = 2.0
_LONGEST_WAIT_SECONDS = 90.0
"""Of one wait inside a call; a longer one is left to the next attempt of the step."""
_TIMEOUTS = (10, 60)
_THROTTLED = "x-ms-ratelimit-microsoft.costmanagement-"
_RETRY_AFTER = "retry-after"
_EXPIRED = frozenset({"ExpiredAuthenticationToken", "TokenExpired"})
_LONGEST_TEXT = 500


@dataclass(frozen=True)
class Access:
    """A credential with the token that a step was given for one resource of Azure."""

    credential: ProviderCredential
    role: str
    """The role in Azure that the application needs, for whoever reads a refusal."""
    _token: str = field(repr=False)
    _http: "requests.Session" = field(repr=False)

    def redacted(self, text: str) -> str:
        """`text`, of an answer perhaps, without the token or a value of the credential."""
        return self.credential.redacted(text.replace(self._token, "[secret]"))


def access(credential: ProviderCredential, scope: str, role: str) -> Access:
    """Ask Entra for a token.

    Raises:
        ProviderUnavailableError: Entra does not answer.
        ProviderRefusedError: it does not accept the credential.
    """
    import requests

    return Access(credential, role, token_for(credential, scope), requests.Session())


def call(
    opened: Access,
    service: str,
    request: tuple[str, str],
    deadline: datetime,
    *,
    headers: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
) -> "requests.Response":
    """The answer to a method and URL: 2xx, or 404 or 412 for the caller to judge.

    Raises:
        ProviderUnavailableError: throttled, failed or silent for longer than it is waited here;
            `retry_after_seconds` is what Azure asked for.
        IncompleteAnswerError: the answer broke off.
        ProviderRefusedError: Azure says no.
    """
    for wait in _waits():
        try:
            answer = _sent(opened, service, request, headers, body)
        except ProviderUnavailableError:
            if not _waited(wait, deadline):
                raise
            continue
        if _is_judged_by_the_caller(answer.status_code):
            return answer
        failure = _failure(opened, service, answer)
        asked = getattr(failure, "retry_after_seconds", None)
        may_pass = answer.status_code == 429 or answer.status_code >= 500
        if not may_pass or not _waited(None if wait is None else asked or wait, deadline):
            raise failure
    raise AssertionError  # the last wait is None, which ends in an error


def content_of(answer: "requests.Response", service: str, place: str) -> Any:
    """The JSON of an answer, its numbers to the last digit.

    Raises:
        IncompleteAnswerError: it is none, or cut off.
    """
    from decimal import Decimal

    try:
        return json.loads(
            answer.content, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_number
        )
    except (ValueError, ArithmeticError):
        raise IncompleteAnswerError(service, f"{place} is no whole JSON") from None


def refused(opened: Access, service: str, answer: "requests.Response") -> ConvergenceError:
    """The error for an answer that asking again does not change."""
    return _failure(opened, service, answer)


def _is_judged_by_the_caller(status: int) -> bool:
    return 200 <= status < 300 or status in {404, 412}


def _no_number(name: str) -> None:
    raise ValueError(name)


def _waits() -> Iterator[float | None]:
    """Seconds before each further try; None after the last."""
    yield from (_FIRST_WAIT_SECONDS * 2**number for number in range(_TRIES - 1))
    yield None


def _waited(seconds: float | None, deadline: datetime) -> bool:
    """Wait, unless that takes too long; whether it did."""
    if seconds is None or seconds > _LONGEST_WAIT_SECONDS:
        return False
    if datetime.now(UTC) + timedelta(seconds=seconds) >= deadline:
        return False
    Event().wait(seconds)
    return True


def _sent(
    opened: Access,
    service: str,
    request: tuple[str, str],
    headers: Mapping[str, str] | None,
    body: Mapping[str, Any] | None,
) -> "requests.Response":
    import requests

    method, url = request
    try:
        return opened._http.request(
            method,
            url,
            json=body,
            headers={"Authorization": f"Bearer {opened._token}", **(headers or {})},
            timeout=_TIMEOUTS,
            allow_redirects=False,
        )
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
        raise IncompleteAnswerError(service, "the answer broke off") from None
    except requests.RequestException as error:  # its words may hold the URL
        raise ProviderUnavailableError(
            service, f"does not answer ({type(error).__name__})"
        ) from None


def _failure(opened: Access, service: str, answer: "requests.Response") -> ConvergenceError:
    status = answer.status_code
    code, message = _said(answer)
    text = opened.redacted(message)[:_LONGEST_TEXT]
    shown = f"{status} {opened.redacted(code)[:100]}".strip()
    if status == 429:
        return ProviderUnavailableError(service, f"throttles requests ({shown})", _wait_of(answer))
    if status >= 500:
        return ProviderUnavailableError(service, f"failed ({shown})", _wait_of(answer))
    if status == 401 and (code in _EXPIRED or "expired" in message):
        return ProviderUnavailableError(
            service, f"says that the token has expired ({shown}); the next attempt asks for another"
        )
    if status in {401, 403}:
        return ProviderRefusedError(
            service,
            f"denies access to {opened.credential} ({shown}): {text or 'no reason given'}. Give its"
            f" application the role {opened.role} where the data is, in the directory of the"
            " credential.",
            code,
        )
    if 300 <= status < 400:
        return ProviderRefusedError(service, f"sends elsewhere ({shown}), which is not followed")
    return ProviderRefusedError(service, f"refused the request ({shown}): {text}", code)


def _said(answer: "requests.Response") -> tuple[str, str]:
    """Code and message of an error, as Resource Manager or Blob Storage writes them."""
    try:
        error = json.loads(answer.content)["error"]
        return str(error.get("code", "")), str(error.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return answer.headers.get("x-ms-error-code", ""), ""


def _wait_of(answer: "requests.Response") -> float | None:
    """The longest of the waits that an answer asks for; Cost Management counts in four ways."""
    asked = [
        float(value)
        for name, value in answer.headers.items()
        if name.lower() == _RETRY_AFTER
        or (name.lower().startswith(_THROTTLED) and name.lower().endswith(_RETRY_AFTER))
        if value.isascii() and value.isdecimal()
    ]
    return max(asked, default=None)
