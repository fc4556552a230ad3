"""Secrets of the service itself (admin key, checksum key, SMTP password), from Secret Manager."""

from functools import cache

from shared.clients import brief_retry, secret_manager_client
from shared.errors import Permanent, Retryable
from shared.expiring import ExpiringCache
from shared.settings import settings

_TIMEOUT_SECONDS = 10.0


class EmptySecretError(Permanent):
    """A secret's version holds nothing."""

    code = "empty-secret"

    def __init__(self, version_name: str) -> None:
        super().__init__(f"{version_name} is empty: add a version with a value")


def secret_value(version_name: str) -> bytes:
    """The payload of `projects/*/secrets/*/versions/*`, remembered for a minute.

    A rotated secret is therefore in use within a minute, without a deploy.

    Raises:
        Retryable: Secret Manager does not answer, or the payload arrived damaged.
        google.api_core.exceptions.NotFound: no such secret.
    """
    return _remembered().get(version_name, lambda: _access(version_name))


def accepted_values(version_name: str) -> tuple[bytes, ...]:
    """The values of a secret that holds one a line: the first is used, every one is accepted.

    So a value and its successor hold at the same time while the one replaces the other
    (docs/key-rotation.md). Space around a line is no part of it.

    Raises:
        EmptySecretError: there is none.
        Retryable, NotFound: as `secret_value`.
    """
    lines = secret_value(version_name).splitlines()
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise EmptySecretError(version_name)
    return found


def forget(version_name: str) -> None:
    """Read it anew next time: it was refused, and may have been rotated."""
    _remembered().forget(version_name)


@cache
def _remembered() -> ExpiringCache[str, bytes]:
    return ExpiringCache(lifetime_seconds=settings().SECRET_LIFETIME_SECONDS)


def _access(version_name: str) -> bytes:
    import google_crc32c
    from google.api_core.exceptions import RetryError, ServerError, TooManyRequests

    try:
        response = secret_manager_client().access_secret_version(
            name=version_name, retry=brief_retry(_TIMEOUT_SECONDS), timeout=_TIMEOUT_SECONDS
        )
    except (ServerError, TooManyRequests, RetryError) as error:
        raise Retryable("Secret Manager does not answer") from error
    payload: bytes = response.payload.data
    if response.payload.data_crc32c != google_crc32c.value(payload):
        raise Retryable(f"the payload of {version_name} arrived damaged")
    return payload
