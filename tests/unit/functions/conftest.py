"""The API's application, built from its own routes."""

import pytest
from flask.testing import FlaskClient
from pytest_mock import MockerFixture


@pytest.fixture
def api(mocker: MockerFixture) -> FlaskClient:
    """A client of the whole API; nothing behind it answers, and nothing is audited."""
    mocker.patch("shared.tenancy.audit.record")
    from functions.api.main import application

    return application().test_client()
