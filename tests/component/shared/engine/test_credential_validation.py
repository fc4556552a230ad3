"""Checking stored credentials: by the worker, with the provider, noted with the right secret."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_mock import MockerFixture

from shared.engine import credential_validation
from shared.engine.credential_validation import (
    Validation,
    ValidationMessage,
    ValidationPendingError,
    perform,
    validate,
)
from shared.engine.delivery import Delivery, MalformedMessageError
from shared.errors import FieldProblem, NotFoundError, Retryable
from shared.processors import credential_checks
from shared.processors.credential_checks import Finding
from shared.tenancy import credentials
from shared.tenancy.credential_content import Content
from shared.tenancy.credential_models import parse
from shared.tenancy.credential_views import Provider
from tests.component.conftest import PROJECT
from tests.component.shared.post import Post
from tests.credential_samples import (
    CLIENT_SECRET,
    aws_keys,
    aws_role,
    azure_federated,
    azure_secret,
    service_account,
    workload_identity,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("central")


def content(provider: Provider, fields: dict[str, Any]) -> Content:
    return Content(provider, "default", True, parse(provider, fields))


def store(tenant_id: str, provider: Provider, fields: dict[str, Any]) -> str:
    stored = credentials.store(tenant_id, content(provider, fields), stored_by="alice")
    return stored.credential.credential_id


@pytest.fixture
def owner(fresh: Callable[[], str]) -> str:
    """A tenant's ID."""
    return fresh()


@pytest.fixture
def worker(owner: str, _environment: None) -> Iterator["Worker"]:
    """The credential worker's part, for one tenant."""
    post = Post(PROJECT, owner, ("credential-requests",))
    with ThreadPoolExecutor(1) as pool:
        yield Worker(owner, post, pool)
    post.close()


class Worker:
    """Takes requests as Pub/Sub delivers them."""

    def __init__(self, owner: str, post: Post, pool: ThreadPoolExecutor) -> None:
        self._owner = owner
        self._post = post
        self._pool = pool

    def asked(self, credential_id: str) -> "tuple[Delivery, Future[Validation]]":
        """The request that the API publishes, and what the API will answer."""
        waiting = self._pool.submit(
            validate, self._owner, credential_id, validated_by="bob", patience_seconds=60
        )
        (message,) = wait_until(self._post.received, timeout=60, message="the request")
        delivery = Delivery(
            data=message.data,
            attributes=dict(message.attributes),
            message_id="1",
            subscription="s",
            attempt=1,
        )
        return delivery, waiting

    def checks(self, credential_id: str) -> Validation:
        """What the API answers once the worker has done its part, twice."""
        delivery, waiting = self.asked(credential_id)
        perform(delivery)
        perform(delivery)
        return waiting.result(timeout=60)


@pytest.mark.parametrize(
    ("provider", "fields", "checked"),
    [
        ("GCP", service_account(), "provider"),
        ("GCP", workload_identity(), "shape"),
        ("AZURE", azure_secret(), "provider"),
        ("AZURE", azure_federated(), "shape"),
    ],
)
def test_good_credential_is_valid_and_says_what_was_checked(
    provider: Provider, fields: dict[str, Any], checked: str, owner: str, worker: Worker
) -> None:
    credential_id = store(owner, provider, fields)

    done = worker.checks(credential_id)

    assert (done.finding.checked, done.finding.problems) == (checked, ())
    assert done.credential.validation_status == "VALID"
    assert done.credential.last_validated_at
    assert credentials.get(owner, credential_id).validation_status == "VALID"
    kept = credentials.open_credential(owner, credential_id)
    assert kept == parse(provider, fields).model_dump(exclude_none=True)


def test_refusal_of_the_provider_is_answered_and_noted(
    owner: str, worker: Worker, refuse: Callable[[str], None]
) -> None:
    fields = azure_secret(client_id=str(uuid.uuid4()))
    refuse(fields["client_id"])
    credential_id = store(owner, "AZURE", fields)

    done = worker.checks(credential_id)

    assert [found.pointer for found in done.finding.problems] == ["/credentials/client_secret"]
    assert done.credential.validation_status == "INVALID"
    assert "AADSTS7000215" in (done.credential.validation_error or "")
    assert CLIENT_SECRET not in str(done)
    assert credentials.get(owner, credential_id).validation_status == "INVALID"


