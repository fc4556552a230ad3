"""A Cloud Billing account belongs to one tenant: claimed, then read, then written down.

Profiles say whose an account is, but two onboardings at once would both read that it is nobody's. A
claim bridges that moment: who holds it reads the profiles after taking it and has its own profile
written before the lease ends, so the next holder sees it. The claim itself is never given back;
what lasts is the profile, until its tenant is offboarded.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime, timedelta

from shared.errors import ConflictError, FieldProblem, InvalidInputError, Retryable
from shared.tenancy import tenants
from shared.warehouse import claims
from shared.warehouse.claims import Holder

LEASE = timedelta(seconds=60)
"""How long an onboarding has from its claim to its profile."""
_CLOCK_SKEW = timedelta(seconds=5)
_AT_ONCE = 16


class ClaimLostError(Retryable):
    """The profile was not written while the claims held: the accounts may be another tenant's."""

    code = "billing-account-claim-lost"

    def __init__(self) -> None:
        super().__init__("the billing accounts were not recorded within their claim")


def claim(accounts: Sequence[str], tenant_id: str) -> datetime:
    """Let nobody else have `accounts` until the profile is written; by when it must be.

    May be repeated by the same tenant. Follow it by `written_in_time`.

    Raises:
        InvalidInputError: some belong to another tenant; names each.
        ConflictError: another onboarding has claimed one a moment ago.
        WarehouseBusyError: not now; they stay claimed for a minute.
    """
    if not accounts:
        return datetime.max.replace(tzinfo=UTC)
    _refuse_taken(accounts, tenant_id)
    with ThreadPoolExecutor(min(_AT_ONCE, len(accounts))) as pool:
        taken = [pool.submit(copy_context().run, _take, account, tenant_id) for account in accounts]
    until = min(done.result() for done in taken) + LEASE - _CLOCK_SKEW
    _refuse_taken(accounts, tenant_id)  # once more: somebody may have come before the claims
    return until


def written_in_time(until: datetime) -> None:
    """Make sure that the profile was written while the claims held.

    Raises:
        ClaimLostError: it was not. Take them out of the profile.
    """
    if datetime.now(UTC) >= until:
        raise ClaimLostError


def _take(account: str, tenant_id: str) -> datetime:
    """Hold the newest claim of the account; when it was taken."""
    number = 0
    while True:
        number += 1
        key = f"billing-account--{account}--{number}"
        before = datetime.now(UTC)
        if claims.win(key, tenant_id):
            return before
        holder = claims.holder(key)
        left = (holder.taken_at + LEASE - datetime.now(UTC)).total_seconds()
        if left > 0 and holder.is_(tenant_id):
            return holder.taken_at
        if left > 0 and not _has_left(holder, account):
            raise ConflictError(
                f"Billing account {account} is being claimed by another tenant at this moment.",
                retry_after_seconds=left,
            )


def _has_left(holder: Holder, account: str) -> bool:
    """Whether a claim is of a tenant that was offboarded since; it never onboards again."""
    return any(map(holder.is_, tenants.former_owners_of_billing_account(account)))


def _refuse_taken(accounts: Sequence[str], tenant_id: str) -> None:
    owners = tenants.owners_of_billing_accounts(tuple(accounts))
    problems = [
        FieldProblem("/billing_account_ids", "belongs to another tenant; remove it", account)
        for account, owner in owners.items()
        if owner != tenant_id
    ]
    if problems:
        raise InvalidInputError(problems)
