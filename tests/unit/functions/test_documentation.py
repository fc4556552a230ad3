"""`/openapi.json` is OpenAPI 3.1 and names every route; `/docs` needs nothing from outside."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient


@pytest.fixture
def document(api: FlaskClient) -> dict[str, Any]:
    answer = api.get("/openapi.json")
    assert answer.content_type == "application/json"
    assert isinstance(answer.json, dict)
    return answer.json


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def references(part: Any) -> list[str]:
    """Every `$ref` below `part`."""
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [ref for value in part.values() for ref in references(value)]
    if isinstance(part, list):
        return [ref for value in part for ref in references(value)]
    return []


def test_document_names_every_route_of_api_and_scheduler(
    api: FlaskClient, document: dict[str, Any]
) -> None:
    from functions.scheduler import main as scheduler

    undocumented = {"/openapi.json", "/docs", "/docs/<name>"}
    served = {
        (rule.rule.replace("<", "{").replace(">", "}"), method.lower())
        for application in (api.application, scheduler.application())
        for rule in application.url_map.iter_rules()
        if rule.rule not in undocumented
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert {(path, method) for path, method, _ in operations(document)} == served
    assert served >= {
        ("/health", "get"),
        ("/api/v1/tenants/onboard", "post"),
        ("/api/v1/customers/onboard", "post"),
        ("/api/v1/pipelines/run/{tenant_id}/{provider}/{domain}/{template}", "post"),
        ("/api/v1/pipelines/status/{tenant_id}/{run_id}", "get"),
        ("/api/v1/pipelines/runs/{run_id}", "get"),
    }


def test_document_is_openapi_3_1_with_every_reference_resolved(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", document["info"]["version"])
    assert references(document)
    for reference in references(document):
        part: Any = document
        for key in reference.removeprefix("#/").split("/"):
            assert key in part, reference
            part = part[key]


def test_operations_are_named_once_and_say_what_they_do(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]

    assert len(set(names)) == len(names)
    for _, _, operation in operations(document):
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]


def test_path_parameters_are_exactly_those_of_the_path(document: dict[str, Any]) -> None:
    for path, _, operation in operations(document):
        declared = [p for p in operation["parameters"] if p["in"] == "path"]
        assert [p["name"] for p in declared] == re.findall(r"\{(\w+)\}", path)
        assert all(p["required"] and p["schema"] for p in declared)


def test_keyed_routes_ask_for_a_key_and_tell_its_refusals(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    for path, _, operation in operations(document):
        asked = [name for requirement in operation["security"] for name in requirement]
        assert set(asked) <= set(schemes)
        if path not in {"/health", "/ready"}:
            assert asked, path
            assert "401" in operation["responses"], path


def test_errors_are_problems_with_a_description(document: dict[str, Any]) -> None:
    for path, _, operation in operations(document):
        codes = set(operation["responses"])
        assert len([code for code in codes if code.startswith("2")]) == 1, path
        for code, response in operation["responses"].items():
            assert response["description"]
            kind = "application/json" if code.startswith("2") else "application/problem+json"
            assert list(response["content"]) == [kind]
        if "requestBody" in operation:
            assert codes >= {"413", "415", "422"}


def test_starting_a_run_documents_its_idempotency_key(document: dict[str, Any]) -> None:
    path = "/api/v1/pipelines/run/{tenant_id}/{provider}/{domain}/{template}"
    operation = document["paths"][path]["post"]

    assert "Idempotency-Key" in {p["name"] for p in operation["parameters"]}


def test_page_for_people_loads_nothing_from_elsewhere(api: FlaskClient) -> None:
    page = api.get("/docs")

    assert page.content_type == "text/html; charset=utf-8"
    assert "http" not in page.text.replace("http-equiv", "")
    for name in re.findall(r'(?:href|src)="(/docs/[^"]+)"', page.text):
        asset = api.get(name, buffered=True)
        assert asset.status_code == 200, name
        assert len(asset.data) > 10_000


@pytest.mark.parametrize("name", ["secrets.txt", "..%2f..%2fmain.py", "swagger-ui.css.map"])
def test_no_other_file_is_served(name: str, api: FlaskClient) -> None:
    answer = api.get(f"/docs/{name}")

    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"
