"""AWS as a process, and a tenant that has stored a role of its own account."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.settings import settings
from shared.tenancy import credentials
from shared.tenancy.credential_content import Content
from shared.tenancy.credential_models import parse
from tests.aws import Account, aws_server
from tests.component.conftest import PROJECT


@pytest.fixture(scope="session")
def aws_url() -> Iterator[str]:
    """Where AWS is."""
    with aws_server() as url:
        yield url


@pytest.fixture(autouse=True)
def _executor(aws_url: str, _environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the function `step-aws`."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_url)
    monkeypatch.setenv("STEP_FAMILY", "aws")
    identity = f"projects/{PROJECT}/secrets/aws-identity/versions/latest"
    monkeypatch.setenv("AWS_IDENTITY_SECRET", identity)
    settings.cache_clear()


@pytest.fixture
def account(aws_url: str) -> Account:
    """An AWS account."""
    return Account.new(aws_url)


@pytest.fixture
def customer(tenant: str, central: None, account: Account) -> str:
    """A tenant whose only AWS credential is a role of `account`."""
    store_credential(tenant, account.role)
    return tenant


def store_credential(tenant_id: str, fields: dict[str, Any], *, name: str = "billing") -> str:
    """Store an AWS credential; its ID."""
    content = Content("AWS", name, True, parse("AWS", fields))
    return credentials.store(tenant_id, content, stored_by="alice").credential.credential_id
