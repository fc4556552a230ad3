"""What Blob Storage does to us: a retry or an error that helps, never half a month."""

import json
from collections.abc import Callable, Iterator
from xml.sax.saxutils import escape

import pytest

from shared.processors.azure import calls
from shared.processors.contract import AttemptFailedError
from shared.processors.provider_errors import (
    IncompleteAnswerError,
    ProviderRefusedError,
    ProviderUnavailableError,
)
from shared.settings import settings
from tests.azure import Export, as_csv, focus_rows
from tests.component.conftest import Cloud
from tests.component.shared.processors.aws.scripted import Answer, Scripted, scripted
from tests.component.shared.processors.azure.test_cost_export import (
    NOVEMBER,
    costs,
    expected,
    in_table,
    run,
)

ITEMS = focus_rows(NOVEMBER, 30)
CONTENT = as_csv(ITEMS)


@pytest.fixture
def export(cloud: Cloud) -> Export:
    """An export that Azurite does not have."""
    return Export(cloud.environment)


@pytest.fixture
def blobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """Blob Storage, to be told what to say; pauses are short, so that tests are quick."""
    monkeypatch.setattr(calls, "_FIRST_WAIT_SECONDS", 0.01)
    with scripted() as service:
        monkeypatch.setenv("AZURE_BLOB_URL", f"{service.url}/{{account}}")
        settings.cache_clear()
        yield service


def a_list(*blobs: tuple[str, int], marker: str = "") -> Answer:
    """A page of List Blobs (Microsoft Learn, "List Blobs")."""
    listed = "".join(
        f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>Sat, 15 Nov 2025 04:00:00"
        f" GMT</Last-Modified><Etag>0x1</Etag><Content-Length>{size}</Content-Length>"
        "</Properties></Blob>"
        for name, size in blobs
    )
    content = f"<Blobs>{listed}</Blobs><NextMarker>{marker}</NextMarker>"
    return Answer(f"<EnumerationResults>{content}</EnumerationResults>".encode())


def error(status: int, code: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = f"<Error><Code>{code}</Code></Error>".encode()
    return Answer(body, status, headers={"x-ms-error-code": code, **named})


def delivery(export: Export) -> tuple[Answer, Answer, Answer]:
    """Two pages of the list, and the manifest."""
    folder = export.folder(NOVEMBER, "run-1")
    blob = {"blobName": f"{folder}/a.csv", "byteCount": len(CONTENT), "dataRowCount": len(ITEMS)}
    manifest = json.dumps({"blobs": [blob]}).encode()
    first = a_list((f"{folder}/a.csv", len(CONTENT)), marker="2")
    return first, a_list((f"{folder}/manifest.json", len(manifest))), Answer(manifest)


def test_failures_are_waited_out_and_every_page_of_the_list_is_read(
    customer: str, export: Export, blobs: Scripted
) -> None:
    first, second, manifest = delivery(export)
    part = Answer(CONTENT, 206)
    blobs.will_say(
        *(error(503, "ServerBusy", Retry_After="1"), first, error(500, "InternalError"), second),
        *(manifest, part, error(500, "OperationTimedOut"), part),
    )

    assert run(customer, export).rows_processed == 30

    assert costs(customer) == expected(ITEMS)
    assert len(blobs.asked) == 8


FAILURES: list[tuple[Callable[[Export], list[Answer]], type[Exception], str]] = [
    (lambda _: [error(429, "TooManyRequests", Retry_After="1800")], ProviderUnavailableError,
     "throttles requests"),
    (lambda _: [error(503, "ServerBusy")], ProviderUnavailableError, "503 ServerBusy"),
    (lambda _: [error(401, "ExpiredAuthenticationToken")], ProviderUnavailableError,
     "the next attempt asks for another"),
    (lambda _: [error(403, "AuthorizationPermissionMismatch")], ProviderRefusedError,
     "the role Storage Blob Data Reader"),
    (lambda _: [Answer(a_list().body[:-5])], IncompleteAnswerError, "a list is no whole XML"),
    (lambda e: [*delivery(e)[:2], Answer(delivery(e)[2].body[:-2])], IncompleteAnswerError,
     "no whole JSON"),
    (lambda e: [*delivery(e), Answer(CONTENT[:200], 206, announced=len(CONTENT))],
     AttemptFailedError, "Azure Blob Storage"),
    (lambda e: [*delivery(e), Answer(CONTENT, 206), Answer(CONTENT[:-300], 206)],
     IncompleteAnswerError, "broke off at byte 0"),
    (lambda e: [*delivery(e), Answer(CONTENT, 206), error(412, "ConditionNotMet")],
     IncompleteAnswerError, "was replaced while it was read"),
    (lambda e: [*delivery(e), Answer(CONTENT, 206), error(404, "BlobNotFound")],
     IncompleteAnswerError, "is gone, though it was listed"),
]  # fmt: skip


def test_what_fails_leaves_the_month_as_it_was(
    customer: str, export: Export, blobs: Scripted
) -> None:
    blobs.will_say(*delivery(export), Answer(CONTENT, 206))
    run(customer, export)
    before = in_table(customer)
    for answers, kind, text in FAILURES:
        blobs.will_say(*answers(export))
        with pytest.raises(kind) as raised:
            run(customer, export)
        assert text in str(raised.value)
        assert in_table(customer) == before, text


def test_a_wait_that_is_asked_for_is_told(customer: str, export: Export, blobs: Scripted) -> None:
    blobs.will_say(error(503, "ServerBusy", Retry_After="600"))
    with pytest.raises(ProviderUnavailableError) as raised:
        run(customer, export)
    assert raised.value.retry_after_seconds == 600
    assert len(blobs.asked) == 1
