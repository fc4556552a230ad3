"""One run per message: admitted and started, kept waiting, or ended with a reason."""

import flask
import functions_framework

from shared.engine.delivery import Delivery, receive
from shared.settings import needs
from shared.telemetry import configure_logging

needs()
configure_logging()


def _handle(delivery: Delivery) -> None:
    from shared.schedules.dispatch import receive_request

    receive_request(delivery)


@functions_framework.http
def dispatcher(request: flask.Request) -> tuple[str, int]:
    """Take a push from the subscription to `run-requests`."""
    return receive(request.get_json(force=True, silent=True), _handle)
