"""A local mailbox with an HTTP client for it."""

from collections.abc import Iterator

import httpx
import pytest

from infra.local.mailbox.server import MailboxService, start


@pytest.fixture
def mailbox() -> Iterator[MailboxService]:
    service = start(host="127.0.0.1", port=0, state=None)
    yield service
    service.stop()


@pytest.fixture
def http(mailbox: MailboxService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{mailbox.port}") as client:
        yield client
