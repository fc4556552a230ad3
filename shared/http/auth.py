"""Who is asking: a tenant by its API key, or the operator by the admin key.

A key's scopes say what it opens; the admin key opens everything, on any tenant. Who asks is found
out once a request and remembered in it.
"""

import hmac
from dataclasses import dataclass

from flask import g, request

from shared.errors import (
    AccessDeniedError,
    FieldProblem,
    InvalidInputError,
    UnauthenticatedError,
)
from shared.secret_values import accepted_values
from shared.settings import settings
from shared.tenancy import api_keys, tenants
from shared.tenancy.tenants import TenantProfile, TenantStatus

_TENANT_PARAMETER = "tenant_id"
"""Query parameter by which the operator names a tenant on routes whose path does not."""


@dataclass(frozen=True)
class Caller:
    """Who asks. `user_id` is what the frontend says, for the record; it decides nothing."""

    tenant_id: str
    api_key_id: str | None
    user_id: str | None
    scopes: tuple[str, ...] = ()
    """What the key allows; empty means everything."""
    is_admin: bool = False
    service_account: str | None = None
    """Whose OIDC token it was, for Cloud Scheduler's jobs."""

    @property
    def name(self) -> str:
        """What `recorded_by` columns hold: the user, else the key, else the operator."""
        known = self.user_id or self.api_key_id or self.service_account
        return known or ("admin" if self.is_admin else "anonymous")

    def has(self, scope: str) -> bool:
        """Whether the caller may do what asks for `scope`."""
        return self.is_admin or not self.scopes or scope in self.scopes


class OtherTenantError(AccessDeniedError):
    """The key is another tenant's. One text whether the tenant of the URL exists or not."""

    code = "other-tenant"

    def __init__(self) -> None:
        super().__init__("The API key does not belong to the tenant in the URL.")


class ScopeError(AccessDeniedError):
    """The key is the tenant's, but does not allow this."""

    code = "insufficient-scope"

    def __init__(self, needed: str, scopes: tuple[str, ...]) -> None:
        self.needed = needed
        self.scopes = scopes
        super().__init__(
            f"The API key lacks the scope {needed!r}; it has {', '.join(scopes)}."
            f" Use a key with {needed!r}."
        )


class TenantInactiveError(AccessDeniedError):
    """The tenant's state forbids it."""

    code = "tenant-inactive"


def caller() -> Caller:
    """The request's caller and its tenant.

    The tenant is that of `X-API-Key`. The operator, with `X-Admin-Key`, names it in the query:
    `?tenant_id=acme_corp`.

    Raises:
        UnauthenticatedError: no key, or not a valid one.
        InvalidInputError: the operator named no tenant.
        NotFoundError: the operator named one that does not exist.
    """
    found = authenticated()
    if not found.is_admin:
        return found
    named = request.args.get(_TENANT_PARAMETER, "")
    if not named:
        problem = "is required with X-Admin-Key, such as ?tenant_id=acme_corp"
        raise InvalidInputError([FieldProblem(_TENANT_PARAMETER, problem)])
    return _operator_of(named)


def caller_for(tenant_id: str) -> Caller:
    """The request's caller, who must be `tenant_id` or the operator.

    With DISABLE_AUTH (a laptop only) anybody is.

    Raises:
        UnauthenticatedError: no key, or not a valid one.
        OtherTenantError: another tenant's key.
        NotFoundError: the operator asks for a tenant that does not exist.
    """
    if settings().DISABLE_AUTH:
        return Caller(tenant_id, None, user_id())
    found = authenticated()
    if found.is_admin:
        return _operator_of(tenant_id)
    if not hmac.compare_digest(found.tenant_id.encode(), tenant_id.encode()):
        raise OtherTenantError
    return found


def authenticated() -> Caller:
    """Who asks, for routes that are about no tenant in particular.

    `X-Admin-Key` counts where both keys are sent. The operator's `tenant_id` is empty. With
    DISABLE_AUTH (a laptop only) whoever sends no key is the operator.

    Raises:
        UnauthenticatedError: no key, or not a valid one.
    """
    known: Caller | None = g.get("caller")
    if known is None:
        known = g.caller = _authenticate()
    return known


def _authenticate() -> Caller:
    if request.headers.get("X-Admin-Key"):
        require_admin()
        return Caller("", None, user_id(), is_admin=True)
    sent = request.headers.get("X-API-Key", "")
    if settings().DISABLE_AUTH and not sent:
        return Caller("", None, user_id(), is_admin=True)
    key = api_keys.verify(sent)
    return Caller(key.tenant_id, key.api_key_id, user_id(), key.scopes)


def _operator_of(tenant_id: str) -> Caller:
    tenants.profile(tenant_id)
    return Caller(tenant_id, None, user_id(), is_admin=True)


def active_tenant(tenant_id: str) -> TenantProfile:
    """The tenant's profile, if it may run pipelines.

    Raises:
        NotFoundError: no such tenant.
        TenantInactiveError: it is suspended, offboarded or not yet onboarded.
    """
    tenant = tenants.profile(tenant_id)
    if tenant.status is not TenantStatus.ACTIVE:
        raise TenantInactiveError(
            f"Tenant {tenant_id!r} is {tenant.status}; it cannot run pipelines."
        )
    return tenant


def require_scope(found: Caller, scope: str) -> None:
    """Let only keys through that have `scope`.

    Raises:
        ScopeError: names the scope that is missing.
    """
    if not found.has(scope):
        raise ScopeError(scope, found.scopes)


def user_id() -> str | None:
    """`X-User-ID` as sent, at most 200 characters."""
    return request.headers.get("X-User-ID", "")[:200] or None


def require_operator() -> Caller:
    """The operator, for routes that nobody else may use.

    Raises:
        UnauthenticatedError: no admin key, or a wrong one.
    """
    known: Caller | None = g.get("caller")
    if known is None or not known.is_admin:
        require_admin()
        known = g.caller = Caller("", None, user_id(), is_admin=True)
    return known


def is_cloud_scheduler() -> bool:
    """Whether a job of Cloud Scheduler asks, by its OIDC token; False where there is none.

    Opens no more than the route that asks: the caller is nobody's operator.

    Raises:
        UnauthenticatedError: there is a token, and it is not that of the jobs.
        Retryable: the token cannot be checked now.
    """
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or request.headers.get("X-Admin-Key"):
        return False
    from shared.http import oidc

    account = oidc.verify(token.strip())
    g.caller = Caller("", None, user_id(), service_account=account)
    return True


def require_admin() -> None:
    """Let only a holder of an admin key through; while it is rotated there are two.

    Raises:
        UnauthenticatedError: no admin key, or a wrong one.
    """
    expected = accepted_values(settings().require("ADMIN_API_KEY_SECRET"))
    sent = request.headers.get("X-Admin-Key", "").encode()
    if not any(hmac.compare_digest(one, sent) for one in expected):
        raise UnauthenticatedError("Invalid admin key. Send it in X-Admin-Key.")
