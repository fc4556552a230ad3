"""Requests a second and at once, by user and method (quotas#api_request_quotas).

Streaming is exempt. A user is a service account; the local stack names it in the endpoint's URL
(`http://step-gcp:@127.0.0.1:9050`), which HTTP clients send as basic authentication.
"""

import base64
import binascii
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.limits import MORE, RATES, Limits, Windows

_EXEMPT = frozenset({"tabledata.insertAll"})


class RequestRates:
    """Counts requests; used on the event loop alone."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._windows = Windows(1.0)
        self._running: Counter[str] = Counter()

    @contextmanager
    def admitted(self, method: str, headers: Mapping[str, str]) -> Iterator[None]:
        """Hold one of the user's concurrent requests.

        Raises:
            ApiError: 403 rateLimitExceeded or quotaExceeded.
        """
        if not self._limits.enforced or not method or method in _EXEMPT:
            yield
            return
        user = user_of(headers)
        self._refuse(user, method)
        self._running[user] += 1
        try:
            yield
        finally:
            self._running[user] -= 1

    def _refuse(self, user: str, method: str) -> None:
        if self._running[user] >= self._limits.number("concurrent_requests"):
            raise ApiError(
                "quotaExceeded",
                "Quota exceeded: Your user_method exceeded quota for concurrent api requests per"
                f" user per method. {MORE}",
            )
        own = f"requests:{method}"
        most = self._limits.number(own if own in RATES else "requests")
        if not self._windows.admit((user, method), most):
            raise ApiError(
                "rateLimitExceeded",
                "Exceeded rate limits: too many api requests per user per method for this"
                f" user_method. {MORE}",
            )


def user_of(headers: Mapping[str, str]) -> str:
    """The user name of a request; empty without one."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""
