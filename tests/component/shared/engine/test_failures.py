"""Failed steps: the error is recorded and told, the failure steps run, the run ends FAILED."""

from collections.abc import Callable
from typing import Any

import pytest

from shared.engine.dead_letters import bury
from shared.engine.execute import execute
from shared.engine.messages import StepMessage
from shared.errors import Retryable
from shared.templates.models import ResolvedStep, Retry
from tests.component.conftest import Cloud
from tests.component.shared.engine.logs import run_rows, status, step_rows, steps
from tests.component.shared.post import Post, deliver
from tests.runs import a_message, a_run, a_step

pytestmark = pytest.mark.usefixtures("central")


@pytest.fixture
def address(fresh: Callable[[], str]) -> str:
    """A recipient whose mails are this test's."""
    return f"{fresh()}@acme.example"


def broken(trigger: str = "on_success", **changes: Any) -> ResolvedStep:
    sql = "SELECT IF(n = 1, ERROR('the price list is missing'), n) AS n FROM UNNEST([1]) AS n"
    config = {"source": {"query": {"sql": sql}}, "destination": {"table": "numbers"}}
    step_id = changes.pop("step_id", "extract")
    return a_step(step_id, trigger, ps_type="gcp.bigquery_to_bigquery", config=config, **changes)


def mail(address: str, trigger: str = "on_success", **changes: Any) -> ResolvedStep:
    step_id = changes.pop("step_id", "notify")
    config = {"to_emails": [address], "subject": "Done", "message": "It is done."}
    return a_step(step_id, trigger, config=config, **changes)


def alert(address: str, step_id: str = "alert") -> ResolvedStep:
    config = {
        "to_emails": [address],
        "subject": {"$late": ["[ALERT] ", {"ref": "failed_step"}]},
        "message": {"$late": ["It failed: ", {"ref": "error_message"}]},
    }
    return a_step(step_id, "on_failure", config=config)


def start(tenant: str, *its_steps: ResolvedStep, position: int = 0) -> StepMessage:
    message = a_message(*its_steps, run=a_run(tenant), position=position)
    deliver(message)
    return message


def test_failed_step_ends_the_run_failed_and_its_error_arrives_by_mail(
    tenant: str, post: Post, cloud: Cloud, address: str
) -> None:
    message = start(tenant, broken(), mail(address), alert(address))

    post.deliver_all(copies=2)

    assert status(message.run) == "FAILED"
    assert steps(message.run) == [("extract", 1, "FAILED"), ("alert", 1, "COMPLETED")]
    (run_row,) = run_rows(message.run)
    error = step_rows(message.run)[0]["error"]
    assert "the price list is missing" in error
    assert (run_row["failed_step"], run_row["error"]) == ("extract", error)
    assert run_row["error_code"] == "warehouse-refused"
    (arrived,) = cloud.mails(address)
    assert arrived["subject"] == "[ALERT] extract"
    assert "the price list is missing" in arrived["text"]


def test_run_is_failed_before_its_failure_steps_have_run(tenant: str, address: str) -> None:
    message = start(tenant, broken(), alert(address))

    assert status(message.run) == "FAILED"


def test_steps_after_a_failure_do_not_run_except_those_that_always_do(
    tenant: str, post: Post, cloud: Cloud, address: str
) -> None:
    message = start(
        tenant,
        broken(),
        mail(address, step_id="only_after_success"),
        mail(address, "always", step_id="clean_up"),
        alert(address),
    )

    post.deliver_all()

    assert status(message.run) == "FAILED"
    assert [step_id for step_id, _, _ in steps(message.run)] == ["extract", "clean_up", "alert"]


def test_failing_failure_step_is_recorded_and_the_next_one_still_runs(
    tenant: str, post: Post, cloud: Cloud, address: str
) -> None:
    message = start(tenant, broken(), broken("on_failure", step_id="repair"), alert(address))

    post.deliver_all()

    assert steps(message.run) == [
        ("extract", 1, "FAILED"),
        ("repair", 1, "FAILED"),
        ("alert", 1, "COMPLETED"),
    ]
    (row,) = run_rows(message.run)
    assert row["failed_step"] == "extract"
    assert len(cloud.mails(address)) == 1


