"""Which service does not answer is named, within seconds."""

import time

import pytest

from shared import clients
from shared.engine import readiness
from shared.expiring import ExpiringCache
from shared.settings import settings

pytestmark = pytest.mark.usefixtures("central")


@pytest.fixture(autouse=True)
def _no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    cache: ExpiringCache[str, dict[str, str]] = ExpiringCache(0)
    monkeypatch.setattr(readiness, "_cache", cache)


def test_everything_answers() -> None:
    assert readiness.checks() == {"bigquery": "ok", "pubsub": "ok", "kms": "ok"}


def test_service_that_is_away_is_named_and_the_others_are_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KMS_EMULATOR_HOST", "127.0.0.1:1")
    settings.cache_clear()
    clients.kms_client.cache_clear()
    began = time.monotonic()
    try:
        found = readiness.checks()
    finally:
        clients.kms_client.cache_clear()

    assert time.monotonic() - began < 30
    assert (found["bigquery"], found["pubsub"]) == ("ok", "ok")
    assert "does not answer" in found["kms"]


def test_missing_topic_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_TOPIC_PREFIX", "nowhere-")
    settings.cache_clear()

    assert "missing" in readiness.checks()["pubsub"]


def test_bigquery_in_trouble_is_told_at_once(cloud: object) -> None:
    cloud.fail("datasets.get", times=5, status=503, reason="backendError")  # type: ignore[attr-defined]

    assert "does not answer" in readiness.checks()["bigquery"]
