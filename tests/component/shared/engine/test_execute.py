"""A step message may come twice, at once or late; what it leaves behind is the same."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.clients import bigquery_client
from shared.engine.execute import execute
from shared.engine.launch import launch
from shared.engine.messages import StepMessage
from shared.processors.contract import RunIdentity
from shared.templates.models import ResolvedPipeline, ResolvedStep
from shared.tenancy import quota, tenants
from shared.warehouse.failures import WarehouseError
from tests.component.conftest import Cloud
from tests.component.shared.engine.logs import run_rows, status, step_rows, steps
from tests.component.shared.post import Post, deliver
from tests.runs import a_message, a_run, a_step

pytestmark = pytest.mark.usefixtures("central")


@pytest.fixture
def address(fresh: Callable[[], str]) -> str:
    """A recipient whose mails are this test's."""
    return f"{fresh()}@acme.example"


def extract(sql: str = "SELECT n FROM UNNEST([1, 2, 3]) AS n", **changes: Any) -> ResolvedStep:
    """Writes the result of a query to the tenant's table `numbers`, by appending."""
    config = {
        "source": {"query": {"sql": sql}},
        "destination": {"table": "numbers", "write": "append"},
    }
    return a_step("extract", ps_type="gcp.bigquery_to_bigquery", config=config, **changes)


def mail(address: str, trigger: str = "on_success", **changes: Any) -> ResolvedStep:
    step_id = changes.pop("step_id", "notify")
    config = {"to_emails": [address], "subject": "Done", "message": "It is done."}
    return a_step(step_id, trigger, config=config | changes.pop("config", {}), **changes)


def numbers(run: RunIdentity) -> list[int]:
    found = bigquery_client().query_and_wait(f"SELECT n FROM `{run.tenant_id}.numbers` ORDER BY n")
    return [row["n"] for row in found]


def launched(tenant: str, *its_steps: ResolvedStep) -> RunIdentity:
    tenants.subscribe(tenant, "SCALE", recorded_by="test")
    run = a_run(tenant)
    pipeline = ResolvedPipeline(
        provider="gcp", domain="cost", template_name="cost_billing", description="",
        pipeline_id=run.pipeline_id, variables={}, steps=its_steps,
    )  # fmt: skip
    launch(pipeline, run)
    return run


def test_run_goes_through_its_steps_and_ends_completed(
    tenant: str, post: Post, cloud: Cloud, address: str
) -> None:
    run = launched(tenant, extract(), mail(address), mail(address, "on_failure", step_id="alert"))
    assert status(run) == "PENDING"

    assert post.deliver_all() == 2

    assert status(run) == "COMPLETED"
    assert steps(run) == [("extract", 1, "COMPLETED"), ("notify", 1, "COMPLETED")]
    assert numbers(run) == [1, 2, 3]
    assert len(cloud.mails(address)) == 1
    (row,) = run_rows(run)
    assert (row["rows_processed"], row["steps_total"], row["error"]) == (3, 3, None)
    assert row["start_time"] <= row["end_time"]
    assert row["duration_ms"] >= 0


def test_ten_deliveries_one_after_another_leave_what_one_leaves(
    tenant: str, post: Post, cloud: Cloud, address: str
) -> None:
    run = launched(tenant, extract(), mail(address))

    post.deliver_all(copies=10)

    assert status(run) == "COMPLETED"
    assert steps(run) == [("extract", 1, "COMPLETED"), ("notify", 1, "COMPLETED")]
    assert numbers(run) == [1, 2, 3]
    assert len(cloud.mails(address)) == 1


@pytest.mark.parametrize("which", ["extract", "notify"])
def test_ten_deliveries_at_once_leave_what_one_leaves(
    which: str, tenant: str, post: Post, cloud: Cloud, address: str
) -> None:
    step = extract() if which == "extract" else mail(address)
    message = a_message(step, run=a_run(tenant))

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(deliver, [message] * 10))

    assert status(message.run) == "COMPLETED"
    assert steps(message.run) == [(which, 1, "COMPLETED")]
    if which == "extract":
        assert numbers(message.run) == [1, 2, 3]
    else:
        assert len(cloud.mails(address)) == 1


