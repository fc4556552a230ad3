"""From an HTTP request to a method of the API and back: routing, bodies, errors, faults."""

import asyncio
import gzip
import json
import logging
import re
import zlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.faults import Calls, Faults
from infra.local.bigquery.request_rates import RequestRates, user_of

LOG = logging.getLogger(__name__)
PREFIX = "/bigquery/v2"
_TOKEN = re.compile(r"L([0-9a-f]{1,12})")
INTERNAL = "An internal error occurred and the request could not be completed."

_JSON = {"content-type": "application/json; charset=UTF-8"}
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


def to_json(body: Any) -> bytes:
    """The JSON text that is sent."""
    return _encode(body).encode()


@dataclass(slots=True)
class Call:
    """One call of an API method.

    Attributes:
        path: the variables of the route.
        query: the query parameters.
        headers: the request's headers, names in lower case.
        raw: the body as bytes, decompressed.
        base_url: scheme and host that the caller used, for links.
    """

    path: Mapping[str, str]
    query: QueryParams
    headers: Mapping[str, str]
    raw: bytes
    base_url: str

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object of the body; empty without one.

        Raises:
            ApiError: 400 parseError.
        """
        if not self.raw:
            return {}
        try:
            parsed = json.loads(self.raw)
        except ValueError as error:
            raise ApiError("parseError", f"Parse Error: {error}") from error
        if not isinstance(parsed, dict):
            raise ApiError("parseError", "Parse Error: the body must be a JSON object")
        return parsed

    def integer(self, name: str, default: int | None = None) -> int | None:
        """A non-negative number of the query string.

        Raises:
            ApiError: 400 invalid.
        """
        text = self.query.get(name)
        if text is None or text == "":
            return default
        try:
            value = int(text)
        except ValueError as error:
            raise ApiError.invalid(f"Invalid value for {name}: {text}", location=name) from error
        if value < 0:
            raise ApiError.invalid(f"Invalid value for {name}: {text}", location=name)
        return value

    def every(self, name: str) -> list[str]:
        """All values of a parameter that may repeat."""
        return [str(value) for value in self.query.getlist(name)]

    def flag(self, name: str) -> bool:
        """A boolean of the query string, false when absent."""
        return self.query.get(name, "").lower() == "true"


@dataclass(slots=True)
class Reply:
    """An answer with its own status or headers; methods that need none return their body."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Any]
AsyncHandler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the API.

    Attributes:
        name: as Google names it, such as "datasets.get".
        verb: the HTTP method.
        path: the route.
        handler: takes the call, returns a JSON body, a `Reply`, or None for 204.
        threaded: the handler touches the database and must leave the event loop free.
        asynchronous: the handler is a coroutine function.
    """

    name: str
    verb: str
    path: str
    handler: Handler | AsyncHandler
    threaded: bool = False
    asynchronous: bool = False


class Dispatcher:
    """Runs methods for requests and turns their outcome into responses."""

    def __init__(
        self, calls: Calls, faults: Faults, rates: RequestRates, threads: ThreadPoolExecutor
    ) -> None:
        self._calls = calls
        self._faults = faults
        self._rates = rates
        self._threads = threads

    def routes(self, methods: list[Method]) -> list[Route]:
        """Starlette routes of the methods, in the order given."""
        return [
            Route(method.path, self._endpoint(method), methods=[method.verb]) for method in methods
        ]

    def _endpoint(self, method: Method) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                outcome = await self._run(method, request)
            except ApiError as error:
                return respond(Reply(error.body(), error.status))
            except Exception:
                LOG.exception("%s failed", method.name)
                defect = ApiError.internal_error(INTERNAL)
                return respond(Reply(defect.body(), defect.status))
            return respond(outcome)

        return endpoint

    async def _run(self, method: Method, request: Request) -> Any:
        if method.name:
            self._calls.count(method.name, user_of(request.headers))
        raw = _decompressed(request.headers, await request.body())
        late = await self._meet_fault(method.name)
        call = Call(
            request.path_params,
            request.query_params,
            request.headers,
            raw,
            f"{request.scope['scheme']}://{request.headers.get('host', '')}",
        )
        with self._rates.admitted(method.name, request.headers):
            outcome = await self._handle(method, call)
        if late is not None:
            raise late
        return outcome

    async def _handle(self, method: Method, call: Call) -> Any:
        if method.asynchronous:
            return await method.handler(call)
        if method.threaded:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, method.handler, call)
        return method.handler(call)

    async def _meet_fault(self, name: str) -> ApiError | None:
        """Delay or refuse the call as asked; the error to answer once its work is done."""
        fault = self._faults.take(name)
        if fault is None:
            return None
        if fault.delay_seconds:
            await asyncio.sleep(fault.delay_seconds)
        error = fault.error()
        if error is not None and not fault.after:
            raise error
        return error


def respond(outcome: Any) -> Response:
    """The HTTP response of a method's outcome."""
    reply = outcome if isinstance(outcome, Reply) else Reply(outcome)
    if reply.body is None:
        status = reply.status if reply.status != 200 else 204
        return Response(status_code=status, headers=reply.headers)
    content = reply.body if isinstance(reply.body, bytes) else to_json(reply.body)
    return Response(content, reply.status, {**_JSON, **reply.headers})


def _decompressed(headers: Mapping[str, str], raw: bytes) -> bytes:
    if headers.get("content-encoding", "").lower() != "gzip" or not raw:
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise ApiError("parseError", f"the body is not gzip: {error}") from error


async def unknown_route(request: Request, _error: Exception) -> Response:
    """Google's JSON 404 for a path or verb that the API does not have."""
    error = ApiError("notFound", f"Not Found: {request.method} {request.url.path}")
    return respond(Reply(error.body(), error.status))


def page(
    items: list[Any], *, token: str | None, size: int | None, default: int
) -> tuple[list[Any], str | None]:
    """One page of a list that is complete in memory, and the token of the next.

    Raises:
        ApiError: 400 invalid for a token that this server did not give.
    """
    start = decode_token(token)
    length = default if size is None else min(size, default)
    chosen = items[start : start + length]
    following = start + length
    return chosen, encode_token(following) if following < len(items) and length else None


def encode_token(start: int) -> str:
    """The opaque page token of an offset."""
    return f"L{start:x}"


def decode_token(token: str | None) -> int:
    """The offset of a page token; 0 without one.

    Raises:
        ApiError: 400 invalid.
    """
    if not token:
        return 0
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise ApiError.invalid(f"Invalid page token: {token}", location="pageToken")
    return int(match.group(1), 16)
