"""The API's description: complete, its examples true, its written form current."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from functions.api import reference, service
from functions.api.described import ROUTES
from shared.http.examples import Examples
from shared.http.openapi import document as build
from shared.http.routes import Route
from shared.settings import settings

STATE_CHANGING = [r for r in ROUTES if r.method != "GET" and "/explain/" not in r.path]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Models that look at the plans need to know where these are."""
    monkeypatch.setenv("GCP_PROJECT_ID", "convergence-contract")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return service.document(ROUTES)


def operation(document: dict[str, Any], route: Route) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][route.path][route.method.lower()]
    return found


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", STATE_CHANGING, ids=name)
def test_whatever_changes_state_is_audited(route: Route) -> None:
    assert route.action
    assert re.fullmatch(r"[a-z_]+\.[a-z_]+", route.action)


@pytest.mark.parametrize("route", [r for r in ROUTES if r.body], ids=name)
def test_every_body_has_an_example_that_its_model_takes(
    route: Route, document: dict[str, Any]
) -> None:
    assert route.body
    content = operation(document, route)["requestBody"]["content"]["application/json"]

    route.body.model_validate(content["example"])


@pytest.mark.parametrize("route", ROUTES, ids=name)
def test_every_answer_has_an_example_of_its_model(route: Route, document: dict[str, Any]) -> None:
    answer = operation(document, route)["responses"][str(route.status)]

    route.answer.model_validate(answer["content"]["application/json"]["example"])


@pytest.mark.parametrize("route", ROUTES, ids=name)
def test_every_answer_tells_its_headers(route: Route, document: dict[str, Any]) -> None:
    for status, answer in operation(document, route)["responses"].items():
        headers = answer["headers"]
        assert "X-Request-ID" in headers
        assert ("Retry-After" in headers) == (status in {"409", "429", "503"})
        if route.auth != "none":
            assert {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"} <= set(headers)


@pytest.mark.parametrize("route", [r for r in ROUTES if r.query], ids=name)
def test_every_query_parameter_is_described(route: Route, document: dict[str, Any]) -> None:
    assert route.query
    wanted = {field.alias or key for key, field in route.query.model_fields.items()}
    shown = {p["name"]: p for p in operation(document, route)["parameters"] if p["in"] == "query"}

    assert set(shown) == wanted
    assert all(parameter["description"] for parameter in shown.values())


@pytest.mark.parametrize("route", ROUTES, ids=name)
def test_every_path_parameter_is_described(route: Route, document: dict[str, Any]) -> None:
    for parameter in operation(document, route)["parameters"]:
        assert parameter["description"], parameter["name"]


def test_written_reference_is_current(document: dict[str, Any]) -> None:
    assert reference.TARGET.read_text("utf-8") == reference.markdown(document), (
        "run: python -m functions.api.reference"
    )


def test_written_reference_has_a_heading_for_every_route(document: dict[str, Any]) -> None:
    text = reference.markdown(document)

    for route in ROUTES:
        assert f"### {name(route)}\n" in text


def test_examples_prefer_what_an_author_wrote() -> None:
    schema = {
        "type": "object",
        "required": ["tenant_id"],
        "properties": {
            "tenant_id": {"type": "string"},
            "note": {"type": "string", "examples": ["mine"]},
            "other": {"type": "string"},
        },
    }

    assert Examples({}).body(schema) == {"tenant_id": "acme_corp", "note": "mine"}
    assert Examples({}).answer(schema) == {
        "tenant_id": "acme_corp",
        "note": "mine",
        "other": "other",
    }


def test_description_of_no_routes_is_a_document_too() -> None:
    assert build((), title="t", description="d")["paths"] == {}
