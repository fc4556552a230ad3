"""A stack of two small functions (`tests/data`), shared by the tests that do not harm it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.stack import RunningStack, running

DATA = Path(__file__).parents[2] / "data"
TOPOLOGY = DATA / "topology.yaml"


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    with running(topology=TOPOLOGY, root=DATA) as started:
        yield started
