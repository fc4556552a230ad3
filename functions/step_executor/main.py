"""One step of a run per message. The same source is deployed once per processor family."""

import flask
import functions_framework

from shared.engine.delivery import Delivery, receive
from shared.settings import needs
from shared.telemetry import configure_logging

NEEDED = {
    "aws": ("AWS_IDENTITY_SECRET", "KMS_KEY_NAME"),
    "azure": ("KMS_KEY_NAME",),
    "customer": (),
    "gcp": (),
    "shared": ("SMTP_HOST", "SMTP_PASSWORD_SECRET"),
}
"""What each family's steps cannot do without."""

_family = needs("STEP_FAMILY").STEP_FAMILY or ""
if _family not in NEEDED:
    raise SystemExit(f"not started: STEP_FAMILY is {_family!r}: write one of {', '.join(NEEDED)}")
needs(*NEEDED[_family])
configure_logging()


def _handle(delivery: Delivery) -> None:
    from shared.engine.execute import execute, step_message

    execute(step_message(delivery))


@functions_framework.http
def step_executor(request: flask.Request) -> tuple[str, int]:
    """Take a push from a `step-<family>` subscription."""
    return receive(request.get_json(force=True, silent=True), _handle)