def test_configuration_that_turns_out_wrong_fails_the_step_with_the_field(
    tenant: str, post: Post
) -> None:
    message = start(tenant, a_step("notify", config={"to_emails": ["nobody"], "subject": "x"}))

    (row,) = step_rows(message.run)
    assert (row["status"], row["error_code"]) == ("FAILED", "invalid-config")
    assert row["error"].startswith("notify.to_emails.0: ")


def test_table_of_nobody_fails_the_run_by_authorization_and_nothing_is_read(
    tenant: str,
) -> None:
    config = {
        "source": {"query": {"sql": "SELECT key_hash FROM `tenants.tenant_api_keys_log`"}},
        "destination": {"table": "stolen"},
    }
    message = start(tenant, a_step("extract", ps_type="gcp.bigquery_to_bigquery", config=config))

    (row,) = step_rows(message.run)
    assert (row["status"], row["error_code"]) == ("FAILED", "foreign-table")
    assert "tenants.tenant_api_keys_log" in row["error"]
    assert row["job_id"] is None


def test_failed_attempt_is_followed_by_the_next_after_its_pause(
    tenant: str, post: Post, cloud: Cloud, address: str
) -> None:
    step = mail(address, retry=Retry(max_attempts=3, backoff_seconds=1))
    message = a_message(step, run=a_run(tenant))
    cloud.fail_mail(451)

    with pytest.raises(Retryable, match="451"):
        execute(message)
    with pytest.raises(Retryable, match="backoff"):
        execute(message)
    deliver(message)

    assert steps(message.run) == [("notify", 1, "FAILED"), ("notify", 2, "COMPLETED")]
    assert status(message.run) == "COMPLETED"
    assert len(cloud.mails(address)) == 1


def test_run_fails_when_the_attempts_are_used_up(
    tenant: str, post: Post, cloud: Cloud, address: str
) -> None:
    step = mail(address, retry=Retry(max_attempts=2, backoff_seconds=0))
    cloud.fail_mail(451, times=2)

    message = start(tenant, step)

    assert steps(message.run) == [("notify", 1, "FAILED"), ("notify", 2, "FAILED")]
    (row,) = run_rows(message.run)
    assert (row["status"], row["error_code"]) == ("FAILED", "attempt-failed")
    assert "451" in row["error"]


def test_dead_letter_ends_the_run_failed_and_still_tells(
    tenant: str, post: Post, cloud: Cloud, address: str
) -> None:
    message = a_message(mail(address, step_id="poison"), alert(address), run=a_run(tenant))

    for _ in range(2):
        deliver(message, lambda letter: bury(letter, "20"))
    post.deliver_all()

    assert steps(message.run) == [("poison", 1, "FAILED"), ("alert", 1, "COMPLETED")]
    (row,) = run_rows(message.run)
    assert (row["status"], row["error_code"]) == ("FAILED", "dead-lettered")
    assert "20 deliveries" in row["error"]
    (arrived,) = cloud.mails(address)
    assert "poison could not be processed" in arrived["text"]


def test_dead_letter_of_a_step_that_ended_goes_on_from_there(
    tenant: str, post: Post, cloud: Cloud, address: str
) -> None:
    message = start(tenant, mail(address, step_id="first"), mail(address, step_id="second"))
    post.received()  # the message for the second step is lost, as if publishing had failed

    deliver(message, lambda letter: bury(letter, "20"))
    post.deliver_all()

    assert status(message.run) == "COMPLETED"
    assert [found[0] for found in steps(message.run)] == ["first", "second"]


def test_dead_letter_of_a_run_that_is_over_changes_nothing(
    tenant: str, post: Post, cloud: Cloud, address: str
) -> None:
    message = start(tenant, broken(), mail(address), alert(address))
    post.deliver_all()
    late = message.model_copy(update={"position": 1})

    deliver(late, lambda letter: bury(letter, "20"))

    assert post.steps() == []
    assert steps(message.run) == [("extract", 1, "FAILED"), ("alert", 1, "COMPLETED")]


def test_late_message_of_a_run_that_is_over_does_nothing(
    tenant: str, post: Post, cloud: Cloud, address: str
) -> None:
    message = start(tenant, broken(), mail(address))

    deliver(message.model_copy(update={"position": 1}))

    assert cloud.mails(address) == []
    assert status(message.run) == "FAILED"
