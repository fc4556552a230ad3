"""The product's environment, pointed at the worker's cloud; a tenant for each test."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import fields

import httpx
import pytest

from shared.settings import Settings, settings
from tests.component.conftest import PROJECT, Cloud
from tests.component.shared.post import Post


@pytest.fixture(autouse=True)
def _environment(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clients are made once per worker and stay: every test sees the same servers."""
    for variable in fields(Settings):
        monkeypatch.delenv(variable.name, raising=False)
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield
    cloud.forget_faults()
    settings.cache_clear()


@pytest.fixture
def fresh() -> Callable[[], str]:
    """Names that no other test uses; each is a good tenant ID."""
    return lambda: f"t_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def tenant(fresh: Callable[[], str]) -> str:
    """A tenant with its own dataset and metadata tables, as onboarding leaves them."""
    from shared.warehouse import tables
    from shared.warehouse.schemas import load_folder

    tenant_id = fresh()
    tables.ensure_dataset(tenant_id, labels={tables.OWNER_LABEL: tenant_id})
    tables.ensure(tenant_id, load_folder("tenant"))
    return tenant_id


@pytest.fixture
def post(tenant: str, _environment: None) -> Iterator[Post]:
    """What the tenant's runs publish."""
    opened = Post(PROJECT, tenant)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def _central(cloud: Cloud) -> None:
    """The dataset `tenants`, made once per worker."""
    from infra import bootstrap

    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environment.items():
            patch.setenv(name, value)
        settings.cache_clear()
        bootstrap.apply()
    settings.cache_clear()


@pytest.fixture
def central(_central: None, _environment: None) -> None:
    """The central dataset `tenants` exists."""


@pytest.fixture
def refuse(_environment: None) -> Callable[[str], None]:
    """Let the token endpoints refuse an account, an application or a directory from now on."""

    def say(principal: str) -> None:
        _tell_identity("refusals", {"principal": principal})

    return say


@pytest.fixture
def away(_environment: None) -> Callable[[int], None]:
    """Let the token endpoints fail the next so many requests."""

    def say(times: int) -> None:
        _tell_identity("faults", {"times": times})

    return say


def _tell_identity(what: str, content: dict[str, object]) -> None:
    url = f"{settings().AZURE_AUTHORITY_URL}/_local/{what}"
    httpx.post(url, json=content, timeout=10).raise_for_status()
