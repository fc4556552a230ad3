"""Messages that no attempt could process: their runs end here, with a reason."""

import flask
import functions_framework

from shared.engine.delivery import Delivery, receive
from shared.settings import needs
from shared.telemetry import configure_logging

needs()
configure_logging()


def _handle(delivery: Delivery) -> None:
    from shared.engine.dead_letters import receive_dead_letter
    from shared.schedules import dispatch, requests

    receive_dead_letter(delivery, {requests.TOPIC: dispatch.bury})


@functions_framework.http
def dead_letter(request: flask.Request) -> tuple[str, int]:
    """Take a push from the dead-letter topic's subscription."""
    return receive(request.get_json(force=True, silent=True), _handle)
