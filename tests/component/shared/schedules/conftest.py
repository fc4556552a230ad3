"""Templates of the tests' own and the requests that are published for a tenant."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api_processes import one_day
from tests.component.shared.engine.templates import CHAIN, templates
from tests.component.shared.schedules.scheduling import RunRequests


@pytest.fixture
def within_a_day() -> None:
    """No midnight comes between that would begin another day's quota."""
    one_day(seconds=30)


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The template gcp/test/chain."""
    with templates(tmp_path / "configs", monkeypatch, chain=CHAIN):
        yield


@pytest.fixture
def run_requests(tenant: str) -> Iterator[RunRequests]:
    """What is published to `run-requests` for the tenant."""
    opened = RunRequests(tenant)
    yield opened
    opened.close()
