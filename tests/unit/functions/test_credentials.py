"""Bodies of the credentials' routes: the bad field is named, nothing of it is repeated."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from pytest_mock import MockerFixture

from shared.settings import settings
from shared.tenancy.tenants import TenantStatus
from tests.credential_samples import SECRET_KEY, aws_keys

CREDENTIALS = "/api/v1/tenants/acme/credentials"
BODY = {"provider": "Aws", "credentials": aws_keys()}


@pytest.fixture(autouse=True)
def profile(monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture) -> Any:
    """No keys asked for, and a tenant that is there."""
    monkeypatch.setenv("DISABLE_AUTH", "true")
    settings.cache_clear()
    found = mocker.patch("shared.tenancy.tenants.profile").return_value
    found.tenant_id, found.status = "acme", TenantStatus.ACTIVE
    return found


@pytest.mark.parametrize(
    ("method", "path"), [("POST", ""), ("POST", "/queue"), ("PUT", "/any")], ids=str
)
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/provider"),
        ({"provider": "AWS"}, "/credentials"),
        (BODY | {"provider": SECRET_KEY}, "/provider"),
        (BODY | {"credentials": SECRET_KEY}, "/credentials"),
        (BODY | {"name": SECRET_KEY + "\n"}, "/name"),
        (BODY | {"name": "\ud800"}, "/name"),
        (BODY | {"is_active": SECRET_KEY}, "/is_active"),
        (BODY | {"secret_access_key": SECRET_KEY}, "/secret_access_key"),
        (BODY | {"credentials": aws_keys(region=SECRET_KEY)}, "/credentials/region"),
        (BODY | {"credentials": aws_keys(more=SECRET_KEY)}, "/credentials/more"),
        ([SECRET_KEY], ""),
        (SECRET_KEY, ""),
    ],
)
def test_bad_field_is_named_and_no_value_repeated(
    method: str, path: str, body: Any, pointer: str, api: FlaskClient
) -> None:
    answer = api.open(CREDENTIALS + path, method=method, json=body)

    assert answer.status_code == 422
    found = {error["pointer"]: error for error in answer.get_json()["errors"]}
    assert pointer in found
    assert found[pointer]["value"] is None
    assert SECRET_KEY not in answer.text


def test_body_that_is_no_json_is_not_repeated(api: FlaskClient) -> None:
    answer = api.post(CREDENTIALS, data=f'{{"credentials": {SECRET_KEY}', content_type="text/json")

    assert answer.status_code == 422
    assert SECRET_KEY not in answer.text


@pytest.mark.parametrize("status", [TenantStatus.OFFBOARDED, TenantStatus.ONBOARDING])
@pytest.mark.parametrize("path", ["", "/queue"])
def test_tenant_that_is_not_there_stores_nothing(
    status: TenantStatus, path: str, profile: Any, api: FlaskClient
) -> None:
    profile.status = status

    answer = api.post(CREDENTIALS + path, json=BODY)

    assert answer.status_code == 409
    assert str(status) in answer.get_json()["detail"]


def test_the_description_shows_the_fields_of_every_shape(api: FlaskClient) -> None:
    schemas = api.get("/openapi.json").get_json()["components"]["schemas"]

    shapes = schemas["CredentialBody"]["properties"]["credentials"]["anyOf"]
    fields = {name for shape in shapes for name in shape["properties"]}
    assert {"private_key", "audience", "role_arn", "secret_access_key", "client_secret",
            "federated_token"} <= fields  # fmt: skip
