"""Secrets of the service itself, from the local Secret Manager."""

from collections.abc import Callable

import pytest
from google.api_core.exceptions import NotFound
from google.cloud.secretmanager_v1 import Secret, SecretPayload

from shared import secret_values
from shared.clients import secret_manager_client
from shared.errors import Retryable
from shared.expiring import ExpiringCache
from shared.secret_values import EmptySecretError, accepted_values, secret_value
from shared.settings import settings
from tests.component.conftest import PROJECT


@pytest.fixture
def secret(fresh: Callable[[], str]) -> str:
    """A secret without a version; its name."""
    made = secret_manager_client().create_secret(
        parent=f"projects/{PROJECT}",
        secret_id=fresh(),
        secret=Secret({"replication": {"automatic": {}}}),
    )
    return str(made.name)


def add_version(secret: str, data: bytes) -> None:
    secret_manager_client().add_secret_version(parent=secret, payload=SecretPayload(data=data))


def test_latest_version_is_remembered_for_a_minute(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    cache: ExpiringCache[str, bytes] = ExpiringCache(60, clock=lambda: now[0])
    monkeypatch.setattr(secret_values, "_remembered", lambda: cache)
    add_version(secret, b"first")

    assert secret_value(f"{secret}/versions/latest") == b"first"
    add_version(secret, b"second")
    assert secret_value(f"{secret}/versions/latest") == b"first"
    now[0] = 61
    assert secret_value(f"{secret}/versions/latest") == b"second"


def test_a_secret_of_several_lines_has_several_values(secret: str) -> None:
    add_version(secret, b"new\n  old \r\n\n")

    assert accepted_values(f"{secret}/versions/latest") == (b"new", b"old")


def test_a_secret_of_nothing_but_space_is_told(secret: str) -> None:
    add_version(secret, b" \n")

    with pytest.raises(EmptySecretError, match="is empty: add a version"):
        accepted_values(f"{secret}/versions/latest")


def test_a_value_that_was_refused_is_read_anew(secret: str) -> None:
    add_version(secret, b"first")
    assert secret_value(f"{secret}/versions/latest") == b"first"
    add_version(secret, b"second")

    secret_values.forget(f"{secret}/versions/latest")

    assert secret_value(f"{secret}/versions/latest") == b"second"


def test_pinned_version_stays_what_it_was(secret: str) -> None:
    add_version(secret, b"first")
    add_version(secret, b"second")

    assert secret_value(f"{secret}/versions/1") == b"first"


def test_secret_without_a_version_is_not_found_and_not_remembered(secret: str) -> None:
    with pytest.raises(NotFound):
        secret_value(f"{secret}/versions/latest")
    add_version(secret, b"first")

    assert secret_value(f"{secret}/versions/latest") == b"first"


def test_secret_manager_that_does_not_answer_is_asked_again_later(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_MANAGER_EMULATOR_HOST", "127.0.0.1:1")
    settings.cache_clear()
    monkeypatch.setattr(secret_values, "secret_manager_client", secret_manager_client.__wrapped__)
    monkeypatch.setattr(secret_values, "_TIMEOUT_SECONDS", 0.5)

    with pytest.raises(Retryable, match="Secret Manager does not answer"):
        secret_value(f"{secret}/versions/latest")
