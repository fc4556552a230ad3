"""The API's application, built from its own routes."""

import pytest
from flask.testing import FlaskClient
from pytest_mock import MockerFixture

from infra import topology
from shared.settings import settings
from tests.unit.conftest import PROJECT


@pytest.fixture(scope="session", autouse=True)
def _entry_points() -> None:
    """Import both functions once, with the environment that they do not start without."""
    deployed = topology.load()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("api", "scheduler"):
            for variable, value in deployed.function_environment(name, PROJECT).items():
                patch.setenv(variable, value)
        settings.cache_clear()
        import functions.api.main
        import functions.scheduler.main  # noqa: F401
    settings.cache_clear()


@pytest.fixture
def api(mocker: MockerFixture) -> FlaskClient:
    """A client of the whole API; nothing behind it answers, and nothing is audited."""
    mocker.patch("shared.tenancy.audit.record")
    from functions.api.main import application

    return application().test_client()
