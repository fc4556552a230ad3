"""The shapes of credentials: good ones pass, each bad field is named, no value is repeated."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInputError
from shared.tenancy.credential_models import json_schemas, parse, parse_for
from shared.tenancy.credential_views import Provider
from tests.credential_samples import (
    UUID,
    aws_keys,
    aws_role,
    azure_federated,
    azure_secret,
    elliptic_key,
    private_key,
    service_account,
    workload_identity,
)

GOOD: list[tuple[Provider, dict[str, Any], str]] = [
    ("GCP", service_account(), "service_account_key"),
    ("GCP", service_account(project_id="example.com:acme-billing"), "service_account_key"),
    ("GCP", workload_identity(), "workload_identity"),
    ("AWS", aws_role(), "role_arn"),
    ("AWS", aws_role(role_arn="arn:aws-cn:iam::123456789012:role/R"), "role_arn"),
    ("AWS", aws_keys(), "access_key"),
    (
        "AWS",
        aws_keys(access_key_id="ASIAIOSFODNN7EXAMPLE", session_token="t" * 40),
        "access_key",
    ),
    ("AZURE", azure_secret(), "client_secret"),
    ("AZURE", azure_federated(subscription_id=UUID), "federated_token"),
]
LOCAL_TOKEN = {"url": "http://169.254.169.254/computeMetadata/v1/token"}
BAD: list[tuple[Provider, dict[str, Any], str]] = [
    ("GCP", {}, "/credentials/type"),
    ("GCP", service_account(type="authorized_user"), "/credentials/type"),
    ("GCP", service_account(type=["service_account"]), "/credentials/type"),
    ("GCP", service_account(private_key="hush"), "/credentials/private_key"),
    ("GCP", service_account(private_key="\ud800"), "/credentials/private_key"),
    ("GCP", service_account(private_key=private_key()[:-60]), "/credentials/private_key"),
    ("GCP", service_account(private_key=private_key(1024)), "/credentials/private_key"),
    ("GCP", service_account(private_key=elliptic_key()), "/credentials/private_key"),
    ("GCP", service_account(client_email="me@example.com"), "/credentials/client_email"),
    ("GCP", service_account(project_id="-"), "/credentials/project_id"),
    ("GCP", service_account(token_uri="https://evil.example/token"), "/credentials/token_uri"),
    (
        "GCP",
        service_account(token_uri="https://oauth2.googleapis.com@evil.example/"),
        "/credentials/token_uri",
    ),
    (
        "GCP",
        service_account(token_uri="http://oauth2.googleapis.com/token"),
        "/credentials/token_uri",
    ),
    ("GCP", service_account(token_uri="https://evilgoogleapis.com/"), "/credentials/token_uri"),
    ("GCP", service_account(token_uri="https://[::1"), "/credentials/token_uri"),
    ("GCP", service_account(surprise="x"), "/credentials/surprise"),
    ("GCP", service_account(universe_domain="evil.example"), "/credentials/universe_domain"),
    ("GCP", workload_identity(audience="acme"), "/credentials/audience"),
    ("GCP", workload_identity(token_url="https://evil.example"), "/credentials/token_url"),
    (
        "GCP",
        workload_identity(credential_source={"file": "/proc/self/environ"}),
        "/credentials/credential_source/file",
    ),
    (
        "GCP",
        workload_identity(credential_source=LOCAL_TOKEN),
        "/credentials/credential_source/url",
    ),
    (
        "GCP",
        workload_identity(credential_source={"url": "https://metadata.google.internal/token"}),
        "/credentials/credential_source/url",
    ),
    ("AWS", {}, "/credentials"),
    ("AWS", aws_role(role_arn="arn:aws:iam::1:role/R"), "/credentials/role_arn"),
    ("AWS", aws_role(role_arn="arn:aws:iam::123456789012:user/R"), "/credentials/role_arn"),
    ("AWS", {"role_arn": aws_role()["role_arn"]}, "/credentials/external_id"),
    ("AWS", {"external_id": "abc"}, "/credentials/role_arn"),
    ("AWS", aws_keys(access_key_id="AKIA"), "/credentials/access_key_id"),
    ("AWS", aws_keys(secret_access_key="hush"), "/credentials/secret_access_key"),
    ("AWS", aws_keys(access_key_id="ASIAIOSFODNN7EXAMPLE"), "/credentials"),
    ("AWS", aws_keys(region="Frankfurt"), "/credentials/region"),
    ("AZURE", {}, "/credentials"),
    ("AZURE", azure_secret(tenant_id="acme"), "/credentials/tenant_id"),
    ("AZURE", azure_secret(client_secret="a b"), "/credentials/client_secret"),
    ("AZURE", azure_secret(client_secret=None), "/credentials/client_secret"),
    (
        "AZURE",
        azure_federated(federated_token={"issuer": "https://localhost/"}),
        "/credentials/federated_token/issuer",
    ),
]


@pytest.mark.parametrize(("provider", "fields", "kind"), GOOD)
def test_good_credentials_are_taken_with_every_field(
    provider: Provider, fields: dict[str, Any], kind: str
) -> None:
    shape = parse(provider, fields)

    assert shape.kind == kind
    sent = shape.model_dump(exclude_none=True, exclude_defaults=True)
    assert sent == fields
    assert shape.context()


@pytest.mark.parametrize(("provider", "fields", "pointer"), BAD)
def test_bad_field_is_named_and_nothing_repeated(
    provider: Provider, fields: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse(provider, fields)

    assert pointer in {found.pointer for found in caught.value.problems}
    assert all(found.value is None for found in caught.value.problems)
    in_our_own_words = {"service_account", "googleapis.com", "acme-billing-1"}
    for value in fields.values():
        if isinstance(value, str) and len(value) > 12 and value not in in_our_own_words:
            assert value not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_every_bad_field_is_named_at_once() -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse("AZURE", {"tenant_id": 1, "client_secret": "", "more": 2})

    assert {found.pointer for found in caught.value.problems} == {
        "/credentials/tenant_id",
        "/credentials/client_id",
        "/credentials/client_secret",
        "/credentials/more",
    }


def test_secret_in_the_place_of_a_name_is_not_repeated() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG"

    with pytest.raises(InvalidInputError) as caught:
        parse("AWS", aws_role(**{secret: 1}))

    assert secret not in str(caught.value)
    assert [found.pointer for found in caught.value.problems] == ["/credentials"]


@pytest.mark.parametrize(("provider", "fields", "kind"), GOOD)
def test_shape_and_context_do_not_show_the_secret(
    provider: Provider, fields: dict[str, Any], kind: str
) -> None:
    shape = parse(provider, fields)

    shown = f"{shape!r} {shape} {shape.context()}"
    for name in ("private_key", "external_id", "secret_access_key", "access_key_id",
                 "session_token", "client_secret"):  # fmt: skip
        if name in fields:
            assert fields[name] not in shown
    assert "hush" not in shown


@given(
    provider=st.sampled_from(["GCP", "AWS", "AZURE"]),
    fields=st.dictionaries(
        st.sampled_from([*service_account(), *aws_role(), *aws_keys(), *azure_federated(), "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    ),
)
def test_whatever_is_sent_is_taken_or_refused(provider: Provider, fields: dict[str, Any]) -> None:
    with suppress(InvalidInputError):
        parse(provider, fields)


def test_the_shapes_describe_themselves_without_references() -> None:
    schemas = json_schemas()

    assert len(schemas) == 6
    assert "$ref" not in str(schemas)
    assert all(schema["additionalProperties"] is False for schema in schemas)


@pytest.mark.parametrize(
    "external_id", ["1234", "acme:7f3b", "acme_corp", "acme_corp7f3b", "x:acme_corp:"]
)
def test_external_id_is_the_tenants_own(external_id: str) -> None:
    assert parse_for("acme_corp", "AWS", aws_role("acme_corp"))
    assert parse_for("acme_corp", "AWS", aws_keys())

    with pytest.raises(InvalidInputError) as refused:
        parse_for("acme_corp", "AWS", aws_role(external_id=external_id))

    (problem,) = refused.value.problems
    assert problem.pointer == "/credentials/external_id"
    assert "must begin with acme_corp:" in problem.problem
