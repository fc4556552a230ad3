"""A local BigQuery as its own process, Google's client, and a fresh dataset for every test."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from google.cloud import bigquery

from tests.conformance.bigquery.servers import PROJECT, Server, client_of, start_server


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    server = start_server()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def client(server_url: str) -> bigquery.Client:
    return client_of(server_url)


@pytest.fixture
def own_server() -> Iterator[Callable[[Path | None], Server]]:
    """Starts servers that a test has for itself; all are gone after it."""
    started: list[Server] = []

    def start(state: Path | None = None) -> Server:
        server = start_server(state)
        started.append(server)
        return server

    yield start
    for server in started:
        if server.process.returncode is None:
            server.kill()


@pytest.fixture
def fresh() -> Callable[[str], str]:
    """Names that no other test uses."""

    def name(prefix: str) -> str:
        return f"{prefix}_{uuid.uuid4().hex[:10]}"

    return name


@pytest.fixture
def dataset(client: bigquery.Client, fresh: Callable[[str], str]) -> Iterator[str]:
    """A fresh dataset as "project.dataset"."""
    name = f"{PROJECT}.{fresh('ds')}"
    client.create_dataset(name)
    yield name
    client.delete_dataset(name, delete_contents=True, not_found_ok=True)


@pytest.fixture
def http(server_url: str) -> Iterator[httpx.Client]:
    """Bare HTTP against the server, for what Google's client cannot send."""
    with httpx.Client(base_url=server_url) as bare:
        yield bare
