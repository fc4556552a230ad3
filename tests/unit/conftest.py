"""Unit tests start from the same environment, whatever shell they run in."""

from collections.abc import Iterator
from dataclasses import fields

import hypothesis
import pytest

from shared.settings import Settings, settings
from shared.telemetry import logger

PROJECT = "convergence-unit"

# The first example of a test may have to wait for a processor that others use.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only the project is set; what a test adds is gone after it, a log handler too."""
    for variable in fields(Settings):
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("GCP_PROJECT_ID", PROJECT)
    settings.cache_clear()
    yield
    settings.cache_clear()
    logger.handlers.clear()  # would go on writing to the output that was captured for the test
    logger.propagate = True
