"""Routes about the service itself."""

from collections.abc import Sequence
from typing import Any

from flask import Flask, Response, jsonify
from pydantic import Field

from shared.http.routes import Route
from shared.models import Model

_TITLE = "Convergence"
_DESCRIPTION = (
    "Multi-tenant cost pipelines for Google Cloud, AWS and Azure. A tenant's API key goes into"
    " `X-API-Key`; errors are `application/problem+json`."
)


class Health(Model):
    """The process answers."""

    status: str = Field(description="Always `ok`.")


def health() -> Health:
    """Liveness: no call to the cloud is made."""
    return Health(status="ok")


ROUTES = (Route("GET", "/health", health, "The process answers", Health, auth="none"),)


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The API's description of itself, as `/openapi.json` answers it."""
    from shared.http import openapi

    return openapi.document(routes, title=_TITLE, description=_DESCRIPTION)


def install_documentation(app: Flask) -> None:
    """`/docs` for people, `/openapi.json` for programs; built when first asked for."""

    @app.get("/openapi.json")
    def _document() -> Any:
        from functions.api import described

        return jsonify(document(described.ROUTES))

    @app.get("/docs")
    def _page() -> Response:
        from shared.http import openapi

        return openapi.page(_TITLE)

    @app.get("/docs/<name>")
    def _asset(name: str) -> Response:
        from shared.http import openapi

        return openapi.asset(name)
