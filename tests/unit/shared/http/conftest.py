"""An application of two toy routes, with everything that holds for all routes."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import Field

from shared.http.routes import Route, serve
from shared.models import Model


class Order(Model):
    """A body."""

    name: str = Field(min_length=1)
    count: int = Field(default=1, ge=1)
    tags: tuple[str, ...] = ()


class Taken(Model):
    """An answer."""

    order: Order
    shop: str


def _take(shop: str, body: Order) -> Taken:
    return Taken(order=body, shop=shop)


@pytest.fixture
def failing_with() -> Callable[[Exception], FlaskClient]:
    """A client of an application whose `GET /fails` raises the error."""

    def make(error: Exception) -> FlaskClient:
        def fail() -> Any:
            raise error

        return _client(Route("GET", "/fails", fail, "Fails", Taken, auth="none"))

    return make


@pytest.fixture
def client() -> FlaskClient:
    """A client of `POST /shops/{shop}/orders`."""
    return _client(
        Route("POST", "/shops/{shop}/orders", _take, "Order", Taken, 201, Order, auth="none")
    )


def _client(*routes: Route) -> FlaskClient:
    app = Flask("toy", static_folder=None)
    serve(app, routes)
    return app.test_client()
