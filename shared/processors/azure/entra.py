"""Tokens of Microsoft Entra ID: OAuth 2.0 client credentials (RFC 6749, section 4.4).

An application proves itself with its secret, or with a token of an issuer that it trusts (workload
identity federation): that is Google, which signs a token for the service account that a function
runs as. Which token comes from the service's own place only, never from a URL of the tenant's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.errors import Retryable
from shared.processors.provider_credentials import ProviderCredential
from shared.processors.provider_errors import (
    CredentialExpiredError,
    ProviderRefusedError,
    ProviderUnavailableError,
)
from shared.settings import settings

SERVICE = "Microsoft Entra ID"
MANAGEMENT = "https://management.azure.com/.default"
STORAGE = "https://storage.azure.com/.default"
OUR_ISSUER = "https://accounts.google.com"
_TIMEOUT_SECONDS = 10.0
_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_SECRET_IS_OVER = 7000222
"""Number of Entra's error (Microsoft Learn, "Microsoft Entra authentication error codes")."""


@dataclass(frozen=True)
class TokenAnswer:
    """What Entra said: a token, or the number of its refusal."""

    token: str | None = field(default=None, repr=False)
    number: int = 0
    """Of AADSTS<number>; 0 where Entra gives none. Its words may repeat a value of the request."""


def ask(fields: Mapping[str, Any], scope: str) -> TokenAnswer:
    """Ask for a token with the fields of a stored credential.

    Raises:
        Retryable: Entra, or Google's metadata server, does not answer.
        ProviderRefusedError: a federated credential trusts another issuer than Google.
    """
    import requests

    form = {
        "grant_type": "client_credentials",
        "client_id": fields["client_id"],
        "scope": scope,
        **_proof(fields),
    }
    try:
        answer = requests.post(
            f"{settings().AZURE_AUTHORITY_URL}/{fields['tenant_id']}/oauth2/v2.0/token",
            data=form,
            timeout=_TIMEOUT_SECONDS,
            allow_redirects=False,  # what follows a redirect would carry the secret along
        )
        content: Any = answer.json() if answer.status_code < 500 else {}
    except (requests.RequestException, ValueError):
        raise Retryable(f"{SERVICE} does not answer") from None
    if answer.status_code == 429 or answer.status_code >= 500:
        raise Retryable(f"{SERVICE} does not answer")
    if not isinstance(content, dict):
        return TokenAnswer()
    token = content.get("access_token")
    if answer.status_code == 200 and isinstance(token, str) and token:
        return TokenAnswer(token)
    codes = content.get("error_codes")
    number = codes[0] if isinstance(codes, list) and codes and isinstance(codes[0], int) else 0
    return TokenAnswer(number=number)


def token_for(credential: ProviderCredential, scope: str) -> str:
    """A token for a step, of about an hour.

    Raises:
        ProviderUnavailableError: no answer; another attempt may succeed.
        CredentialExpiredError: the application's secret is over.
        ProviderRefusedError: Entra does not accept the credential.
    """
    try:
        answer = ask(credential.secret, scope)
    except Retryable:
        raise ProviderUnavailableError(SERVICE, "does not answer") from None
    if answer.token:
        return answer.token
    shown = f" (AADSTS{answer.number})" if answer.number else ""
    code = f"AADSTS{answer.number}" if answer.number else ""
    if answer.number == _SECRET_IS_OVER:
        raise CredentialExpiredError(
            SERVICE,
            f"says that the secret of {credential} has expired{shown}. Create a new one and store"
            f" it with {credential.route}.",
            code,
        )
    raise ProviderRefusedError(
        SERVICE,
        f"gives no token for {credential}{shown}. Store a valid one with {credential.route}.",
        code,
    )


def _proof(fields: Mapping[str, Any]) -> dict[str, str]:
    if "client_secret" in fields:
        return {"client_secret": fields["client_secret"]}
    trusted = fields["federated_token"]
    if trusted["issuer"].rstrip("/") != OUR_ISSUER:
        raise ProviderRefusedError(
            SERVICE,
            f"would be shown a token of {OUR_ISSUER}, the only issuer of this service's identity."
            " Let the application's federated credential trust that issuer, with the unique ID of"
            " the service account step-azure as its subject.",
        )
    audience = trusted.get("audience") or "api://AzureADTokenExchange"
    return {"client_assertion_type": _JWT_BEARER, "client_assertion": _own_token(audience)}


def _own_token(audience: str) -> str:
    """A token of Google's for this function's service account (Cloud Run, metadata server)."""
    from google.auth import exceptions
    from google.auth.compute_engine import IDTokenCredentials
    from google.auth.transport.requests import Request

    try:
        made: Any = IDTokenCredentials(  # type: ignore[no-untyped-call]
            Request(), audience, use_metadata_identity_endpoint=True
        )
        made.refresh(Request())
    except exceptions.GoogleAuthError:
        raise Retryable("Google's metadata server does not answer") from None
    return str(made.token)
