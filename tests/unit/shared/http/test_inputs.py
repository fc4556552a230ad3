"""Query parameters, days and moments as requests write them."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import Field

from shared.http.inputs import Day, Moment
from shared.http.routes import Route, serve
from shared.models import Model


class Wanted(Model):
    """Query parameters."""

    limit: int = Field(default=50, ge=1, le=200)
    first_day: Day | None = Field(default=None, alias="from")
    until: Moment | None = None


class Found(Model):
    """An answer."""

    wanted: Wanted


@pytest.fixture
def client() -> FlaskClient:
    app = Flask("toy", static_folder=None)
    route = Route(
        "GET", "/found", lambda query: Found(wanted=query), "Find", Found, query=Wanted, auth="none"
    )
    serve(app, (route,))
    return app.test_client()


def test_parameters_are_read_by_their_names(client: FlaskClient) -> None:
    answer = client.get("/found?limit=7&from=2025-11-15&until=2025-11-15T01:02:03%2B02:00")

    assert answer.status_code == 200
    assert answer.json["wanted"] == {
        "limit": 7,
        "first_day": "2025-11-15",
        "until": "2025-11-15T01:02:03+02:00",
    }


def test_absent_parameters_have_their_defaults(client: FlaskClient) -> None:
    assert client.get("/found").json["wanted"]["limit"] == 50


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("limit=", "limit"),
        ("from=1763164800", "from"),
        ("from=2025-02-30", "from"),
        ("first_day=2025-11-15", "first_day"),
        ("until=2025-11-15T01:02:03", "until"),
        ("until=1763164800", "until"),
        ("until=2025-11-15", "until"),
        ("limti=7", "limti"),
    ],
)
def test_bad_parameters_are_named(query: str, name: str, client: FlaskClient) -> None:
    answer = client.get(f"/found?{query}")

    assert answer.status_code == 422
    errors: list[dict[str, Any]] = answer.json["errors"]
    assert [error["pointer"] for error in errors] == [name]


def test_unknown_parameter_is_said_to_be_one(client: FlaskClient) -> None:
    detail = client.get("/found?limti=7").json["errors"][0]["detail"]

    assert detail == "is not a parameter of this route"
