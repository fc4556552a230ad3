"""One attempt of a job: the HTTP request that Cloud Scheduler sends, and what its end means."""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from infra.local.oidc import TokenIssuer

USER_AGENT = "Google-Cloud-Scheduler"
_KEPT_BODY = 16 * 1024
# google.rpc.Code of the statuses that differ from UNKNOWN (google/rpc/code.proto).
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 10, 429: 8, 499: 1, 500: 13, 501: 12, 503: 14}
_UNKNOWN, _DEADLINE_EXCEEDED, _UNAVAILABLE = 2, 4, 14


@dataclass(frozen=True)
class Target:
    """Where a job's requests go, and as whom."""

    uri: str
    method: str
    service_account_email: str
    audience: str
    deadline_seconds: float


@dataclass(frozen=True)
class Attempt:
    """A finished attempt.

    Attributes:
        scheduled: the occurrence that it is for.
        http_status: None without an answer.
        body: the beginning of the answer.
        code: google.rpc.Code; 0 is success.
        message: what went wrong, empty after success.
    """

    scheduled: datetime
    started: datetime
    seconds: float
    http_status: int | None
    body: str
    code: int
    message: str

    @property
    def succeeded(self) -> bool:
        """Whether the target answered 2xx in time."""
        return self.code == 0

    def to_json(self) -> dict[str, Any]:
        """As `GET /jobs` and `:run` show it."""
        return {
            "scheduleTime": self.scheduled.isoformat(),
            "startTime": self.started.isoformat(),
            "seconds": round(self.seconds, 3),
            "httpStatus": self.http_status,
            "body": self.body,
        }


async def attempt(
    client: httpx.AsyncClient,
    issuer: TokenIssuer,
    *,
    job: str,
    target: Target,
    scheduled: datetime,
    started: datetime,
) -> Attempt:
    """Send the request and wait for its answer, at most until the deadline."""
    token = issuer.token(target.service_account_email, target.audience)
    headers = {
        "user-agent": USER_AGENT,
        "authorization": f"Bearer {token}",
        "x-cloudscheduler": "true",
        "x-cloudscheduler-jobname": job,
        "x-cloudscheduler-scheduletime": scheduled.isoformat(),
        "content-type": "application/octet-stream",
    }
    clock = time.monotonic()
    status, body = None, ""
    try:
        async with asyncio.timeout(target.deadline_seconds):
            response = await client.request(target.method, target.uri, headers=headers)
        status, body = response.status_code, response.text[:_KEPT_BODY]
        code, message = _meaning(status)
    except TimeoutError:
        code, message = _DEADLINE_EXCEEDED, f"no answer within {target.deadline_seconds:g} s"
    except httpx.HTTPError as error:
        code, message = _UNAVAILABLE, f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - clock
    return Attempt(scheduled, started, seconds, status, body, code, message)


def _meaning(status: int) -> tuple[int, str]:
    if 200 <= status < 300:
        return 0, ""
    return _CODES.get(status, _UNKNOWN), f"the target answered {status}"
