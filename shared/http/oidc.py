"""Whether a request is a job of Cloud Scheduler: by the OIDC token that Google signed for it.

Its headers prove nothing, anybody may send them ("Cloud Scheduler: authenticate with OIDC"). The
token must be signed with one of Google's keys, be meant for this service and be the one service
account's that the jobs run as.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shared.errors import Retryable, UnauthenticatedError
from shared.expiring import ExpiringCache
from shared.settings import settings

if TYPE_CHECKING:
    from google.auth.transport import Response

_ISSUERS = frozenset({"accounts.google.com", "https://accounts.google.com"})
_CLOCK_SKEW_SECONDS = 10
_TIMEOUT_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 10.0
"""After so long an unknown key may be new; sooner, each forged token would cost a request."""

_responses: "ExpiringCache[str, tuple[float, Response]]" = ExpiringCache(lifetime_seconds=3600)


def verify(token: str) -> str:
    """The service account of Cloud Scheduler's jobs, if the token is its.

    Raises:
        UnauthenticatedError: it is not; one text whatever is wrong with it.
        SettingsError: the function does not take such tokens.
        Retryable: the certificates cannot be read now.
    """
    expected = settings().require("SCHEDULER_SERVICE_ACCOUNT")
    claims = _claims(token)
    genuine = (
        claims.get("iss") in _ISSUERS
        and claims.get("email") == expected
        and claims.get("email_verified") is True
    )
    if not genuine:
        raise _not_valid()
    return expected


def _claims(token: str) -> Mapping[str, Any]:
    """What a token says whose signature, audience and times are right."""
    from google.auth import exceptions, jwt
    from google.oauth2 import id_token

    here = settings()
    try:
        header = jwt.decode_header(token)  # type: ignore[no-untyped-call]
        if header.get("alg") != "RS256":
            raise _not_valid()
        _look_again_for(str(header.get("kid")))
        claims: Mapping[str, Any] = id_token.verify_token(
            token,
            _certificates,  # type: ignore[arg-type]  # called like one
            audience=here.require("SCHEDULER_AUDIENCE"),
            certs_url=here.OIDC_CERTS_URL,
            clock_skew_in_seconds=_CLOCK_SKEW_SECONDS,
        )
    except exceptions.TransportError as error:
        _responses.forget(here.OIDC_CERTS_URL)
        raise Retryable("the certificates of OIDC tokens cannot be read") from error
    except (exceptions.GoogleAuthError, ValueError) as error:
        raise _not_valid() from error
    return claims


def _not_valid() -> UnauthenticatedError:
    return UnauthenticatedError(
        "Invalid token. Send Cloud Scheduler's OIDC token in Authorization, or X-Admin-Key."
    )


def _look_again_for(key_id: str) -> None:
    """Forget the certificates if they are not new and lack this key: keys are rotated."""
    url = settings().OIDC_CERTS_URL
    fetched_at, response = _responses.get(url, lambda: _fetch(url))
    is_old = time.monotonic() - fetched_at > _LOOK_AGAIN_SECONDS
    if is_old and f'"{key_id}"'.encode() not in response.data:
        _responses.forget(url)


def _certificates(url: str, method: str = "GET", **_: Any) -> "Response":
    """What google-auth takes for an HTTP request; answers for an hour without making one."""
    assert method == "GET"  # noqa: S101 - google-auth only reads certificates
    return _responses.get(url, lambda: _fetch(url))[1]


def _fetch(url: str) -> "tuple[float, Response]":
    from google.auth.transport.requests import Request

    response = Request()(url, method="GET", timeout=_TIMEOUT_SECONDS)
    return time.monotonic(), response
