"""Provider credentials of a tenant: stored sealed, opened for executors, re-wrapped, destroyed.

A secret is in the clear in two places only: the request that brings it, and what
`open_credential` answers to the step that uses it. Everything else is an envelope whose owner is
`{tenant_id}/{credential_id}`, so that a row copied to another tenant does not open.
"""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from shared import crypto
from shared.errors import ConflictError
from shared.tenancy import credential_log, lifecycle, plans
from shared.tenancy.credential_content import (
    Content,
    CredentialInactiveError,
    ProvidersLimitError,
    RequestDoneError,
    Sealed,
    Stored,
    columns,
    for_credential,
    owner_of,
    seal,
    shown,
)
from shared.tenancy.credential_log import Ledger, State
from shared.tenancy.credential_views import Credential
from shared.tenancy.tenants import TenantProfile, TenantStatus
from shared.warehouse import tables
from shared.warehouse.schemas import load_folder
from shared.warehouse.tables import Action

MAX_CREDENTIALS = 100
"""Of one tenant: every change reads them all."""
_USABLE = (TenantStatus.ACTIVE, TenantStatus.SUSPENDED)


def check_tenant(tenant: TenantProfile) -> None:
    """Let only tenants store credentials that are onboarded and not offboarded.

    Raises:
        WrongStateError: names the tenant's status.
    """
    if tenant.status not in _USABLE:
        raise lifecycle.WrongStateError(
            tenant.tenant_id, tenant.status, [str(status) for status in _USABLE]
        )


def store(tenant_id: str, content: Content, *, stored_by: str) -> Stored:
    """Store a credential; one of the same provider and name is replaced.

    Raises:
        ProvidersLimitError: the plan allows no further provider.
        ConflictError: other changes are under way, or there are too many credentials.
        Retryable: not now; the credential may have been stored.
    """
    return store_sealed(seal(tenant_id, str(uuid.uuid4()), content), stored_by=stored_by)


def store_sealed(sealed: Sealed, *, stored_by: str, request_id: str | None = None) -> Stored:
    """Store a credential that is sealed already, see `store`.

    With `request_id` it is done once, however often it is asked for.

    Raises:
        RequestDoneError: the request stored its credential before.
        ProvidersLimitError: the plan allows no further provider.
        ConflictError: other changes are under way, or there are too many credentials.
        DecryptionError: the envelope is not the tenant's.
        Retryable: not now; the credential may have been stored.
    """

    def step(ledger: Ledger) -> State:
        if request_id:
            _refuse_if_done(sealed.tenant_id, request_id)
        before = ledger.named(sealed.provider, sealed.name)
        if before is None and len(ledger.states) >= MAX_CREDENTIALS:
            raise ConflictError(
                f"Tenant {sealed.tenant_id!r} has {MAX_CREDENTIALS} credentials, the most there"
                " may be. Delete one first."
            )
        target = before or credential_log.new_state(sealed.tenant_id, sealed.credential_id)
        _check_providers(ledger, sealed)
        state = {**target, **columns(for_credential(sealed, target["credential_id"]))}
        state["created_by"] = state["created_by"] or stored_by
        if request_id:
            state |= {"request_id": request_id, "request_status": "COMPLETED"}
        return state

    state = credential_log.change(sealed.tenant_id, step, changed_by=stored_by)
    is_new = state["credential_id"] == sealed.credential_id
    return Stored(shown(state), "CREATED" if is_new else "UPDATED")


def replace(tenant_id: str, credential_id: str, content: Content, *, changed_by: str) -> Credential:
    """Put the content in the place of a credential's, which keeps its ID.

    Raises:
        NotFoundError: the tenant has no such credential.
        ConflictError: it is another provider's, the name is another one's, the plan allows no
            further provider, or other changes are under way.
        Retryable: not now; the change may have been made.
    """
    sealed = seal(tenant_id, credential_id, content)

    def step(ledger: Ledger) -> State:
        state = ledger.find(credential_id)
        if state["provider"] != content.provider:
            raise ConflictError(
                f"Credential {credential_id} is one of {state['provider']}. Delete it and create"
                f" one of {content.provider} instead."
            )
        namesake = ledger.named(content.provider, content.name)
        if namesake and namesake["credential_id"] != credential_id:
            raise ConflictError(
                f"Another credential of {content.provider} is called {content.name!r}."
                " Choose another name."
            )
        _check_providers(ledger, sealed)
        return {**state, **columns(sealed)}

    return shown(credential_log.change(tenant_id, step, changed_by=changed_by))


def listed(tenant_id: str) -> list[Credential]:
    """The tenant's credentials, newest first; deleted ones are not among them.

    Raises:
        WarehouseBusyError: not now.
    """
    return [shown(state) for state in credential_log.read(tenant_id).states]


def get(tenant_id: str, credential_id: str) -> Credential:
    """The credential.

    Raises:
        NotFoundError: the tenant has no such credential.
        WarehouseBusyError: not now.
    """
    return shown(credential_log.read(tenant_id).find(credential_id))


