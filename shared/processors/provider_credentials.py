"""A tenant's own credential for a cloud provider, opened for the step that uses it.

Only the executor of the provider's family opens it: the others have no permission on the key, and a
message that strays to one of them is refused here. The secret is in this process's memory while the
step runs, and nowhere else.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.crypto import DecryptionError
from shared.errors import AccessDeniedError, Permanent
from shared.settings import settings
from shared.tenancy import credential_log, credentials
from shared.tenancy.credential_content import CredentialInactiveError
from shared.tenancy.credential_log import State
from shared.tenancy.credential_views import Provider

_REDACTED = "[secret]"
_SHORTEST_SECRET = 6
"""Shorter values are words of every text."""


class NoCredentialError(Permanent):
    """The tenant has no credential that the step may use, or too many to choose from."""

    code = "no-credential"


class WrongExecutorError(AccessDeniedError):
    """The step is of another family than this executor."""

    code = "wrong-executor"

    def __init__(self, provider: Provider, family: str | None) -> None:
        super().__init__(
            f"Credentials of {provider} are opened by the executor of the family"
            f" {provider.lower()!r} only, this is {family or 'none'!r}."
        )


@dataclass(frozen=True)
class ProviderCredential:
    """An opened credential. Its `secret` goes into the provider's client, nowhere else."""

    tenant_id: str
    credential_id: str
    name: str
    kind: str
    """As in the tenant's list: `role_arn`, `access_key`, `client_secret`, ..."""
    secret: Mapping[str, Any] = field(repr=False)

    def __str__(self) -> str:
        """How messages name it."""
        return f"credential {self.name!r} ({self.credential_id})"

    @property
    def route(self) -> str:
        """Where the tenant replaces it."""
        return f"PUT /api/v1/tenants/{self.tenant_id}/credentials/{self.credential_id}"

    def redacted(self, text: str) -> str:
        """`text`, of a provider's answer perhaps, without any value of the secret."""
        values = sorted(_texts(self.secret), key=len, reverse=True)
        return re.sub("|".join(map(re.escape, values)), _REDACTED, text) if values else text


def open_for(tenant_id: str, provider: Provider, wanted: str | None = None) -> ProviderCredential:
    """The tenant's active credential of a provider.

    Args:
        tenant_id: whose.
        provider: of which cloud.
        wanted: name or ID; absent or empty, there must be exactly one.

    Raises:
        WrongExecutorError: this function is not the provider's executor.
        NoCredentialError: there is none, or none was chosen of several; says what to do.
        CredentialInactiveError: the tenant has switched the wanted one off.
        Retryable: BigQuery or KMS does not answer.
    """
    family = settings().STEP_FAMILY
    if family != provider.lower():
        raise WrongExecutorError(provider, family)
    state = _chosen(tenant_id, provider, wanted)
    opened = ProviderCredential(
        tenant_id, state["credential_id"], state["credential_name"], state["credential_type"], {}
    )
    try:
        secret = credentials.secret_of(state)
    except DecryptionError as error:
        raise NoCredentialError(
            f"The stored {opened} cannot be decrypted. Store it again with {opened.route}."
        ) from error
    return ProviderCredential(tenant_id, opened.credential_id, opened.name, opened.kind, secret)


def _chosen(tenant_id: str, provider: Provider, wanted: str | None) -> State:
    of_provider = [s for s in credential_log.read(tenant_id).states if s["provider"] == provider]
    active = [state for state in of_provider if state["is_active"]]
    route = f"POST /api/v1/tenants/{tenant_id}/credentials"
    if not wanted:
        if len(active) == 1:
            return active[0]
        if active:
            raise NoCredentialError(
                f"Tenant {tenant_id!r} has {len(active)} active credentials of {provider}:"
                f" {_names(active)}. Set `credential` of the step to one of these names."
            )
        raise NoCredentialError(
            f"Tenant {tenant_id!r} has no active credential of {provider}. Store one with {route}."
        )
    for state in of_provider:
        if wanted in (state["credential_id"], state["credential_name"]):
            if not state["is_active"]:
                raise CredentialInactiveError(state["credential_id"])
            return state
    raise NoCredentialError(
        f"Tenant {tenant_id!r} has no credential of {provider} called {wanted!r}; there are:"
        f" {_names(active) or 'none'}. Correct `credential` of the step, or store it with {route}."
    )


def _names(states: list[State]) -> str:
    return ", ".join(sorted(repr(state["credential_name"]) for state in states))


def _texts(value: Any) -> Iterator[str]:
    """Every text in a secret that is long enough to be told from a word."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, str) and len(value) >= _SHORTEST_SECRET:
        yield value
