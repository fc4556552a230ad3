"""The local Cloud Scheduler: the topology's jobs against the gateway, and HTTP to look at them.

`GET /jobs`, `GET /jobs/{name}`, `POST /jobs/{name}:run` (answers once the attempt has ended),
`POST /jobs/{name}:pause`, `POST /jobs/{name}:resume`. `GET /certs` answers as
https://www.googleapis.com/oauth2/v1/certs does, with the certificate of the jobs' OIDC tokens.

Nothing is kept: as with a new job, an occurrence before the start does not run.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.local.oidc import TokenIssuer
from infra.local.scheduler.attempts import Attempt, Target, attempt
from infra.local.scheduler.jobs import Job
from infra.local.scheduler.timing import Schedule, utc_now
from infra.local.service import RunningService, UvicornService
from infra.topology import SchedulerJob, Topology


class Scheduler:
    """The jobs and their HTTP side."""

    def __init__(
        self,
        specifications: dict[str, SchedulerJob],
        *,
        target: str,
        project: str,
        paused: bool,
    ) -> None:
        self._specifications = specifications
        self._target = target.rstrip("/")
        self._project = project
        self._paused = paused
        self._issuer = TokenIssuer()
        self._jobs: dict[str, Job] = {}

    def application(self) -> Starlette:
        """The HTTP side; serving it runs the jobs."""
        return Starlette(routes=self.routes(), lifespan=self.lifespan)

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Jobs run from the start of the server to its end."""
        await asyncio.to_thread(lambda: self._issuer.certificates)
        async with httpx.AsyncClient(follow_redirects=True, timeout=None) as client:  # noqa: S113 - a job has a deadline
            self._jobs = {
                name: self._job(name, job, client) for name, job in self._specifications.items()
            }
            running = [asyncio.create_task(job.keep_running()) for job in self._jobs.values()]
            yield
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def routes(self) -> list[Route]:
        return [
            Route("/certs", self.certificates),
            Route("/jobs", self.list_jobs),
            Route("/jobs/{name}", self.get),
            Route("/jobs/{name}:{verb}", self.act, methods=["POST"]),
        ]

    async def certificates(self, _request: Request) -> Response:
        return JSONResponse(self._issuer.certificates, headers={"cache-control": "max-age=3600"})

    async def list_jobs(self, _request: Request) -> Response:
        return JSONResponse({"jobs": [job.to_json() for job in self._jobs.values()]})

    async def get(self, request: Request) -> Response:
        job = self._jobs.get(request.path_params["name"])
        return JSONResponse(job.to_json()) if job else self._unknown(request)

    async def act(self, request: Request) -> Response:
        job = self._jobs.get(request.path_params["name"])
        if job is None:
            return self._unknown(request)
        verb = request.path_params["verb"]
        if verb == "run":
            await job.run()
        elif verb == "pause":
            job.pause()
        elif verb == "resume":
            job.resume()
        else:
            detail = f"a job has no method {verb}: use run, pause or resume"
            return JSONResponse({"detail": detail}, status_code=404)
        return JSONResponse(job.to_json())

    def _unknown(self, request: Request) -> Response:
        known = ", ".join(sorted(self._jobs)) or "none"
        detail = f"there is no job {request.path_params['name']}; there are: {known}"
        return JSONResponse({"detail": detail}, status_code=404)

    def _job(self, name: str, job: SchedulerJob, client: httpx.AsyncClient) -> Job:
        async def send(sender: Job, occurrence: datetime) -> Attempt:
            return await attempt(
                client,
                self._issuer,
                job=sender.name,
                target=sender.target,
                scheduled=occurrence,
                started=utc_now(),
            )

        return Job(
            name,
            description=job.description,
            schedule=Schedule(job.schedule, job.time_zone),
            retry=job.retry,
            target=Target(
                uri=f"{self._target}{job.path}",
                method=job.method,
                service_account_email=Topology.email(job.service_account, self._project),
                audience=job.audience,
                deadline_seconds=job.attempt_deadline_seconds,
            ),
            paused=self._paused,
            send=send,
        )


def start(
    *,
    host: str,
    port: int,
    state: Path | None,  # noqa: ARG001 - every service is started alike; this one keeps nothing
    jobs: dict[str, dict[str, Any]],
    target: str,
    project: str,
    paused: bool = False,
) -> RunningService:
    """Run `jobs` (as in the topology) against the URL `target` until `stop`.

    Raises:
        StartupError: the port is taken.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)
    specifications = {name: SchedulerJob.model_validate(job) for name, job in jobs.items()}
    scheduler = Scheduler(specifications, target=target, project=project, paused=paused)
    return UvicornService(scheduler.application(), host=host, port=port)
