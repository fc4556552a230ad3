"""The environment of `step-azure`, and a tenant that has stored an application of its own."""

from typing import Any

import pytest

from shared.settings import settings
from shared.tenancy import credentials
from shared.tenancy.credential_content import Content
from shared.tenancy.credential_models import parse
from tests.azure import Subscription
from tests.component.conftest import Cloud


@pytest.fixture(autouse=True)
def _executor(_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the function `step-azure`."""
    monkeypatch.setenv("STEP_FAMILY", "azure")
    settings.cache_clear()


@pytest.fixture
def subscription(cloud: Cloud) -> Subscription:
    """A subscription."""
    return Subscription(cloud.environment["AZURE_MANAGEMENT_URL"])


@pytest.fixture
def customer(tenant: str, central: None, subscription: Subscription) -> str:
    """A tenant whose only Azure credential is an application of `subscription`."""
    store_credential(tenant, subscription.credential)
    return tenant


def store_credential(tenant_id: str, fields: dict[str, Any], *, name: str = "billing") -> str:
    """Store an Azure credential; its ID."""
    content = Content("AZURE", name, True, parse("AZURE", fields))
    return credentials.store(tenant_id, content, stored_by="alice").credential.credential_id
