"""The gateway: the topology's routes on one port, as the load balancer before Cloud Run."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

from infra.local.gateway.routing import RoutingTable
from infra.local.gateway.upstream import Headers, Upstream, UpstreamError
from infra.local.service import RunningService, StartupError, UvicornService
from infra.topology import Route

# Cloud Run: "Maximum HTTP/1 request size" and response size when not streamed, 32 MiB.
MAX_BODY_BYTES = 32 * 1024 * 1024
_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
# The gateway gives its own, as Google's front end does.
_NOT_RETURNED = _HOP_BY_HOP | {b"date", b"server"}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class RefusalError(Exception):
    """Ends a request with a problem document."""

    def __init__(
        self, status: int, title: str, detail: str, headers: Headers | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or []
        self.body = json.dumps(
            {"type": "about:blank", "title": title, "status": status, "detail": detail}
        ).encode()


class ClientGoneError(Exception):
    """The client closed its connection before its request ended."""


class Gateway:
    """The ASGI application."""

    def __init__(
        self, routes: Iterable[Route], upstreams: dict[str, str], timeouts: dict[str, float]
    ) -> None:
        """Forward to `upstreams` (function → URL), each request for at most its timeout."""
        self._table = RoutingTable(routes)
        self._upstreams = {name: Upstream(url) for name, url in upstreams.items()}
        self._timeouts = timeouts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        answer = _Answer(send)
        try:
            await self._forward(scope, receive, answer)
        except RefusalError as refusal:
            await answer.refuse(refusal)
        except ClientGoneError:
            pass

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for upstream in self._upstreams.values():
            upstream.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _forward(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        function = self._function(scope["method"], scope["path"])
        timeout = self._timeouts.get(function, 300.0)
        try:
            async with asyncio.timeout(timeout):
                await self._exchange(function, scope, receive, answer)
        except TimeoutError:
            raise RefusalError(
                504, "Gateway Timeout", f"function {function} did not answer within {timeout:.0f} s"
            ) from None
        except UpstreamError as error:
            raise RefusalError(
                502, "Bad Gateway", f"function {function} is down: {error}"
            ) from error

    async def _exchange(
        self, function: str, scope: Scope, receive: Receive, answer: "_Answer"
    ) -> None:
        headers, has_body = _request_headers(scope)
        target = scope["raw_path"]
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        upstream = self._upstreams[function]
        body = _body(receive) if has_body else None
        response = await upstream.send(scope["method"], target, headers, body)
        try:
            await answer.begin(response.status, response.headers, function)
            async for chunk in response.chunks():
                await answer.chunk(chunk)
            await answer.end()
        finally:
            upstream.release(response)

    def _function(self, method: str, path: str) -> str:
        match = self._table.match(method, path)
        if match is None:
            raise RefusalError(404, "Not Found", f"no route has the path {path}")
        if match.function is None:
            raise RefusalError(
                405,
                "Method Not Allowed",
                f"{path} does not take {method}; it takes: {', '.join(match.allowed)}",
                [(b"allow", ", ".join(match.allowed).encode())],
            )
        return match.function


class _Answer:
    """The response as far as it has been sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False

    async def begin(self, status: int, headers: Headers, function: str) -> None:
        length = next((value for name, value in headers if name.lower() == b"content-length"), b"0")
        if int(length) > MAX_BODY_BYTES:
            raise RefusalError(
                500, "Response Too Large", f"function {function} answered with more than 32 MiB"
            )
        kept = [(name, value) for name, value in headers if name.lower() not in _NOT_RETURNED]
        self._begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": kept})

    async def chunk(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def refuse(self, refusal: RefusalError) -> None:
        """A problem document, or a cut connection where an answer has begun."""
        if self._begun:
            raise refusal
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(refusal.body)).encode()),
            *refusal.headers,
        ]
        await self._send(
            {"type": "http.response.start", "status": refusal.status, "headers": headers}
        )
        await self._send({"type": "http.response.body", "body": refusal.body})


class GatewayService(UvicornService):
    """The server, as the first one that a client's connection meets."""

    def _serve(self) -> None:
        # The gateway writes X-Forwarded-For itself and believes nobody's.
        self._server.config.proxy_headers = False
        # Answers leave as they are written, not with the client's next acknowledgement. Accepted
        # connections inherit it; asyncio sets it only where the socket names its protocol.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super()._serve()


def _request_headers(scope: Scope) -> tuple[Headers, bool]:
    """What the function gets, and whether a body follows."""
    client = (scope["client"] or ("",))[0].encode()
    headers: Headers = []
    forwarded, has_body = client, False
    for name, value in scope["headers"]:
        if name == b"x-forwarded-for":
            forwarded = value + b", " + client
        elif name == b"transfer-encoding":
            has_body = True
        elif name == b"content-length":
            if int(value) > MAX_BODY_BYTES:
                raise _too_large()
            has_body = has_body or value != b"0"
            headers.append((name, value))
        elif name not in _HOP_BY_HOP and name != b"x-forwarded-proto":
            headers.append((name, value))
    headers += [(b"x-forwarded-for", forwarded), (b"x-forwarded-proto", scope["scheme"].encode())]
    if has_body and not any(name == b"content-length" for name, _ in headers):
        headers.append((b"transfer-encoding", b"chunked"))
    return headers, has_body


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise _too_large()
        if chunk:
            yield chunk
        if not message.get("more_body"):
            return


def _too_large() -> RefusalError:
    return RefusalError(413, "Content Too Large", "a request body is at most 32 MiB")


def start(
    *,
    host: str,
    port: int,
    state: Path | None,  # noqa: ARG001 - every service is started alike; this one keeps nothing
    routes: list[dict[str, Any]],
    upstreams: dict[str, str],
    timeouts: dict[str, float],
) -> RunningService:
    """Serve `routes` (as in the topology) until `stop`.

    Raises:
        StartupError: the port is taken, or a route's function has no upstream.
    """
    parsed = [Route.model_validate(route) for route in routes]
    for route in parsed:
        if route.function not in upstreams:
            raise StartupError(f"{route.path} goes to {route.function}, which has no upstream URL")
    return GatewayService(Gateway(parsed, upstreams, timeouts), host=host, port=port)
