"""Push bodies as Google sends them (Pub/Sub documentation, "Push subscriptions")."""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from shared.engine.delivery import Delivery, MalformedMessageError, parse, receive
from shared.engine.execute import step_message
from shared.engine.messages import FailedStep
from shared.errors import InvalidInputError, Permanent, Retryable
from shared.telemetry import configure_logging, current_traceparent
from tests.runs import a_message, a_step

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def body(data: bytes = b"{}", **changes: Any) -> dict[str, Any]:
    message = {
        "data": b64encode(data).decode(),
        "attributes": {"tenant_id": "acme", "traceparent": TRACE},
        "messageId": "7",
        "message_id": "7",
        "publishTime": "2025-11-16T12:00:00Z",
        "publish_time": "2025-11-16T12:00:00Z",
    }
    return {
        "message": message | changes.pop("message", {}),
        "subscription": "projects/p/subscriptions/step-gcp",
        "deliveryAttempt": 5,
        **changes,
    }


def test_delivery_has_what_the_push_body_says() -> None:
    assert parse(body(b"payload")) == Delivery(
        data=b"payload",
        attributes={"tenant_id": "acme", "traceparent": TRACE},
        message_id="7",
        subscription="projects/p/subscriptions/step-gcp",
        attempt=5,
    )


def test_message_of_attributes_only_is_read() -> None:
    sent = {"message": {"attributes": {"a": "b"}, "messageId": "7"}}

    delivery = parse(sent)

    assert (delivery.data, delivery.attributes, delivery.attempt) == (b"", {"a": "b"}, 1)


@pytest.mark.parametrize(
    "sent",
    [
        None,
        [],
        "text",
        {},
        {"message": None},
        {"message": {"data": "not base64!"}},
        {"message": {"data": "AAA"}},
        {"message": {"data": 7}},
        {"message": {"attributes": {"a": 1}}},
        body(deliveryAttempt="many"),
    ],
)
def test_other_bodies_are_refused_and_never_acknowledged(sent: Any) -> None:
    called: list[Delivery] = []

    with pytest.raises(MalformedMessageError):
        parse(sent)
    _, status = receive(sent, called.append)

    assert status == 400
    assert not called


def _raising(error: Exception) -> Callable[[Delivery], None]:
    def handle(_: Delivery) -> None:
        raise error

    return handle


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Retryable("not now"), 503),
        (MalformedMessageError("not ours"), 400),
        (Permanent("broken"), 500),
        (InvalidInputError([]), 500),
        (KeyError("bug"), 500),
    ],
)
def test_whatever_goes_wrong_the_message_comes_again(error: Exception, status: int) -> None:
    assert receive(body(), _raising(error))[1] == status


def test_handled_message_is_acknowledged() -> None:
    assert receive(body(), lambda _: None)[1] == 204


def test_answer_never_tells_what_went_wrong() -> None:
    text, _ = receive(body(), _raising(RuntimeError("secret detail")))

    assert "secret" not in text


def test_handler_runs_in_the_trace_and_log_context_of_its_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging()
    seen: list[str | None] = []

    def handle(_: Delivery) -> None:
        seen.append(current_traceparent())
        raise RuntimeError("boom")

    receive(body(), handle)

    assert str(seen[0]).startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["tenant_id"] for line in logged} == {"acme"}
    assert {line["delivery_attempt"] for line in logged} == {5}
    assert any("RuntimeError: boom" in line.get("stack_trace", "") for line in logged)


def delivered(data: bytes) -> Delivery:
    return parse(body(data))


def test_step_message_is_read_from_its_delivery() -> None:
    message = a_message(a_step("extract"), a_step("load"), position=1)

    assert step_message(delivered(message.model_dump_json().encode())) == message


@pytest.mark.parametrize(
    "path", [(), ("run",), ("steps", 0), ("steps", 0, "retry"), ("failure",)], ids=str
)
def test_message_of_a_newer_version_is_read_with_what_is_known_of_it(
    path: tuple[str | int, ...],
) -> None:
    failure = FailedStep(position=0, step_id="extract", error="broken", error_code="failed")
    message = a_message(a_step("extract"), failure=failure)
    sent = json.loads(message.model_dump_json())
    part = sent
    for key in path:
        part = part[key]
    part["field_of_next_year"] = {"x": 1}

    assert step_message(delivered(json.dumps(sent).encode())) == message


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"run": 1}'])
def test_other_data_is_no_step_message(data: bytes) -> None:
    with pytest.raises(MalformedMessageError, match="not a step message"):
        step_message(delivered(data))


@pytest.mark.parametrize("position", [-1, 2, 10**9])
def test_position_outside_of_the_run_is_refused(position: int) -> None:
    message = a_message(a_step("extract"), a_step("load"), position=position)

    with pytest.raises(MalformedMessageError, match="outside of the run's 2 steps"):
        step_message(delivered(message.model_dump_json().encode()))


def test_message_without_steps_is_refused() -> None:
    sent = json.loads(a_message().model_dump_json()) | {"steps": []}

    with pytest.raises(MalformedMessageError):
        step_message(delivered(json.dumps(sent).encode()))
