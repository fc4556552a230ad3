"""Secrets of the service itself (admin key, checksum key, SMTP password), from Secret Manager."""

from shared.clients import brief_retry, secret_manager_client
from shared.errors import Retryable
from shared.expiring import ExpiringCache

_TIMEOUT_SECONDS = 10.0
_cache: ExpiringCache[str, bytes] = ExpiringCache(lifetime_seconds=60)


def secret_value(version_name: str) -> bytes:
    """The payload of `projects/*/secrets/*/versions/*`, remembered for a minute.

    A rotated secret is therefore in use within a minute, without a deploy.

    Raises:
        Retryable: Secret Manager does not answer, or the payload arrived damaged.
        google.api_core.exceptions.NotFound: no such secret.
    """
    return _cache.get(version_name, lambda: _access(version_name))


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
