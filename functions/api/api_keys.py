"""API keys of a tenant: make, list, rotate, revoke."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from shared.http import auth
from shared.http.inputs import Moment
from shared.http.routes import Route
from shared.models import Model
from shared.tenancy import api_key_ring
from shared.tenancy.api_key_ring import KeyInfo, NewKey

Scope = Literal["read", "run", "manage"]
_HOURS_OF_A_MONTH = 24 * 31


def _in_the_future(moment: datetime) -> datetime:
    if moment <= datetime.now(UTC):
        raise ValueError("must lie in the future")
    return moment


def _once(scopes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(scopes))


class CreateKey(Model):
    """A new key."""

    name: str = Field(
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="What the key is for.",
        examples=["nightly reports"],
    )
    scopes: Annotated[tuple[Scope, ...], AfterValidator(_once)] = Field(
        default=("read", "run", "manage"),
        min_length=1,
        max_length=10,
        description="What the key allows: `read` GETs, `run` starts, cancels, retries and explains"
        " runs, `manage` keys, credentials, schedules and the profile.",
        examples=[["read", "run"]],
    )
    expires_at: Annotated[Moment, AfterValidator(_in_the_future)] | None = Field(
        default=None,
        description="From when the key is refused; absent: never.",
        examples=["2099-12-31T23:59:59Z"],
    )


class RotateKey(Model):
    """How long the old key lives on."""

    grace_period_hours: int = Field(
        default=24,
        ge=0,
        le=_HOURS_OF_A_MONTH,
        description="Hours in which both keys are good; 0 ends the old one at once.",
        examples=[24],
    )


class Keys(Model):
    """The keys of a tenant, newest first."""

    api_keys: tuple[KeyInfo, ...]


def create(tenant_id: str, body: CreateKey) -> NewKey:
    """Make a key. It is shown this once; what is kept of it cannot open anything.

    A key can only pass on scopes that it has itself.
    """
    caller = auth.caller_for(tenant_id)
    api_key_ring.check_scopes(body.scopes, () if caller.is_admin else caller.scopes)
    return api_key_ring.create(
        caller.tenant_id,
        name=body.name,
        scopes=body.scopes,
        expires_at=body.expires_at,
        created_by=caller.name,
    )


def listing(tenant_id: str) -> Keys:
    """The tenant's keys, newest first, also those that are revoked or have expired.

    Never the keys themselves; at most 500.
    """
    return Keys(api_keys=tuple(api_key_ring.listed(auth.caller_for(tenant_id).tenant_id)))


def rotate(tenant_id: str, key_id: str, body: RotateKey) -> NewKey:
    """A new key with the name, scopes and life span of an old one, which lives a grace period on.

    A key is rotated once; after that rotate its successor.
    """
    caller = auth.caller_for(tenant_id)
    return api_key_ring.rotate(
        caller.tenant_id,
        key_id,
        grace=timedelta(hours=body.grace_period_hours),
        rotated_by=caller.name,
        own_scopes=() if caller.is_admin else caller.scopes,
    )


def revoke(tenant_id: str, key_id: str) -> KeyInfo:
    """End a key for good. It is refused everywhere within a minute. May be repeated."""
    caller = auth.caller_for(tenant_id)
    return api_key_ring.revoke(
        caller.tenant_id, key_id, revoked_by=caller.name, reason="revoked over the API"
    )


_KEYS = "/api/v1/tenants/{tenant_id}/api-keys"

ROUTES = (
    Route(
        "POST",
        _KEYS,
        create,
        "Create an API key",
        NewKey,
        status=201,
        body=CreateKey,
        action="api_key.create",
        resource="api_key_id",
        tag="api keys",
    ),
    Route("GET", _KEYS, listing, "List API keys", Keys, tag="api keys"),
    Route(
        "POST",
        f"{_KEYS}/{{key_id}}/rotate",
        rotate,
        "Rotate an API key",
        NewKey,
        status=201,
        body=RotateKey,
        action="api_key.rotate",
        resource="key_id",
        problems=(404, 409),
        tag="api keys",
    ),
    Route(
        "DELETE",
        f"{_KEYS}/{{key_id}}",
        revoke,
        "Revoke an API key",
        KeyInfo,
        action="api_key.revoke",
        resource="key_id",
        problems=(404,),
        tag="api keys",
    ),
)
