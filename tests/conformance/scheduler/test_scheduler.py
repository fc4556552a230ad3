"""Jobs as Cloud Scheduler runs them: requests, tokens, retries, pauses."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import google.auth.transport.requests
import httpx
import pytest
from google.auth.exceptions import GoogleAuthError
from google.oauth2 import id_token

from infra.topology import Retry
from tests.conformance.scheduler.conftest import Target
from tests.waiting import wait_until

EVERY_SECOND = "* * * * * *"
Start = Callable[..., httpx.Client]


def _bearer(headers: dict[str, str]) -> str:
    return headers["authorization"].removeprefix("Bearer ")


def test_request_is_google_s(scheduler: Start, target: Target) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    job = scheduler().post("/jobs/tick:run").json()
    (seen,) = target.seen
    assert (seen.method, seen.body) == ("POST", b"")
    assert seen.headers["user-agent"] == "Google-Cloud-Scheduler"
    assert seen.headers["x-cloudscheduler"] == "true"
    assert seen.headers["x-cloudscheduler-jobname"] == "tick"
    assert datetime.fromisoformat(seen.headers["x-cloudscheduler-scheduletime"]) >= before
    assert job["status"] == {"code": 0, "message": ""}
    assert job["lastAttempt"]["httpStatus"] == 200
    assert job["lastAttempt"]["body"] == '{"done":true}'


def test_token_is_verified_by_google_s_library(scheduler: Start, target: Target) -> None:
    client = scheduler()
    client.post("/jobs/tick:run")
    certs = str(client.base_url.join("/certs"))
    request = google.auth.transport.requests.Request()
    token = _bearer(target.seen[0].headers)
    claims = id_token.verify_token(token, request, audience="the-audience", certs_url=certs)
    assert claims["iss"] == "https://accounts.google.com"
    assert claims["email"] == "cloud-scheduler@convergence-local.iam.gserviceaccount.com"
    assert claims["email_verified"] is True
    assert claims["exp"] - claims["iat"] == 3600
    with pytest.raises(GoogleAuthError):
        id_token.verify_token(token, request, audience="another", certs_url=certs)


def test_token_of_another_scheduler_is_refused(scheduler: Start, target: Target) -> None:
    scheduler().post("/jobs/tick:run")
    other = str(scheduler().base_url.join("/certs"))
    with pytest.raises((GoogleAuthError, ValueError)):
        id_token.verify_token(
            _bearer(target.seen[0].headers),
            google.auth.transport.requests.Request(),
            audience="the-audience",
            certs_url=other,
        )


def test_job_runs_at_its_times_with_the_offset_of_its_zone(
    scheduler: Start, target: Target
) -> None:
    scheduler(paused=False, schedule=EVERY_SECOND, time_zone="America/New_York")
    wait_until(lambda: len(target.seen) >= 2, timeout=90, message="two occurrences")
    times = [
        datetime.fromisoformat(seen.headers["x-cloudscheduler-scheduletime"])
        for seen in target.seen
    ]
    assert times == sorted(set(times))
    assert all(time.utcoffset() and not time.microsecond for time in times)


def test_job_never_overlaps_itself(scheduler: Start, target: Target) -> None:
    scheduler(paused=False, schedule=EVERY_SECOND, path="/slow/200")
    wait_until(lambda: len(target.seen) >= 3, timeout=90, message="three executions")
    assert target.most == 1


def test_failed_attempt_is_retried_for_the_same_occurrence(
    scheduler: Start, target: Target
) -> None:
    retry = Retry(count=3, minimum_backoff_seconds=0.1)
    once_a_minute = f"* * * * * {(datetime.now(UTC) + timedelta(seconds=2)).second}"
    client = scheduler(paused=False, schedule=once_a_minute, path="/answer/500", retry=retry)
    wait_until(lambda: client.get("/jobs/tick").json()["attempts"] >= 4, timeout=75)
    times = [seen.headers["x-cloudscheduler-scheduletime"] for seen in target.seen[:4]]
    assert len(set(times)) == 1
    status = client.get("/jobs/tick").json()["status"]
    assert status == {"code": 13, "message": "the target answered 500"}


def test_without_retries_the_next_occurrence_is_next(scheduler: Start, target: Target) -> None:
    scheduler(paused=False, schedule=EVERY_SECOND, path="/answer/503")
    wait_until(lambda: len(target.seen) >= 2, timeout=90, message="two occurrences")
    times = [seen.headers["x-cloudscheduler-scheduletime"] for seen in target.seen]
    assert len(set(times)) == len(times)


def test_paused_job_runs_only_when_forced(scheduler: Start, target: Target) -> None:
    client = scheduler(paused=True, schedule=EVERY_SECOND)
    (job,) = client.get("/jobs").json()["jobs"]
    assert job["state"] == "PAUSED"
    assert "scheduleTime" not in job
    client.post("/jobs/tick:run")
    assert len(target.seen) == 1
    resumed = client.post("/jobs/tick:resume").json()
    assert resumed["state"] == "ENABLED"
    wait_until(lambda: len(target.seen) >= 2, timeout=90, message="an occurrence")
    assert client.post("/jobs/tick:pause").json()["state"] == "PAUSED"


def test_next_time_is_shown(scheduler: Start) -> None:
    client = scheduler(paused=False, time_zone="Europe/London")

    def planned() -> str:
        return str(client.get("/jobs/tick").json().get("scheduleTime", ""))

    shown = datetime.fromisoformat(wait_until(planned, message="the next time"))
    assert (shown.hour, shown.minute) == (2, 0)


@pytest.mark.parametrize(("status", "code"), [(204, 0), (401, 16), (403, 7), (404, 5), (429, 8)])
def test_status_is_a_google_code(scheduler: Start, status: int, code: int) -> None:
    job = scheduler(path=f"/answer/{status}").post("/jobs/tick:run").json()
    assert job["status"]["code"] == code


def test_redirect_is_followed(scheduler: Start, target: Target) -> None:
    job = scheduler(path="/moved").post("/jobs/tick:run").json()
    assert job["status"]["code"] == 0
    assert target.seen[0].url.endswith("/answer/200")


def test_target_that_takes_too_long_is_deadline_exceeded(scheduler: Start) -> None:
    job = scheduler(path="/slow/200", attempt_deadline_seconds=0.2).post("/jobs/tick:run").json()
    assert job["status"] == {"code": 4, "message": "no answer within 0.2 s"}


def test_target_that_is_down_is_unavailable(scheduler: Start, target: Target) -> None:
    target.url = "http://127.0.0.1:9"
    job = scheduler().post("/jobs/tick:run").json()
    assert job["status"]["code"] == 14


def test_unknown_job_and_method_are_not_found(scheduler: Start) -> None:
    client = scheduler()
    assert client.get("/jobs/tock").status_code == 404
    answer = client.post("/jobs/tock:run")
    assert (answer.status_code, "tick" in answer.json()["detail"]) == (404, True)
    assert client.post("/jobs/tick:walk").status_code == 404