def destroy(tenant_id: str, credential_id: str, *, destroyed_by: str) -> Credential:
    """End a credential for good and show it as it was. Nothing opens it any more.

    Its sealed secret stays in older rows of the log until `credential_erasure` overwrites it.

    Raises:
        NotFoundError: the tenant has no such credential.
        ConflictError: other changes are under way.
        Retryable: not now; it may have been destroyed.
    """
    before: list[State] = []

    def step(ledger: Ledger) -> State:
        before[:] = [ledger.find(credential_id)]
        return _destroyed(before[0])

    credential_log.change(tenant_id, step, changed_by=destroyed_by)
    return shown({**before[0], "is_active": False})


def destroy_all(tenant_id: str, *, destroyed_by: str) -> int:
    """End every credential of the tenant; how many there were.

    Raises:
        ConflictError: other changes are under way.
        Retryable: not now; ask again.
    """

    def step(ledger: Ledger) -> State | None:
        return _destroyed(ledger.states[0]) if ledger.states else None

    count = 0
    while credential_log.change(tenant_id, step, changed_by=destroyed_by):
        count += 1
    return count


def open_credential(tenant_id: str, credential_id: str) -> dict[str, Any]:
    """The secret's fields, for the step that uses them. Never log them, never send them on.

    Raises:
        NotFoundError: the tenant has no such credential, or deleted it.
        CredentialInactiveError: the tenant has switched it off.
        DecryptionError: the stored envelope is not this credential's.
        Retryable: BigQuery or KMS does not answer.
    """
    state = credential_log.read(tenant_id).find(credential_id)
    if not state["is_active"]:
        raise CredentialInactiveError(credential_id)
    return secret_of(state)


def secret_of(state: State) -> dict[str, Any]:
    """The secret's fields in a state of a credential, active or not.

    Raises:
        DecryptionError: the envelope is not this credential's.
        Retryable: KMS does not answer.
    """
    owner = owner_of(state["tenant_id"], state["credential_id"])
    fields: dict[str, Any] = json.loads(crypto.unseal(state["encrypted_credentials"], owner))
    return fields


def record_validation(
    tenant_id: str, checked: State, facts: Mapping[str, Any], *, changed_by: str
) -> Credential | None:
    """Note what a check of `checked` found; of a credential that was replaced since, nothing.

    Args:
        tenant_id: whose it is.
        checked: the state that was looked at.
        facts: the columns that a check sets.
        changed_by: for the record.

    Raises:
        NotFoundError: it was deleted.
        ConflictError: other changes are under way.
        Retryable: not now; ask again.
    """

    def step(ledger: Ledger) -> State | None:
        state = ledger.find(checked["credential_id"])
        return {**state, **facts} if _is_same_secret(state, checked) else None

    changed = credential_log.change(tenant_id, step, changed_by=changed_by)
    return shown(changed) if changed else None


def ensure_dataset(tenant_id: str) -> Literal["CREATED", "EXISTS"]:
    """See that the tenant has its dataset with the metadata tables; onboarding made them.

    Raises:
        DatasetOwnerError: a dataset of this name is somebody else's.
        WarehouseBusyError: not now.
    """
    change = tables.ensure_dataset(tenant_id, labels={tables.OWNER_LABEL: tenant_id})
    if change.action is Action.UNCHANGED:
        return "EXISTS"
    tables.ensure(tenant_id, load_folder("tenant"))
    return "CREATED"


def _is_same_secret(one: State, other: State) -> bool:
    """Whether neither replaced the other; re-wrapping leaves the ciphertext as it is."""
    ciphertexts = [json.loads(s["encrypted_credentials"])["ciphertext"] for s in (one, other)]
    return bool(ciphertexts[0] == ciphertexts[1])


def _refuse_if_done(tenant_id: str, request_id: str) -> None:
    for row in credential_log.request_rows(tenant_id, request_id):
        if row["request_status"] == "COMPLETED":
            raise RequestDoneError(request_id)


def _destroyed(state: State) -> State:
    """The last row of a credential: without its secret."""
    ended = {"encrypted_credentials": None, "kms_key_version": None, "is_active": False}
    return {**state, **ended, "deleted_at": datetime.now(UTC)}


def _check_providers(ledger: Ledger, wanted: Sealed) -> None:
    """Refuse an active credential of one provider more than the tenant's plan allows."""
    active = {str(state["provider"]) for state in ledger.states if state["is_active"]}
    if not wanted.is_active or wanted.provider in active:
        return
    found = lifecycle.subscription(ledger.tenant_id)
    name = found.plan_name if found else plans.DEFAULT_PLAN
    limit = found.providers_limit if found else None
    if limit is None:
        limit = plans.plan(name).providers_limit
    if len(active) >= limit:
        raise ProvidersLimitError(name, limit, sorted(active), wanted.provider)
