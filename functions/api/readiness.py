"""Whether the services behind the API answer."""

from flask import Response
from pydantic import Field

from shared.http import problems
from shared.http.routes import Route
from shared.models import Model

_RETRY_AFTER_SECONDS = 5


class Ready(Model):
    """Everything that the API stands on answers."""

    status: str = Field(description="Always `ready`.", examples=["ready"])
    checks: dict[str, str] = Field(
        description="`ok` for bigquery, pubsub and kms.",
        examples=[{"bigquery": "ok", "pubsub": "ok", "kms": "ok"}],
    )


def ready() -> Ready | Response:
    """Whether BigQuery, Pub/Sub and KMS answer within two seconds; asked at most every five.

    503 names those that do not.
    """
    from shared.engine.readiness import checks

    found = checks()
    silent = {name: state for name, state in found.items() if state != "ok"}
    if not silent:
        return Ready(status="ready", checks=found)
    return problems.problem(
        503,
        f"Not ready: {', '.join(sorted(silent))}.",
        code="not-ready",
        errors=[{"pointer": name, "detail": state} for name, state in silent.items()],
        headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
    )


ROUTES = (
    Route(
        "GET",
        "/ready",
        ready,
        "The services behind answer",
        Ready,
        auth="none",
        problems=(503,),
    ),
)
