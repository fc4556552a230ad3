"""How many requests in a time: per tenant on runs, per caller on every endpoint, and over all.

Windows move: of any sixty seconds none holds more than a minute's share. Counts are kept in the
process, or in Redis where `RATE_LIMIT_STORAGE` names one; in the process, every instance of the
function counts for itself.

While Redis does not answer, requests are not refused: each process counts by itself for half a
minute, logs that it does, and then asks Redis again. The limits guard the service's manners; what a
tenant may run is guarded by its quota, which does not depend on Redis.
"""

import logging
import math
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from flask import g

from shared.errors import TooManyRequestsError
from shared.settings import settings
from shared.telemetry import log
from shared.variable_readers import Rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from limits import RateLimitItem, WindowStats
    from limits.strategies import MovingWindowRateLimiter

_ASK_AGAIN_SECONDS = 30.0
_REDIS_TIMEOUT_SECONDS = 0.25

AnswerT = TypeVar("AnswerT")


class RateLimitedError(TooManyRequestsError):
    """Too many requests in too short a time."""

    code = "rate-limited"

    def __init__(self, what: str, *, retry_after_seconds: float) -> None:
        super().__init__(
            f"Too many requests: {what}. Try again in {retry_after_seconds:.0f} seconds.",
            retry_after_seconds=retry_after_seconds,
        )


@dataclass(frozen=True)
class _Layer:
    rule: str
    """What may be done how often, for the sentence of a refusal."""
    rate: Rate
    keys: tuple[str, ...]


def spend(endpoint: str, caller: str, *, runs_of: str | None = None) -> None:
    """Count a request, and note the headers that its answer must carry.

    Args:
        endpoint: method and path of the route.
        caller: whose share of the endpoint it is: a tenant, or the operator.
        runs_of: the tenant for which the request starts a run.

    Raises:
        RateLimitedError: a share is used up; the request does not count against wider ones.
    """
    layers = _layers(endpoint, caller, runs_of)
    for layer in layers:
        if not _counts().hit(_item(layer.rate), layer.keys):
            wait = _describe(layer)
            raise RateLimitedError(layer.rule, retry_after_seconds=wait)
    if layers:
        _describe(layers[0])


def headers() -> dict[str, str]:
    """`RateLimit-*` of the request's narrowest share, or of the one that is used up."""
    noted: dict[str, str] = g.get("rate_limit_headers", {})
    return noted


def _layers(endpoint: str, caller: str, runs_of: str | None) -> list[_Layer]:
    """Narrow ones first."""
    here = settings()
    found = []
    if here.RATE_LIMIT_RUNS and runs_of is not None:
        rule = f"one tenant may start {here.RATE_LIMIT_RUNS.of('run')}"
        found.append(_Layer(rule, here.RATE_LIMIT_RUNS, ("runs", runs_of)))
    if here.RATE_LIMIT_ENDPOINT:
        rule = f"one caller may send {here.RATE_LIMIT_ENDPOINT.of('request')} to one path"
        found.append(_Layer(rule, here.RATE_LIMIT_ENDPOINT, ("endpoint", caller, endpoint)))
    if here.RATE_LIMIT_GLOBAL:
        rule = f"the service takes {here.RATE_LIMIT_GLOBAL.of('request')}"
        found.append(_Layer(rule, here.RATE_LIMIT_GLOBAL, ("global",)))
    return found


def _describe(layer: _Layer) -> float:
    """Note the layer's headers; seconds until it has room again."""
    reset, remaining = _counts().stats(_item(layer.rate), layer.keys)
    wait = max(1, math.ceil(reset - time.time()))
    g.rate_limit_headers = {
        "RateLimit-Limit": str(layer.rate.requests),
        "RateLimit-Remaining": str(max(0, remaining)),
        "RateLimit-Reset": str(wait),
    }
    return float(wait)


@cache
def _item(rate: Rate) -> "RateLimitItem":
    from limits import RateLimitItemPerSecond

    return RateLimitItemPerSecond(rate.requests, rate.seconds)


@cache
def _counts() -> "_Counts":
    return _Counts(settings().RATE_LIMIT_STORAGE)


class _Counts:
    """Counts in the storage of a URL; in this process while that one does not answer."""

    def __init__(self, url: str) -> None:
        self._here = _limiter("memory://")
        self._elsewhere = None if url == "memory://" else _limiter(url)
        self._ask_again_at = 0.0

    def hit(self, item: "RateLimitItem", keys: tuple[str, ...]) -> bool:
        """Count one; False when there is no room for it."""
        return self._ask(lambda limiter: limiter.hit(item, *keys))

    def stats(self, item: "RateLimitItem", keys: tuple[str, ...]) -> "WindowStats":
        """When there is room again (Unix time), and how much there is."""
        return self._ask(lambda limiter: limiter.get_window_stats(item, *keys))

    def _ask(self, question: "Callable[[MovingWindowRateLimiter], AnswerT]") -> AnswerT:
        from limits.errors import StorageError

        if self._elsewhere is not None and time.monotonic() >= self._ask_again_at:
            try:
                return question(self._elsewhere)
            except StorageError as error:
                self._ask_again_at = time.monotonic() + _ASK_AGAIN_SECONDS
                log(
                    logging.ERROR,
                    "rate limits are counted per process: their storage does not answer",
                    error=str(error),
                    seconds=_ASK_AGAIN_SECONDS,
                )
        return question(self._here)


def _limiter(url: str) -> "MovingWindowRateLimiter":
    from limits.storage import storage_from_string
    from limits.strategies import MovingWindowRateLimiter

    options: dict[str, Any] = {}
    if url != "memory://":
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        options = {
            "socket_timeout": _REDIS_TIMEOUT_SECONDS,
            "socket_connect_timeout": _REDIS_TIMEOUT_SECONDS,
            "retry": Retry(NoBackoff(), 1),
        }
    return MovingWindowRateLimiter(storage_from_string(url, wrap_exceptions=True, **options))