def test_delivery_after_the_end_changes_nothing(tenant: str, post: Post) -> None:
    message = a_message(extract(), run=a_run(tenant))
    deliver(message)
    before = run_rows(message.run)

    deliver(message)

    after = run_rows(message.run)
    assert [(row["status"], row["end_time"]) for row in after] == [
        (row["status"], row["end_time"]) for row in before
    ]


def test_later_steps_see_what_earlier_ones_gave(tenant: str, post: Post) -> None:
    run = launched(tenant, extract(), extract_more())

    post.deliver_all()

    assert status(run) == "COMPLETED"
    assert numbers(run) == [1, 2, 3, 3]


def extract_more() -> ResolvedStep:
    late = {"$late": [{"ref": "steps.extract.rows_processed"}]}
    parameter = {"name": "rows", "type": "INT64", "value": late}
    query = {"sql": "SELECT @rows AS n", "parameters": [parameter]}
    return extract().model_copy(
        update={
            "step_id": "more",
            "config": {
                "source": {"query": query},
                "destination": {"table": "numbers", "write": "append"},
            },
        }
    )


def test_step_whose_condition_is_false_is_skipped_with_the_reason(
    tenant: str, post: Post, cloud: Cloud, address: str
) -> None:
    condition = {"text": "{steps.extract.rows_processed} > 100", "values": {}}
    unwanted = ResolvedStep.model_validate({**mail(address).model_dump(), "when": condition})
    run = launched(tenant, extract(), unwanted)

    post.deliver_all()

    assert status(run) == "COMPLETED"
    assert steps(run) == [("extract", 1, "COMPLETED"), ("notify", 1, "SKIPPED")]
    assert step_rows(run)[1]["error"] == (
        "condition is false: {steps.extract.rows_processed} > 100"
    )
    assert cloud.mails(address) == []


def test_executor_that_dies_between_a_runs_end_and_its_slot_gives_it_back_on_redelivery(
    tenant: str, post: Post, cloud: Cloud
) -> None:
    """Of a delivery's five calls of insertAll the fourth ends the run, the fifth the slot."""
    run = launched(tenant, extract())
    (message,) = post.steps()
    cloud.fail("tabledata.insertAll", times=4)  # lets so many pass
    cloud.fail("tabledata.insertAll", status=400, reason="invalid")
    with pytest.raises(WarehouseError):
        execute(message)
    assert status(run) == "COMPLETED"
    assert quota.read(tenant).running == 1

    execute(message)

    assert quota.read(tenant).running == 0
    assert status(run) == "COMPLETED"
    assert numbers(run) == [1, 2, 3]


def test_next_step_is_published_again_when_publishing_failed(
    tenant: str, post: Post, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = a_message(extract(), mail(address), run=a_run(tenant))
    from shared.errors import Retryable

    def away(_: StepMessage) -> None:
        raise Retryable("Pub/Sub is away")

    with monkeypatch.context() as patch:
        patch.setattr("shared.engine.execute.publish_step", away)
        with pytest.raises(Retryable):
            execute(message)
    assert post.steps() == []

    deliver(message)

    assert [following.step.step_id for following in post.steps()] == ["notify"]
    assert numbers(message.run) == [1, 2, 3]


def test_messages_carry_their_run_in_attributes_and_go_to_the_family_of_the_step(
    tenant: str, post: Post, address: str
) -> None:
    run = launched(tenant, mail(address))

    (message,) = post.received()

    assert message.attributes["tenant_id"] == tenant
    assert message.attributes["pipeline_logging_id"] == run.pipeline_logging_id
    assert message.attributes["step_id"] == "notify"
