from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.engine.launch import (
    LONGEST_RUN,
    RUN_DEADLINE,
    first_message,
    run_id_for,
    time_for,
)
from shared.templates.models import ResolvedPipeline
from tests.runs import a_run, a_step


def test_same_key_of_a_tenant_names_the_same_run() -> None:
    assert run_id_for("acme", "k") == run_id_for("acme", "k")
    assert UUID(run_id_for("acme", "k"))


def test_without_a_key_every_run_is_another() -> None:
    assert run_id_for("acme", None) != run_id_for("acme", None)


@given(
    st.tuples(st.from_regex(r"\A[a-z][a-z0-9_]{2,9}\Z"), st.text(min_size=1, max_size=10)),
    st.tuples(st.from_regex(r"\A[a-z][a-z0-9_]{2,9}\Z"), st.text(min_size=1, max_size=10)),
)
def test_keys_of_two_tenants_never_name_one_run(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (run_id_for(*one) == run_id_for(*other)) == (one == other)


def test_first_message_asks_for_the_first_step_that_does_not_wait_for_a_failure() -> None:
    pipeline = ResolvedPipeline(
        provider="gcp",
        domain="cost",
        template_name="cost_billing",
        pipeline_id="acme-gcp-cost-billing",
        description="",
        sources=("p.d.t",),
        variables={},
        steps=(a_step("alert", "on_failure"), a_step("extract"), a_step("load")),
    )
    run = a_run()

    message = first_message(pipeline, run)

    assert message.step.step_id == "extract"
    assert (message.run, message.sources, message.phase) == (run, ("p.d.t",), "forward")
    assert message.deadline is not None
    left = message.deadline - datetime.now(UTC)
    assert RUN_DEADLINE * 0.9 < left <= RUN_DEADLINE


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((60, 540), RUN_DEADLINE),
        ((7200,), timedelta(hours=2, minutes=10)),
        ((7200, 3600, 540), timedelta(hours=3, minutes=19)),
        ((21_600,) * 9, LONGEST_RUN),
    ],
)
def test_run_has_the_time_of_its_steps_and_an_hour_at_least(
    seconds: tuple[int, ...], expected: timedelta
) -> None:
    steps = tuple(a_step(f"s{n}", timeout_seconds=value) for n, value in enumerate(seconds))
    pipeline = ResolvedPipeline(
        provider="gcp", domain="cost", template_name="x", pipeline_id="x", description="",
        variables={}, steps=steps,
    )  # fmt: skip

    assert time_for(pipeline) == expected
    assert time_for(pipeline) < timedelta(days=2)
