"""Work that outlasts its deliveries ends once, and nothing is used up by waiting for it."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.clients import bigquery_client
from shared.engine.execute import execute
from shared.engine.messages import StepMessage
from shared.errors import Retryable
from shared.processors.contract import RunIdentity
from shared.settings import settings
from shared.templates.models import ResolvedStep
from tests.component.conftest import Cloud
from tests.component.shared.engine.logs import run_rows, status, step_rows, steps
from tests.component.shared.post import Post, deliver
from tests.runs import a_message, a_run, a_step
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("central")
WORK_SECONDS = 3.0
EXECUTE = """
import sys
from shared.engine.execute import execute
from shared.engine.messages import StepMessage
execute(StepMessage.model_validate_json(sys.stdin.buffer.read()))
"""


@pytest.fixture(autouse=True)
def _short_deliveries(monkeypatch: pytest.MonkeyPatch, _environment: None) -> None:
    monkeypatch.setenv("STEP_TIMEOUT_SECONDS", "1")
    settings.cache_clear()


def appending(**changes: object) -> ResolvedStep:
    """Appends one row: twice done would show."""
    config = {
        "source": {"query": {"sql": "SELECT 1 AS n"}},
        "destination": {"table": "numbers", "write": "append"},
    }
    return a_step("extract", ps_type="gcp.bigquery_to_bigquery", config=config, **changes)


def job_of(run: RunIdentity) -> str:
    return f"{run.pipeline_logging_id}--extract--write--1--20251115--1"


def slow(cloud: Cloud, message: StepMessage, seconds: float = WORK_SECONDS) -> None:
    """Let the step's job take so long; nothing else waits."""
    cloud.fail("jobs.run", job=job_of(message.run), delay_seconds=seconds)


def numbers(run: RunIdentity) -> list[int]:
    found = bigquery_client().query_and_wait(f"SELECT n FROM `{run.tenant_id}.numbers`")
    return [row["n"] for row in found]


def test_job_that_outlasts_several_deliveries_ends_once_and_no_delivery_is_refused(
    tenant: str, post: Post, cloud: Cloud
) -> None:
    message = a_message(appending(), a_step("never", "on_failure"), run=a_run(tenant))
    slow(cloud, message, 2 * WORK_SECONDS)

    follow_ups = []
    waiting = [message]
    while waiting:
        (current,) = waiting
        execute(current)  # acknowledged every time: raises nothing
        waiting = post.steps()
        follow_ups += [following.follow_up for following in waiting]

    assert follow_ups == list(range(1, len(follow_ups) + 1))
    assert len(follow_ups) >= 2
    assert numbers(message.run) == [1]
    assert status(message.run) == "COMPLETED"
    assert steps(message.run) == [("extract", 1, "COMPLETED")]
    (row,) = step_rows(message.run)
    assert row["rows_processed"] == 1


def test_duplicate_follow_ups_meet_the_same_job(tenant: str, post: Post, cloud: Cloud) -> None:
    message = a_message(appending(), run=a_run(tenant))
    slow(cloud, message)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(deliver, [message] * 3))
    copies = post.steps()
    assert len(copies) == 3
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(deliver, copies))
    post.deliver_all()

    assert numbers(message.run) == [1]
    assert status(message.run) == "COMPLETED"


def test_executor_that_is_killed_while_it_waits_leaves_the_job_to_the_next_delivery(
    tenant: str, post: Post, cloud: Cloud
) -> None:
    message = a_message(appending(timeout_seconds=600), run=a_run(tenant))
    slow(cloud, message, 2 * WORK_SECONDS)
    for _ in range(2):
        _kill_once_it_waits(message)

    deliver(message)
    post.deliver_all()

    assert numbers(message.run) == [1]
    assert status(message.run) == "COMPLETED"
    assert steps(message.run) == [("extract", 1, "COMPLETED")]


def _kill_once_it_waits(message: StepMessage) -> None:
    """Execute the message in a process of its own and kill -9 it while the job runs."""
    environment = {**os.environ, "STEP_TIMEOUT_SECONDS": "60"}
    process = subprocess.Popen(
        [sys.executable, "-c", EXECUTE], stdin=subprocess.PIPE, env=environment
    )
    assert process.stdin is not None
    process.stdin.write(message.model_dump_json().encode())
    process.stdin.close()
    before = len(_calls(message))
    wait_until(
        lambda: len(_calls(message)) > before or process.poll() is not None,
        message="the executor's row in the step log",
        timeout=30,
    )
    process.send_signal(signal.SIGKILL)
    process.wait()


def _calls(message: StepMessage) -> list[object]:
    """A row for every delivery that has begun the step."""
    found = bigquery_client().query_and_wait(
        f"SELECT recorded_at FROM `{message.run.tenant_id}.x_meta_step_logs_log`"
        " WHERE status = 'RUNNING'"
    )
    return list(found)


def test_step_ends_with_its_own_time_however_many_deliveries_that_is(
    tenant: str, post: Post, cloud: Cloud
) -> None:
    message = a_message(appending(timeout_seconds=2), run=a_run(tenant))
    slow(cloud, message, 60)

    deliver(message)
    post.deliver_all()

    (run,) = run_rows(message.run)
    assert (run["status"], run["error_code"]) == ("FAILED", "step-timed-out")
    assert "timeout_seconds (2)" in run["error"]
    wait_until(lambda: bigquery_client().get_job(job_of(message.run)).state == "DONE")
    assert numbers(message.run) == []


def test_cancelled_run_gets_no_further_follow_up(tenant: str, post: Post, cloud: Cloud) -> None:
    from shared.engine import outcomes

    message = a_message(appending(), run=a_run(tenant))
    slow(cloud, message)
    execute(message)
    outcomes.record_run(message.run, "CANCELLED")

    assert post.deliver_all() == 1
    assert status(message.run) == "CANCELLED"


def test_follow_up_that_pubsub_does_not_take_is_published_by_the_next_delivery(
    tenant: str, post: Post, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = a_message(appending(), run=a_run(tenant))
    slow(cloud, message)

    def away(_: StepMessage) -> None:
        raise Retryable("Pub/Sub is away")

    with monkeypatch.context() as patch:
        patch.setattr("shared.engine.execute.publish_step", away)
        with pytest.raises(Retryable):
            execute(message)

    deliver(message)
    post.deliver_all()
    assert numbers(message.run) == [1]
    assert status(message.run) == "COMPLETED"


def test_next_step_begins_to_count_its_follow_ups_anew(
    tenant: str, post: Post, cloud: Cloud
) -> None:
    second = appending().model_copy(update={"step_id": "second"})
    message = a_message(appending(), second, run=a_run(tenant))

    deliver(message.model_copy(update={"follow_up": 3}))

    (following,) = post.steps()
    assert (following.step.step_id, following.follow_up) == ("second", 0)
