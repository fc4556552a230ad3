import json

import pytest

from shared.engine.messages import FailedStep, StepMessage, failure_path, first_position
from tests.runs import a_message, a_step

TRIGGERS = {"s": "on_success", "f": "on_failure", "a": "always"}


def steps(triggers: str):  # type: ignore[no-untyped-def]
    """`"sfa"`: three steps, one of each trigger."""
    return tuple(a_step(f"step_{n}", TRIGGERS[letter]) for n, letter in enumerate(triggers))


def forward(triggers: str) -> list[int]:
    """The positions that a run without a failure goes through."""
    first = first_position(steps(triggers))
    if first is None:
        return []
    message = a_message(*steps(triggers), position=first)
    path = [message.position]
    while (following := message.next_position()) is not None:
        message = message.model_copy(update={"position": following})
        path.append(following)
    return path


def after_failure(triggers: str, failed: int) -> list[int]:
    """The positions that a run goes through once the step at `failed` has failed."""
    failure = FailedStep(
        position=failed, step_id=f"step_{failed}", error="broken", error_code="failed"
    )
    path = failure_path(steps(triggers), failed)
    if not path:
        return []
    message = a_message(*steps(triggers), position=path[0], phase="failure", failure=failure)
    walked = [message.position]
    while (following := message.next_position()) is not None:
        message = message.model_copy(update={"position": following})
        walked.append(following)
    return walked


@pytest.mark.parametrize(
    ("triggers", "path"),
    [
        ("s", [0]),
        ("sss", [0, 1, 2]),
        ("ssf", [0, 1]),
        ("fss", [1, 2]),
        ("sfs", [0, 2]),
        ("saf", [0, 1]),
        ("a", [0]),
        ("aff", [0]),
        ("f", []),
        ("ff", []),
    ],
)
def test_without_a_failure_everything_runs_but_the_failure_steps(
    triggers: str, path: list[int]
) -> None:
    assert forward(triggers) == path


@pytest.mark.parametrize(
    ("triggers", "failed", "path"),
    [
        ("s", 0, []),
        ("sss", 1, []),
        ("sf", 0, [1]),
        ("ssf", 0, [2]),
        ("ssf", 1, [2]),
        ("fs", 1, [0]),
        ("sfsf", 2, [1, 3]),
        ("sa", 0, [1]),
        ("as", 1, []),
        ("asa", 1, [2]),
        ("saf", 0, [1, 2]),
        ("sfa", 0, [1, 2]),
        ("saf", 1, [2]),
        ("aaf", 0, [1, 2]),
    ],
)
def test_after_a_failure_come_all_failure_steps_and_the_always_steps_that_are_left(
    triggers: str, failed: int, path: list[int]
) -> None:
    assert after_failure(triggers, failed) == path


def test_message_survives_its_json() -> None:
    message = a_message(
        a_step("extract", config={"source": {"query": {"sql": "SELECT 1", "parameters": []}}}),
        a_step("mail", "on_failure"),
        outputs={"extract": {"rows_processed": 3}},
        sources=("p.d.t",),
    )

    assert StepMessage.model_validate_json(message.model_dump_json()) == message


def test_message_of_an_older_version_is_read_with_defaults() -> None:
    message = a_message(a_step("extract"))
    sent = json.loads(message.model_dump_json())
    for name in set(sent) - {"run", "steps"}:
        del sent[name]

    assert StepMessage.model_validate_json(json.dumps(sent)) == message
