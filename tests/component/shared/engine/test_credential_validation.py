"""Checking stored credentials: what is found is noted, and never with another secret."""

from collections.abc import Callable
from typing import Any

import pytest
from pytest_mock import MockerFixture

from shared.engine.credential_validation import validate
from shared.errors import FieldProblem, NotFoundError
from shared.processors import credential_checks
from shared.processors.credential_checks import Finding
from shared.tenancy import credentials
from shared.tenancy.credential_content import Content
from shared.tenancy.credential_models import parse
from shared.tenancy.credential_views import Provider
from tests.credential_samples import (
    aws_keys,
    aws_role,
    azure_secret,
    service_account,
    workload_identity,
)

pytestmark = pytest.mark.usefixtures("central")
SAMPLES: list[tuple[Provider, dict[str, Any]]] = [
    ("GCP", service_account()),
    ("GCP", workload_identity()),
    ("AWS", aws_role()),
    ("AZURE", azure_secret()),
]


def content(provider: Provider, fields: dict[str, Any]) -> Content:
    return Content(provider, "default", True, parse(provider, fields))


def store(tenant_id: str, provider: Provider, fields: dict[str, Any]) -> str:
    stored = credentials.store(tenant_id, content(provider, fields), stored_by="alice")
    return stored.credential.credential_id


@pytest.mark.parametrize(("provider", "fields"), SAMPLES)
def test_good_credential_is_valid_and_says_what_was_checked(
    provider: Provider, fields: dict[str, Any], fresh: Callable[[], str]
) -> None:
    tenant_id = fresh()
    credential_id = store(tenant_id, provider, fields)

    done = validate(tenant_id, credential_id, validated_by="bob")

    assert done.finding == Finding("shape")
    assert done.credential.validation_status == "VALID"
    assert done.credential.last_validated_at
    assert credentials.get(tenant_id, credential_id) == done.credential
    assert credentials.open_credential(tenant_id, credential_id) == fields


def provider_that(mocker: MockerFixture, check: credential_checks.Check) -> None:
    """A check that asks the provider in the place of AWS's."""
    mocker.patch.dict(credential_checks._CHECKS, {"AWS": lambda: check})


def test_check_of_a_provider_plugs_in_and_its_refusal_is_noted(
    fresh: Callable[[], str], mocker: MockerFixture
) -> None:
    tenant_id = fresh()
    credential_id = store(tenant_id, "AWS", aws_role())
    problem = FieldProblem("/credentials/role_arn", "cannot be assumed; add us to its trust policy")
    seen: list[Any] = []

    def ask(fields: credential_checks.Fields) -> Finding:
        seen.append(fields)
        return Finding("provider", (problem,))

    provider_that(mocker, ask)

    done = validate(tenant_id, credential_id, validated_by="bob")

    assert seen == [aws_role()]
    assert done.finding.checked == "provider"
    assert done.credential.validation_status == "INVALID"
    assert done.credential.validation_error == (
        "credentials.role_arn: cannot be assumed; add us to its trust policy"
    )


def test_secret_that_was_replaced_meanwhile_keeps_its_own_state(
    fresh: Callable[[], str], mocker: MockerFixture
) -> None:
    tenant_id = fresh()
    credential_id = store(tenant_id, "AWS", aws_role())

    def slow(fields: credential_checks.Fields) -> Finding:
        credentials.replace(tenant_id, credential_id, content("AWS", aws_keys()), changed_by="x")
        return Finding("provider")

    provider_that(mocker, slow)

    done = validate(tenant_id, credential_id, validated_by="bob")

    assert done.credential.validation_status == "UNCHECKED"
    assert credentials.open_credential(tenant_id, credential_id) == aws_keys()


def test_deleted_credential_is_not_checked(fresh: Callable[[], str]) -> None:
    tenant_id = fresh()
    credential_id = store(tenant_id, "AWS", aws_role())
    credentials.destroy(tenant_id, credential_id, destroyed_by="x")

    with pytest.raises(NotFoundError):
        validate(tenant_id, credential_id, validated_by="bob")
