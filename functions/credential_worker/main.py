"""What is done with credentials behind the API: queued ones are stored, stored ones are checked."""

import flask
import functions_framework

from shared.engine.delivery import Delivery, receive
from shared.settings import needs
from shared.telemetry import configure_logging

needs("AWS_IDENTITY_SECRET", "KMS_KEY_NAME")
configure_logging()


def _handle(delivery: Delivery) -> None:
    from shared.engine import credential_requests, credential_validation

    if credential_validation.is_one(delivery):
        credential_validation.perform(delivery)
    else:
        credential_requests.perform(delivery)


@functions_framework.http
def credential_worker(request: flask.Request) -> tuple[str, int]:
    """Take a push from the subscription to `credential-requests`."""
    return receive(request.get_json(force=True, silent=True), _handle)
