"""Azure Resource Manager's Cost Management; `AZURE_MANAGEMENT_URL` is this server's own URL.

Whoever shows a bearer token may do everything: tokens are the identity service's. Everything is in
memory.
"""

from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Route

from infra.local.azure.costs import Costs
from infra.local.service import RunningService, UvicornService

_QUERY = "/{scope:path}/providers/Microsoft.CostManagement/query"


def application() -> Starlette:
    """The service."""
    costs = Costs()
    return Starlette(
        routes=[
            Route("/_local/costs", costs.tell, methods=["POST"]),
            Route(_QUERY, costs.query, methods=["POST"]),
        ]
    )


def start(*, host: str, port: int, state: Path | None) -> RunningService:
    """Serve until `stop`; nothing is kept in `state`.

    Raises:
        StartupError: the port is taken.
    """
    del state
    return UvicornService(application(), host=host, port=port)
