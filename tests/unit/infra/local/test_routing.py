import pytest

from infra.local.gateway.routing import RoutingTable
from infra.topology import Route


def table(*routes: str) -> RoutingTable:
    """Routes as `METHODS path function`, `-` for every method."""
    parsed = []
    for route in routes:
        methods, path, function = route.split()
        parsed.append(
            Route.model_validate(
                {
                    "path": path,
                    "methods": [] if methods == "-" else methods.split(","),
                    "function": function,
                }
            )
        )
    return RoutingTable(parsed)


def answering(routes: RoutingTable, method: str, path: str) -> str | None:
    match = routes.match(method, path)
    return match.function if match else None


@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("/api/v1/runs", "api"),
        ("/api/v1", "api"),
        ("/api/v1/scheduler", "scheduler"),
        ("/api/v1/scheduler/trigger", "scheduler"),
        ("/api/v1/schedulers", "api"),
        ("/api/v1/tenants/acme/credentials/queue", "credentials"),
        ("/api/v1/tenants/acme/credentials", "api"),
        ("/api/v1/tenants/a/b/credentials/queue", "api"),
        ("/health", "api"),
        ("/health/", None),
        ("/api/v10", None),
        ("/", None),
    ],
)
def test_the_most_specific_route_answers(path: str, function: str | None) -> None:
    routes = table(
        "- /api/v1/** api",
        "- /api/v1/scheduler/** scheduler",
        "- /api/v1/tenants/*/credentials/queue credentials",
        "GET /health api",
    )
    assert answering(routes, "GET", path) == function


def test_order_in_the_file_does_not_matter() -> None:
    routes = ["- /** rest", "- /a/** deep", "- /a/*/c one", "- /a/b/c literal", "- /a/b exact"]
    for arrangement in (routes, routes[::-1]):
        known = table(*arrangement)
        found = [answering(known, "GET", p) for p in ("/x", "/a/q", "/a/q/c", "/a/b/c", "/a/b")]
        assert found == ["rest", "deep", "one", "literal", "exact"]


def test_a_method_picks_among_routes_of_one_path() -> None:
    routes = table("GET /runs reader", "POST,PUT /runs writer", "- /other any")
    assert answering(routes, "GET", "/runs") == "reader"
    assert answering(routes, "PUT", "/runs") == "writer"
    assert answering(routes, "DELETE", "/other") == "any"


def test_a_method_that_no_route_takes_is_told_the_others() -> None:
    routes = table("GET /runs reader", "POST /runs writer")
    match = routes.match("DELETE", "/runs")
    assert match is not None
    assert match.function is None
    assert match.allowed == ["GET", "POST"]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_head_and_preflight_go_where_the_path_goes(method: str) -> None:
    assert answering(table("GET /runs reader"), method, "/runs") == "reader"


def test_dots_and_breaks_match_themselves_only() -> None:
    routes = table("GET /openapi.json api", "- /a/** deep")
    assert answering(routes, "GET", "/openapiXjson") is None
    assert answering(routes, "GET", "/a/\n") == "deep"
