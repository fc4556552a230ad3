"""Which origins a browser may call from."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from shared.http import cors
from shared.http.routes import Route, serve
from shared.models import Model
from shared.settings import settings

HOME = "https://app.example"
ASKING = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key"}


class Said(Model):
    """An answer."""

    text: str


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    monkeypatch.setenv("CORS_ORIGINS", f'["{HOME}", "http://localhost:3000"]')
    settings.cache_clear()
    app = Flask("toy", static_folder=None)
    say = Route("POST", "/shops/{shop}", lambda shop: Said(text=shop), "Say", Said, auth="none")
    look = Route("GET", "/shops/{shop}", lambda shop: Said(text=shop), "Look", Said, auth="none")
    serve(app, (say, look))
    cors.install(app)
    return app.test_client()


@pytest.mark.parametrize("origin", [HOME, "http://localhost:3000"])
def test_preflight_of_an_allowed_origin_names_methods_and_headers(
    origin: str, browser: FlaskClient
) -> None:
    answer = browser.options("/shops/tea", headers={"Origin": origin, **ASKING})

    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert {"GET", "POST"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"X-API-Key", "Content-Type", "Idempotency-Key", "X-User-ID"} <= set(allowed)
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://elsewhere.example",
        "https://app.example.evil.example",
        "http://app.example",
        "https://APP.example",
        "null",
        "*",
        "",
    ],
)
def test_preflight_of_another_origin_is_refused_without_a_header(
    origin: str, browser: FlaskClient
) -> None:
    answer = browser.options("/shops/tea", headers={"Origin": origin, **ASKING})

    assert answer.status_code == 403
    assert answer.content_type == "application/problem+json"
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_answers_and_errors_can_be_read_from_an_allowed_origin(browser: FlaskClient) -> None:
    for answer in (
        browser.post("/shops/tea", headers={"Origin": HOME}),
        browser.post("/nowhere", headers={"Origin": HOME}),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == HOME
        assert "X-Request-ID" in answer.headers["Access-Control-Expose-Headers"]
        assert "Origin" in answer.headers["Vary"]


def test_other_origins_get_an_answer_that_no_browser_shows(browser: FlaskClient) -> None:
    answer = browser.post("/shops/tea", headers={"Origin": "https://elsewhere.example"})

    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Origin" in answer.headers["Vary"]


def test_preflight_of_an_unknown_path_is_not_found(browser: FlaskClient) -> None:
    assert browser.options("/nowhere", headers={"Origin": HOME, **ASKING}).status_code == 404


def test_options_without_a_preflight_names_the_methods(browser: FlaskClient) -> None:
    answer = browser.options("/shops/tea")

    assert answer.status_code == 200
    assert "POST" in answer.headers["Allow"]
