"""Stored credentials of Google Cloud and Azure, asked of token endpoints on real sockets."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from pytest_mock import MockerFixture

from shared.errors import Retryable
from shared.processors.credential_checks import Finding, check
from shared.settings import settings
from tests.credential_samples import CLIENT_SECRET, azure_secret, private_key, service_account


def test_a_service_account_and_an_application_get_a_token() -> None:
    assert check("GCP", service_account()) == Finding("provider")
    assert check("AZURE", azure_secret()) == Finding("provider")


def test_an_account_that_google_does_not_know_is_named(refuse: Callable[[str], None]) -> None:
    fields = service_account(client_email="gone@acme-billing-1.iam.gserviceaccount.com")
    refuse(fields["client_email"])

    (problem,) = check("GCP", fields).problems

    assert problem.pointer == "/credentials/client_email"
    assert "(invalid_grant)" in problem.problem
    assert "gone@" not in problem.problem
    assert private_key()[100:160] not in problem.problem


@pytest.mark.parametrize(
    ("refused", "pointer", "number"),
    [("tenant_id", "tenant_id", 90002), ("client_id", "client_secret", 7000215)],
)
def test_what_entra_refuses_is_named_by_field_and_number(
    refused: str, pointer: str, number: int, refuse: Callable[[str], None]
) -> None:
    other = str(uuid.uuid4())
    fields = azure_secret(**{refused: other})
    refuse(other)

    finding = check("AZURE", fields)

    (problem,) = finding.problems
    assert finding.checked == "provider"
    assert problem.pointer == f"/credentials/{pointer}"
    assert f"(AADSTS{number})" in problem.problem
    assert CLIENT_SECRET not in problem.problem


@pytest.mark.parametrize(
    ("provider", "fields"), [("GCP", service_account()), ("AZURE", azure_secret())]
)
def test_an_endpoint_that_is_away_is_asked_again_later(
    provider: Any, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_TOKEN_URL", "http://127.0.0.1:9/token")
    monkeypatch.setenv("AZURE_AUTHORITY_URL", "http://127.0.0.1:9")
    settings.cache_clear()

    with pytest.raises(Retryable, match="does not answer"):
        check(provider, fields)


def test_the_uploaded_file_never_says_where_its_assertion_goes(mocker: MockerFixture) -> None:
    """Uploads with another host are refused; what was stored before that rule is held to it too."""
    sent = mocker.spy(__import__("requests").Session, "request")
    uploaded = service_account(token_uri="https://metadata.googleapis.com/token")

    assert check("GCP", uploaded) == Finding("provider")
    assert check("GCP", service_account(token_uri="http://169.254.169.254/")).checked == "shape"

    urls = [call.kwargs.get("url") or call.args[2] for call in sent.call_args_list]
    assert urls == [settings().GOOGLE_TOKEN_URL]


def test_a_redirect_does_not_carry_the_secret_along(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.component.shared.processors.redirecting import redirecting

    with redirecting() as (url, visited):
        monkeypatch.setenv("AZURE_AUTHORITY_URL", url)
        settings.cache_clear()
        finding = check("AZURE", azure_secret())

    assert finding.problems
    assert len(visited) == 1
