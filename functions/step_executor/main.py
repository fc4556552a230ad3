"""One step of a run per message. The same source is deployed once per processor family."""

import flask
import functions_framework

from shared.engine.delivery import Delivery, receive
from shared.telemetry import configure_logging

configure_logging()


def _handle(delivery: Delivery) -> None:
    from shared.engine.execute import execute, step_message

    execute(step_message(delivery))


@functions_framework.http
def step_executor(request: flask.Request) -> tuple[str, int]:
    """Take a push from a `step-<family>` subscription."""
    return receive(request.get_json(force=True, silent=True), _handle)
