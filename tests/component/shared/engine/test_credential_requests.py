"""Queued credentials: done once, whatever is delivered how often; a reason when they fail."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_mock import MockerFixture

from shared.engine import credential_requests
from shared.engine.credential_requests import CredentialMessage, enqueue, get, perform
from shared.engine.dead_letters import receive_dead_letter
from shared.engine.delivery import Delivery, MalformedMessageError
from shared.errors import NotFoundError, Retryable
from shared.tenancy import credentials
from shared.tenancy.credential_content import Content
from shared.tenancy.credential_models import parse
from shared.tenancy.tenants import TenantProfile, TenantStatus, record
from tests.credential_samples import EXTERNAL_ID, aws_keys, aws_role

pytestmark = pytest.mark.usefixtures("central")


@pytest.fixture
def published(mocker: MockerFixture) -> list[CredentialMessage]:
    """What was published."""
    found: list[CredentialMessage] = []
    mocker.patch.object(credential_requests, "_publish", found.append)
    return found


@pytest.fixture
def owner(fresh: Callable[[], str]) -> str:
    """A tenant with a profile."""
    tenant_id = fresh()
    now = datetime.now(UTC)
    profile = TenantProfile(tenant_id=tenant_id, status=TenantStatus.ACTIVE, created_at=now)
    record(profile, recorded_by="test")
    return tenant_id


def content(fields: dict[str, Any] | None = None, name: str = "default") -> Content:
    return Content("AWS", name, True, parse("AWS", fields or aws_role()))


def queue(tenant_id: str, *arguments: Any, key: str | None = None) -> str:
    made = enqueue(tenant_id, content(*arguments), requested_by="alice", idempotency_key=key)
    return made.request_id


def delivery(message: CredentialMessage, **attributes: str) -> Delivery:
    known = {"tenant_id": message.tenant_id, "request_id": message.request_id}
    return Delivery(
        data=message.model_dump_json().encode(),
        attributes=known | attributes,
        message_id="1",
        subscription="s",
        attempt=1,
    )


def test_queued_credential_is_stored_and_its_message_holds_no_secret(
    owner: str, published: list[CredentialMessage]
) -> None:
    request_id = queue(owner)
    assert get(owner, request_id).status == "PENDING"
    assert credentials.listed(owner) == []
    (message,) = published
    assert EXTERNAL_ID not in message.model_dump_json()

    perform(delivery(message))

    found = get(owner, request_id)
    assert (found.status, found.error) == ("COMPLETED", None)
    assert found.credential_id
    assert found.finished_at
    assert credentials.open_credential(owner, found.credential_id) == aws_role()
    assert credentials.get(owner, found.credential_id).created_by == "alice"


def test_deliveries_at_once_and_late_store_it_once(
    owner: str, published: list[CredentialMessage]
) -> None:
    request_id = queue(owner)

    def attempt(message: CredentialMessage) -> None:
        try:
            perform(delivery(message))
        except Retryable:
            attempt(message)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(attempt, published * 3))
    credential_id = get(owner, request_id).credential_id
    assert credential_id
    assert [one.credential_id for one in credentials.listed(owner)] == [credential_id]

    credentials.destroy(owner, credential_id, destroyed_by="alice")
    attempt(published[0])
    assert credentials.listed(owner) == []
    assert get(owner, request_id).status == "COMPLETED"


def test_late_delivery_does_not_undo_what_came_after_it(
    owner: str, published: list[CredentialMessage]
) -> None:
    queue(owner)
    perform(delivery(published[0]))
    (stored,) = credentials.listed(owner)
    credentials.replace(owner, stored.credential_id, content(aws_keys()), changed_by="bob")

    perform(delivery(published[0]))

    assert credentials.open_credential(owner, stored.credential_id) == aws_keys()


def test_delivery_that_looked_before_the_other_was_done_changes_nothing(
    owner: str, published: list[CredentialMessage], mocker: MockerFixture
) -> None:
    queue(owner)
    perform(delivery(published[0]))
    (stored,) = credentials.listed(owner)
    credentials.replace(owner, stored.credential_id, content(aws_keys()), changed_by="bob")
    mocker.patch.object(credential_requests, "_state", return_value=None)

    perform(delivery(published[0]))

    assert credentials.open_credential(owner, stored.credential_id) == aws_keys()


def test_credential_of_that_name_is_replaced(
    owner: str, published: list[CredentialMessage]
) -> None:
    before = credentials.store(owner, content(), stored_by="bob").credential.credential_id

    request_id = queue(owner, aws_keys())
    perform(delivery(published[0]))

    assert get(owner, request_id).credential_id == before
    assert credentials.open_credential(owner, before) == aws_keys()


def test_same_idempotency_key_is_the_same_request(
    owner: str, published: list[CredentialMessage]
) -> None:
    first, second = queue(owner, key="k"), queue(owner, key="k")
    assert first == second
    for message in published:
        perform(delivery(message))
    assert len(credentials.listed(owner)) == 1

    again = enqueue(owner, content(), requested_by="alice", idempotency_key="k")
    assert (again.status, len(published)) == ("COMPLETED", 2)


def test_refused_credential_fails_with_the_reason(
    owner: str, published: list[CredentialMessage], mocker: MockerFixture
) -> None:
    mocker.patch.object(credentials, "MAX_CREDENTIALS", 0)
    request_id = queue(owner)

    perform(delivery(published[0]))

    found = get(owner, request_id)
    assert (found.status, found.credential_id) == ("FAILED", None)
    assert "Delete one first" in (found.error or "")
    mocker.stopall()
    perform(delivery(published[0]))
    assert credentials.listed(owner) == []


def test_offboarded_tenant_gets_no_credential(
    owner: str, published: list[CredentialMessage]
) -> None:
    request_id = queue(owner)
    now = datetime.now(UTC)
    gone = TenantProfile(tenant_id=owner, status=TenantStatus.OFFBOARDED, created_at=now)
    record(gone, recorded_by="test")

    perform(delivery(published[0]))

    assert get(owner, request_id).status == "FAILED"


def test_message_of_another_tenant_cannot_use_the_envelope(
    owner: str, fresh: Callable[[], str], published: list[CredentialMessage]
) -> None:
    credentials.store(owner, content(), stored_by="bob")
    victim = fresh()
    enqueue(victim, content(aws_keys()), requested_by="v", idempotency_key=None)
    forged = published[0].model_copy(update={"tenant_id": owner})

    perform(delivery(forged))

    (kept,) = credentials.listed(owner)
    assert credentials.open_credential(owner, kept.credential_id) == aws_role()
    assert get(owner, forged.request_id).status == "FAILED"


def test_dead_letter_fails_the_request_unless_it_is_done(
    owner: str, published: list[CredentialMessage]
) -> None:
    done, dead = queue(owner), queue(owner)
    perform(delivery(published[0]))

    for message in published:
        receive_dead_letter(delivery(message, CloudPubSubDeadLetterSourceDeliveryCount="20"))

    assert get(owner, done).status == "COMPLETED"
    assert get(owner, dead).error == (
        "The credential could not be stored in 20 attempts. Send the request again."
    )


def test_unknown_request_is_not_found(
    owner: str, fresh: Callable[[], str], published: list[CredentialMessage]
) -> None:
    request_id = queue(owner)

    for tenant_id, asked in ((owner, "nothing"), (fresh(), request_id)):
        with pytest.raises(NotFoundError):
            get(tenant_id, asked)


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"tenant_id": 1}'])
def test_what_is_no_request_is_malformed(data: bytes) -> None:
    strange = Delivery(
        data=data,
        attributes={"request_id": "r"},
        message_id="1",
        subscription="s",
        attempt=1,
    )

    with pytest.raises(MalformedMessageError):
        perform(strange)
    receive_dead_letter(strange)
