"""API keys: `{tenant_id}_api_` + 32 random characters + an 8-character checksum.

The checksum is keyed, so a forged key is refused without a query. Of a key only its SHA-256 and its
KMS envelope are stored; the key itself is shown once, when it is minted.
"""

import hashlib
import hmac
import logging
import re
import secrets
import string
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from pydantic import Field

from shared.crypto import seal
from shared.errors import ConvergenceError, UnauthenticatedError
from shared.expiring import ExpiringCache
from shared.models import Model
from shared.secret_values import accepted_values
from shared.settings import settings
from shared.telemetry import log
from shared.warehouse import rows
from shared.warehouse.queries import query
from shared.warehouse.rows import Row

_ALPHABET = string.ascii_letters + string.digits
_RANDOM_LENGTH = 32
_CHECKSUM_LENGTH = 8
_KEY = re.compile(
    rf"^([a-z][a-z0-9_]{{2,49}})_api_([A-Za-z0-9]{{{_RANDOM_LENGTH}}})([A-Za-z0-9]{{{_CHECKSUM_LENGTH}}})$"
)
_PREFIX_LENGTH = 6
SCOPES = ("read", "run", "manage")
LOG = "tenants.tenant_api_keys_log"
_MARK_EVERY = timedelta(hours=1)
"""How exact `last_used_at` is."""


class ApiKey(Model):
    """A key as it is stored: enough to recognise it, not enough to use it."""

    api_key_id: str
    tenant_id: str
    key_hash: str
    is_active: bool
    scopes: tuple[str, ...] = Field(default=(), description="Empty means all.")
    expires_at: datetime | None = None
    last_used_at: datetime | None = None

    @property
    def is_usable(self) -> bool:
        """Whether the key opens anything now."""
        unexpired = self.expires_at is None or self.expires_at > datetime.now(UTC)
        return self.is_active and unexpired


class MintedKey(Model):
    """A new key in the clear, to be shown once, and the row that is stored of it."""

    secret: str = Field(repr=False)
    api_key_id: str
    key_prefix: str = ""
    created_at: datetime | None = None


_cache: ExpiringCache[str, ApiKey | None] = ExpiringCache(lifetime_seconds=60)


def mint(
    tenant_id: str,
    *,
    name: str,
    created_by: str,
    scopes: Sequence[str] = SCOPES,
    expires_at: datetime | None = None,
) -> MintedKey:
    """Make and store a key of `tenant_id`.

    Raises:
        Retryable: KMS, Secret Manager or BigQuery does not answer; nothing usable is left behind,
            since the key was shown to nobody.
    """
    random = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    checksum = next(_checksums(tenant_id, random))
    secret = f"{tenant_id}_api_{random}{checksum}"
    key_id = str(uuid.uuid4())
    now = datetime.now(UTC)
    prefix = secret[: len(f"{tenant_id}_api_") + _PREFIX_LENGTH]
    values = {
        "tenant_id": tenant_id,
        "api_key_id": key_id,
        "name": name,
        "key_hash": _hash(secret),
        "key_prefix": prefix,
        "encrypted_key": seal(secret.encode(), owner_of(tenant_id)),
        "scopes": list(scopes),
        "is_active": True,
        "created_at": now,
        "created_by": created_by,
        "expires_at": expires_at,
        "recorded_by": created_by,
        **rows.stamp(),
    }
    rows.append(LOG, [Row(key_id, values)])
    return MintedKey(secret=secret, api_key_id=key_id, key_prefix=prefix, created_at=now)


def owner_of(tenant_id: str) -> str:
    """Whom a key's envelope is sealed for: the additional authenticated data of both its layers."""
    return tenant_id


def verify(secret: str) -> ApiKey:
    """The key that `secret` is.

    A malformed or forged secret costs no query; a known one costs one a minute, so a revocation is
    honoured within a minute.

    Raises:
        UnauthenticatedError: unknown, forged, expired or revoked; one text for all.
        Retryable: the store does not answer.
    """
    match = _KEY.fullmatch(secret)
    if not match:
        raise UnauthenticatedError
    tenant_id, random, checksum = match.groups()
    if not any(hmac.compare_digest(one, checksum) for one in _checksums(tenant_id, random)):
        raise UnauthenticatedError
    digest = _hash(secret)
    key = _cache.get(digest, lambda: _find(digest))
    usable = (
        key is not None
        and hmac.compare_digest(key.key_hash, digest)
        and key.tenant_id == tenant_id
        and key.is_usable
    )
    if key is None or not usable:
        raise UnauthenticatedError
    return key


def _find(digest: str) -> ApiKey | None:
    found = rows.read(
        query(
            "SELECT api_key_id, tenant_id, key_hash, is_active, scopes, expires_at, last_used_at"
            " FROM `tenants.tenant_api_keys` WHERE key_hash = @digest",
            digest=digest,
        )
    )
    key = ApiKey.model_validate(found[0]) if found else None
    if key and key.is_usable:
        _mark_use(key)
    return key


def _mark_use(key: ApiKey) -> None:
    """Record that the key is in use; a mark that cannot be written now is left out."""
    now = datetime.now(UTC)
    if key.last_used_at and now - key.last_used_at < _MARK_EVERY:
        return
    values = {
        "tenant_id": key.tenant_id,
        "api_key_id": key.api_key_id,
        "key_hash": key.key_hash,
        "is_active": key.is_active,
        "last_used_at": now,
        "recorded_by": "api",
        **rows.stamp(),
    }
    try:
        rows.append(LOG, [Row(f"{key.api_key_id}-used-{now:%Y%m%d%H}", values)])
    except ConvergenceError as error:
        log(logging.WARNING, "use of a key not marked", error=str(error))


def forget(key_hash: str) -> None:
    """Let the next use of this key ask the store: something about it has changed."""
    _cache.forget(key_hash)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _checksums(tenant_id: str, random: str) -> Iterator[str]:
    """What may stand at the key's end: first what is written now, then what was written before."""
    for key in accepted_values(settings().require("API_KEY_CHECKSUM_SECRET")):
        digest = hmac.digest(key, f"{tenant_id}_api_{random}".encode(), "sha256")
        number = int.from_bytes(digest, "big")
        yield "".join(
            _ALPHABET[number // len(_ALPHABET) ** place % len(_ALPHABET)]
            for place in range(_CHECKSUM_LENGTH)
        )
