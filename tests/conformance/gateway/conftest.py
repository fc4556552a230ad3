"""A gateway before two small HTTP servers that stand for functions."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from infra.local.gateway.server import start
from infra.local.processes import reserve_port
from infra.local.service import UvicornService


async def echo(request: Request) -> Response:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    answer = JSONResponse(
        {
            "method": request.method,
            "raw_path": request.scope["raw_path"].decode(),
            "query": request.url.query,
            "headers": [[k.decode(), v.decode()] for k, v in request.headers.raw],
            "body_bytes": size,
        },
        status_code=int(request.query_params.get("status", 200)),
        headers={"X-Answered-By": "echo"},
    )
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2")
    return answer


async def wait(request: Request) -> Response:
    await asyncio.sleep(float(request.query_params["seconds"]))
    return Response("late")


async def stream(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(int(request.query_params["chunks"])):
            yield str(number).encode() * 1000
            await asyncio.sleep(float(request.query_params.get("pause", 0)))

    return StreamingResponse(chunks())


async def unread(_request: Request) -> Response:
    return Response("not read", status_code=403)


def function_server() -> UvicornService:
    every = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
    routes = [
        Route("/echo/wait", wait),
        Route("/echo/stream", stream),
        Route("/echo/unread", unread, methods=every),
        Route("/echo/{rest:path}", echo, methods=every),
    ]
    return UvicornService(Starlette(routes=routes), host="127.0.0.1", port=0)


@dataclass
class Served:
    url: str


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    upstream = function_server()
    # Bound without listening: nobody else gets the port, and connections are refused.
    silent = reserve_port("127.0.0.1", 0)
    down = silent.getsockname()[1]
    routes: list[dict[str, Any]] = [
        {"path": "/echo/**", "function": "echo"},
        {"path": "/down", "function": "down"},
        {"path": "/read", "methods": ["GET"], "function": "echo"},
    ]
    gateway = start(
        host="127.0.0.1",
        port=0,
        state=None,
        routes=routes,
        upstreams={
            "echo": f"http://127.0.0.1:{upstream.port}",
            "down": f"http://127.0.0.1:{down}",
        },
        timeouts={"echo": 1.5, "down": 30},
    )
    yield Served(f"http://127.0.0.1:{gateway.port}")
    gateway.stop()
    upstream.stop()
    silent.close()


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=10) as client:
        yield client
