"""One queued credential request per message: stored, or failed with a reason."""

import flask
import functions_framework

from shared.engine.credential_requests import perform
from shared.engine.delivery import receive
from shared.telemetry import configure_logging

configure_logging()


@functions_framework.http
def credential_worker(request: flask.Request) -> tuple[str, int]:
    """Take a push from the subscription to `credential-requests`."""
    return receive(request.get_json(force=True, silent=True), perform)
