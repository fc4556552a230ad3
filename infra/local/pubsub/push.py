"""Push delivery of one subscription: how many requests are out, and what their answers mean.

An answer of 200, 201, 202 or 204 acknowledges. Everything else is a negative acknowledgement: other
answers, a connection that is refused or closes, no answer within the acknowledgement deadline.
(Google's service takes 102 as well. To HTTP clients, httpx included, it announces a final answer,
which then decides.)
Each message is repeated by its own retry policy; there is no pause for the subscription as a
whole, so an endpoint that is back is used at once.
"""

import asyncio
import functools
import logging
import ssl
from collections.abc import Callable
from typing import Any

import httpx

from infra.local.oidc import TokenIssuer
from infra.local.pubsub.bodies import Bodies
from infra.local.pubsub.delivery import Lease
from infra.local.pubsub.envelope import push_request
from infra.local.pubsub.subscriptions import Subscription

ACKNOWLEDGING = frozenset({200, 201, 202, 204})
_IDLE_CONNECTION_SECONDS = 5.0
# The lease of a push outlives its request, whose end decides.
_LEASE_MARGIN_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Window:
    """How many pushes may be out at once: slow start as Google's, between bounds for a laptop.

    Starts at 8, grows by one with every success (so it doubles per round of answers), halves with
    every failure, stays within 4 and 64. Google's bounds are not published.
    """

    START = 8
    FLOOR = 4
    CEILING = 64

    def __init__(self) -> None:
        self.size = self.START

    def succeeded(self) -> None:
        self.size = min(self.CEILING, self.size + 1)

    def failed(self) -> None:
        self.size = max(self.FLOOR, self.size // 2)


class Pusher:
    """Sends what a subscription delivers; `settle` is told how each push ended."""

    def __init__(
        self,
        subscription: Subscription,
        *,
        bodies: Bodies,
        issuer: TokenIssuer,
        settle: Callable[[Lease, bool], None],
    ) -> None:
        self.window = Window()
        self._subscription = subscription
        self._bodies = bodies
        self._issuer = issuer
        self._settle = settle
        self._pushes: set[asyncio.Task[None]] = set()
        # One connection each: httpx searches a pool of many connections on every request, which
        # costs five times the throughput at 64 connections.
        self._lanes: list[httpx.AsyncHTTPTransport] = []

    def dispatch(self, now: float) -> None:
        """Start as many pushes as the window allows; at most one per ordering key."""
        free = self.window.size - len(self._pushes)
        if free <= 0:
            return
        seconds = self._subscription.config.ack_deadline_seconds + _LEASE_MARGIN_SECONDS
        for lease in self._subscription.backlog.lease(now, seconds=seconds, limit=free, per_key=1):
            push = asyncio.create_task(self._push(lease))
            self._pushes.add(push)
            push.add_done_callback(self._ended)

    async def close(self) -> None:
        """Break off what is out; those messages come again."""
        for push in self._pushes:
            push.cancel()
        await asyncio.gather(*self._pushes, return_exceptions=True)
        for lane in self._lanes:
            await lane.aclose()

    def _ended(self, push: asyncio.Task[None]) -> None:
        self._pushes.discard(push)
        self._subscription.work.set()

    async def _push(self, lease: Lease) -> None:
        bodies = await self._bodies.get([lease.message_id])
        body = bodies.get(lease.message_id)
        if body is None:
            return
        accepted = await self._accepted(lease, body)
        if accepted:
            self.window.succeeded()
        else:
            self.window.failed()
        self._settle(lease, accepted)

    async def _accepted(self, lease: Lease, body: bytes) -> bool:
        config = self._subscription.config
        attempt = lease.attempt if self._subscription.counts_attempts else None
        push = push_request(config, body, attempt=attempt)
        if config.push_config.HasField("oidc_token"):
            identity = config.push_config.oidc_token
            audience = identity.audience or config.push_config.push_endpoint
            token = self._issuer.token(identity.service_account_email, audience)
            push.headers["authorization"] = f"Bearer {token}"
        lane = self._lanes.pop() if self._lanes else self._new_lane()
        try:
            async with asyncio.timeout(config.ack_deadline_seconds):
                status = await _posted(lane, config.push_config.push_endpoint, push)
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            _log.info("push to %s failed: %r", config.push_config.push_endpoint, error)
            await lane.aclose()
            return False
        self._lanes.append(lane)
        return status in ACKNOWLEDGING

    def _new_lane(self) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(max_connections=1, keepalive_expiry=_IDLE_CONNECTION_SECONDS)
        return httpx.AsyncHTTPTransport(verify=_tls(), limits=limits)


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()  # takes 20 ms, so one for all connections


async def _posted(lane: httpx.AsyncHTTPTransport, endpoint: str, push: Any) -> int:
    request = httpx.Request("POST", endpoint, headers=push.headers, content=push.content)
    response = await lane.handle_async_request(request)
    try:
        async for _ in response.aiter_raw():  # the status decides; the body only frees the line
            pass
    finally:
        await response.aclose()
    return response.status_code
