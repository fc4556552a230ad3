"""Which of a tenant's credentials a step is given, and what it is told otherwise."""

from typing import Any

import pytest

from shared import clients
from shared.errors import Retryable
from shared.processors.provider_credentials import NoCredentialError, ProviderCredential, open_for
from shared.settings import settings
from shared.tenancy import credentials
from shared.tenancy.credential_content import Content, CredentialInactiveError
from shared.tenancy.credential_models import parse
from shared.warehouse import rows
from shared.warehouse.rows import Row
from tests.credential_samples import EXTERNAL_ID, aws_keys, aws_role

pytestmark = pytest.mark.usefixtures("central")


@pytest.fixture(autouse=True)
def _executor(_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_FAMILY", "aws")
    settings.cache_clear()


def store(tenant_id: str, fields: dict[str, Any], name: str, *, is_active: bool = True) -> str:
    content = Content("AWS", name, is_active, parse("AWS", fields))
    return credentials.store(tenant_id, content, stored_by="alice").credential.credential_id


def test_the_only_active_one_is_taken_and_opened(tenant: str) -> None:
    store(tenant, aws_keys(), "old", is_active=False)
    credential_id = store(tenant, aws_role(), "billing")
    for wanted in (None, "", "billing", credential_id):
        found = open_for(tenant, "AWS", wanted)
        assert (found.credential_id, found.kind) == (credential_id, "role_arn")
        assert found.secret["external_id"].endswith(EXTERNAL_ID)
        assert EXTERNAL_ID not in f"{found} {found!r}"


def test_of_several_one_has_to_be_named(tenant: str) -> None:
    store(tenant, aws_keys(), "first")
    second = store(tenant, aws_role(), "second")
    with pytest.raises(NoCredentialError, match=r"has 2 active .* 'first', 'second'") as raised:
        open_for(tenant, "AWS")
    assert "Set `credential` of the step" in str(raised.value)
    assert open_for(tenant, "AWS", "second").credential_id == second


def test_one_that_is_not_there_or_not_active_is_told(tenant: str) -> None:
    store(tenant, aws_keys(), "off", is_active=False)
    with pytest.raises(CredentialInactiveError):
        open_for(tenant, "AWS", "off")
    with pytest.raises(NoCredentialError, match="called 'bilingl'; there are: none"):
        open_for(tenant, "AWS", "bilingl")


def test_another_tenants_credential_is_not_to_be_had(tenant: str, fresh: Any) -> None:
    theirs = store(tenant, aws_role(), "billing")
    with pytest.raises(NoCredentialError):
        open_for(fresh(), "AWS", theirs)


def test_a_row_that_was_copied_to_another_tenant_does_not_open(tenant: str, fresh: Any) -> None:
    store(tenant, aws_role(), "billing")
    (state,) = rows.read(credentials_of(tenant))
    thief = fresh()
    copied = {**state, "tenant_id": thief, **rows.stamp()}
    rows.append("tenants.tenant_cloud_credentials_log", [Row("copied-" + thief, copied)])
    with pytest.raises(NoCredentialError, match="cannot be decrypted"):
        open_for(thief, "AWS")


def credentials_of(tenant: str) -> Any:
    from shared.warehouse.queries import query

    sql = "SELECT * FROM `tenants.tenant_cloud_credentials_log` WHERE tenant_id = @t"
    return query(sql, t=tenant)


def test_a_kms_that_is_away_is_waited_for(tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tenant, aws_role(), "billing")
    monkeypatch.setenv("KMS_EMULATOR_HOST", "127.0.0.1:9")
    monkeypatch.setattr("shared.crypto._TIMEOUT_SECONDS", 0.5)
    settings.cache_clear()
    clients.kms_client.cache_clear()
    try:
        with pytest.raises(Retryable, match="KMS does not answer"):
            open_for(tenant, "AWS")
    finally:
        clients.kms_client.cache_clear()


def test_texts_of_the_provider_lose_the_secrets() -> None:
    secret = {"a": "longer-than-secret", "b": {"c": "secret"}, "region": "us-1"}
    credential = ProviderCredential("t", "c", "n", "access_key", secret)
    said = credential.redacted("longer-than-secret, secret and us-1")
    assert said == "[secret], [secret] and us-1"
