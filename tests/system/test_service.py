"""The service's own routes."""

from tests.system.world import World


def test_health_answers_and_carries_the_callers_request_id(world: World) -> None:
    answer = world.http.get("/health", headers={"X-Request-ID": "abc-123"})
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}
    assert answer.headers["X-Request-ID"] == "abc-123"


def test_the_documentation_page_needs_no_other_host(world: World) -> None:
    page = world.http.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    for asset in ("/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"):
        assert world.http.get(asset).status_code == 200
    assert world.http.get("/docs/../main.py").status_code == 404


def test_the_openapi_document_names_every_route(world: World) -> None:
    document = world.http.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert {
        "/health",
        "/api/v1/tenants/onboard",
        "/api/v1/customers/onboard",
        "/api/v1/pipelines/run/{tenant_id}/{provider}/{domain}/{template}",
        "/api/v1/pipelines/status/{tenant_id}/{run_id}",
        "/api/v1/pipelines/runs/{run_id}",
    } <= set(document["paths"])
