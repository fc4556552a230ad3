"""After a rotation of the KMS key: what it wraps is wrapped anew, so that old versions can go."""

from pydantic import Field

from shared.http import auth
from shared.http.routes import Route
from shared.models import Model

_SECONDS = 40.0
"""Of the function's sixty."""


class Rewrap(Model):
    """How much at a time."""

    limit: int = Field(
        default=1000,
        ge=1,
        le=10_000,
        description="Data keys to wrap anew in this call, or a few more.",
    )


class Rewrappable(Model):
    """A credential or an API key."""

    kind: str = Field(description="credential or api_key.", examples=["credential"])
    tenant_id: str
    id: str = Field(examples=["3f0a8a52-7f43-4a0e-9d0b-0a4f5d5f7c11"])


class Rewrapped(Model):
    """What a call did and what is left."""

    primary_version: str = Field(
        description="The version of the KMS key by which all is to be wrapped.",
        examples=["projects/p/locations/us/keyRings/r/cryptoKeys/k/cryptoKeyVersions/2"],
    )
    credentials_rewrapped: int
    api_keys_rewrapped: int
    remaining: int = Field(
        description="Data keys for further calls. At 0 nothing that is in use needs an older"
        " version."
    )
    unreadable: tuple[Rewrappable, ...] = Field(
        description="Wrapped by a version that is destroyed already; to be stored anew."
    )


def rewrap(body: Rewrap) -> Rewrapped:
    """Wrap the data keys of credentials and API keys by the newest version of the KMS key.

    Of every tenant, for at most 40 seconds; ask again until `remaining` is 0. Secrets are not
    decrypted and stay as they are. It may be stopped, repeated, and run twice at once.
    """
    from shared.tenancy import key_rotation

    done = key_rotation.rewrap_all(
        limit=body.limit, seconds=_SECONDS, changed_by=auth.require_operator().name
    )
    kinds = [item.kind for item in done.rewrapped]
    return Rewrapped(
        primary_version=done.primary,
        credentials_rewrapped=kinds.count("credential"),
        api_keys_rewrapped=kinds.count("api_key"),
        remaining=done.remaining,
        unreadable=tuple(
            Rewrappable(kind=item.kind, tenant_id=item.tenant_id, id=item.id)
            for item in done.unreadable
        ),
    )


ROUTES = (
    Route(
        "POST",
        "/api/v1/admin/keys/rewrap",
        rewrap,
        "Wrap data keys anew",
        Rewrapped,
        body=Rewrap,
        auth="admin",
        action="key.rewrap",
        tag="operation",
    ),
)