def test_request_holds_no_secret(owner: str, worker: Worker) -> None:
    delivery, waiting = worker.asked(store(owner, "AZURE", azure_secret()))

    assert CLIENT_SECRET.encode() not in delivery.data
    assert set(ValidationMessage.model_validate_json(delivery.data).model_dump()) == {
        "version",
        "tenant_id",
        "credential_id",
        "validation_id",
        "requested_by",
        "requested_at",
    }
    perform(delivery)
    waiting.result(timeout=60)


def test_without_a_worker_the_answer_is_to_ask_again(owner: str) -> None:
    credential_id = store(owner, "AZURE", azure_secret())

    with pytest.raises(ValidationPendingError):
        validate(owner, credential_id, validated_by="bob", patience_seconds=0)


def test_provider_that_is_away_lets_the_request_come_again(
    owner: str, worker: Worker, away: Callable[[int], None]
) -> None:
    delivery, waiting = worker.asked(store(owner, "AZURE", azure_secret()))
    away(1)

    with pytest.raises(Retryable, match="does not answer"):
        perform(delivery)
    perform(delivery)

    assert waiting.result(timeout=60).credential.validation_status == "VALID"


def test_secret_that_was_replaced_meanwhile_is_checked_itself(
    owner: str, worker: Worker, mocker: MockerFixture
) -> None:
    credential_id = store(owner, "AWS", aws_role())
    seen: list[Any] = []

    def slow(fields: credential_checks.Fields) -> Finding:
        seen.append(fields)
        if len(seen) == 1:
            new = content("AWS", aws_keys())
            credentials.replace(owner, credential_id, new, changed_by="x")
        return Finding("provider")

    mocker.patch.dict(credential_checks._CHECKS, {"AWS": lambda: slow})
    delivery, waiting = worker.asked(credential_id)

    with pytest.raises(Retryable, match="was replaced"):
        perform(delivery)
    assert credentials.get(owner, credential_id).validation_status == "UNCHECKED"
    perform(delivery)

    assert seen == [aws_role(), aws_keys()]
    assert waiting.result(timeout=60).credential.validation_status == "VALID"


def test_what_cannot_be_decrypted_is_said_to_be_stored_anew(
    owner: str, worker: Worker, mocker: MockerFixture
) -> None:
    credential_id = store(owner, "AWS", aws_role())
    broken = credential_validation.DecryptionError("not yours")
    mocker.patch.object(credentials, "secret_of", side_effect=broken)

    done = worker.checks(credential_id)

    problem = "cannot be decrypted any more; store it again"
    assert done.finding.problems == (FieldProblem("/credentials", problem),)


def test_deleted_credential_is_not_checked(owner: str, worker: Worker) -> None:
    credential_id = store(owner, "AWS", aws_role())
    credentials.destroy(owner, credential_id, destroyed_by="x")

    with pytest.raises(NotFoundError):
        validate(owner, credential_id, validated_by="bob")
    perform(a_delivery(owner, credential_id))  # asked for before it was deleted


def test_old_and_unreadable_requests_are_left_alone(owner: str, mocker: MockerFixture) -> None:
    credential_id = store(owner, "AWS", aws_role())
    check = mocker.patch.object(credential_checks, "check")

    perform(a_delivery(owner, credential_id, age=timedelta(minutes=11)))
    with pytest.raises(MalformedMessageError):
        perform(a_delivery(owner, credential_id).model_copy(update={"data": b"{}"}))

    check.assert_not_called()


def a_delivery(owner: str, credential_id: str, age: timedelta = timedelta(0)) -> Delivery:
    message = ValidationMessage(
        tenant_id=owner,
        credential_id=credential_id,
        validation_id="v",
        requested_by="bob",
        requested_at=datetime.now(UTC) - age,
    )
    return Delivery(
        data=message.model_dump_json().encode(),
        attributes={"tenant_id": owner, "validation_id": "v"},
        message_id="1",
        subscription="s",
        attempt=1,
    )
