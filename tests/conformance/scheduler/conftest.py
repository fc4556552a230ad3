"""A local Cloud Scheduler, and a target that keeps what it is asked and answers as told."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from infra.local.scheduler.server import Scheduler
from infra.local.service import UvicornService
from infra.topology import SchedulerJob

PROJECT = "convergence-local"


@dataclass
class Seen:
    """One request at the target."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Target:
    """`/answer/{status}`, `/slow`, `/moved`."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def answer(self, request: Request) -> Response:
        self.seen.append(
            Seen(request.method, str(request.url), dict(request.headers), await request.body())
        )
        return JSONResponse({"done": True}, status_code=request.path_params["status"])

    async def slow(self, request: Request) -> Response:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(1.3)
        finally:
            self.running -= 1
        return await self.answer(request)

    async def moved(self, _request: Request) -> Response:
        return RedirectResponse("/answer/200", status_code=307)

    def routes(self) -> list[Route]:
        every = ["GET", "POST"]
        return [
            Route("/answer/{status:int}", self.answer, methods=every),
            Route("/slow/{status:int}", self.slow, methods=every),
            Route("/moved", self.moved, methods=every),
        ]


@pytest.fixture
def target() -> Iterator[Target]:
    made = Target()
    service = UvicornService(Starlette(routes=made.routes()), host="127.0.0.1", port=0)
    made.url = f"http://127.0.0.1:{service.port}"
    yield made
    service.stop()


@pytest.fixture
def scheduler(target: Target) -> Iterator[Callable[..., httpx.Client]]:
    """Starts a scheduler with one job, called "tick"; the client of its HTTP side."""
    started: list[tuple[UvicornService, httpx.Client]] = []

    def start(*, paused: bool = True, **changes: Any) -> httpx.Client:
        known = SchedulerJob(
            description="a job",
            schedule="0 2 * * *",
            function="target",
            path="/answer/200",
            service_account="cloud-scheduler",
            audience="the-audience",
        )
        # A copy is not validated: a sixth field of the schedule stands for seconds.
        job = known.model_copy(update=changes)
        made = Scheduler({"tick": job}, target=target.url, project=PROJECT, paused=paused)
        service = UvicornService(made.application(), host="127.0.0.1", port=0)
        client = httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=60)
        started.append((service, client))
        return client

    yield start
    for service, client in started:
        client.close()
        service.stop()
