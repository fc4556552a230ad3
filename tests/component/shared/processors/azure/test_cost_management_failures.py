"""What Azure does to us: every time a retry or an error that helps, never half a day."""

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.engine.execute import execute
from shared.processors.azure import calls
from shared.processors.contract import AttemptFailedError
from shared.processors.provider_credentials import NoCredentialError, WrongExecutorError
from shared.processors.provider_errors import (
    CredentialExpiredError,
    IncompleteAnswerError,
    ProviderRefusedError,
    ProviderUnavailableError,
    SourceShapeError,
)
from shared.settings import settings
from tests.azure import a_page
from tests.component.shared.engine.logs import run_rows, steps
from tests.component.shared.post import Post
from tests.component.shared.processors.aws.scripted import Answer, Scripted, page, scripted
from tests.component.shared.processors.azure.conftest import store_credential
from tests.component.shared.processors.azure.test_cost_management import (
    a_config,
    context_of,
    in_table,
    run,
)
from tests.credential_samples import CLIENT_SECRET, UUID, azure_federated, azure_secret
from tests.runs import a_message, a_run, a_step

BEFORE = [1.5, 20251114, "rg-shop", "Storage", "EUR"]
TODAY = [2.5, 20251115, "rg-shop", "Storage", "EUR"]
FETCH = a_step(
    "fetch_costs",
    ps_type="azure.cost_management",
    config={"source": {}, "destination": {"table": "costs"}},
)
QUERY = "/providers/Microsoft.CostManagement/query?api-version=2023-11-01&$skiptoken="


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """Cost Management, to be told what to say; pauses are short, so that tests are quick."""
    monkeypatch.setattr(calls, "_FIRST_WAIT_SECONDS", 0.01)
    with scripted() as service:
        monkeypatch.setenv("AZURE_MANAGEMENT_URL", service.url)
        settings.cache_clear()
        yield service


def error(code: str, status: int, message: str = "No.", **headers: str) -> Answer:
    body = json.dumps({"error": {"code": code, "message": message}})
    return Answer(
        body.encode(), status, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


@pytest.fixture
def known(tenant: str, central: None) -> str:
    """A tenant whose subscription is known beforehand."""
    store_credential(tenant, azure_secret(subscription_id=UUID))
    return tenant


def next_link(azure: Scripted, token: str = "2", *, case: Callable[[str], str] = str) -> str:
    return azure.url + case(f"/subscriptions/{UUID}{QUERY}{token}")


def test_throttling_and_failures_are_waited_out(known: str, azure: Scripted) -> None:
    azure.will_say(
        error("429", 429, x_ms_ratelimit_microsoft_costmanagement_qpu_retry_after="1"),
        error("InternalServerError", 500),
        Answer(b"<html>Bad Gateway</html>", 502),
        page(a_page([BEFORE], nextLink=next_link(azure))),
        error("429", 429, Retry_After="1"),
        page(a_page([TODAY])),
    )
    assert run(context_of(known)).rows_processed == 2
    assert len(azure.asked) == 6
    assert all(asked == azure.asked[0] for asked in azure.asked)
    assert azure.asked[0]["timePeriod"] == {
        "from": "2025-11-14T00:00:00+00:00",
        "to": "2025-11-15T23:59:59+00:00",
    }


def test_a_long_wait_is_the_next_attempts_and_is_known(known: str, azure: Scripted) -> None:
    azure.will_say(
        Answer(
            b"{}",
            429,
            headers={
                "x-ms-ratelimit-microsoft.costmanagement-entity-retry-after": "1800",
                "x-ms-ratelimit-microsoft.costmanagement-clienttype-retry-after": "9",
                "Retry-After": "5",
            },
        )
    )
    with pytest.raises(ProviderUnavailableError, match="throttles requests") as raised:
        run(context_of(known))
    assert raised.value.retry_after_seconds == 1800
    assert len(azure.asked) == 1


def throttled(seconds: int) -> Answer:
    return error("429", 429, Retry_After=str(seconds))


def test_a_long_wait_is_kept_by_follow_ups_and_uses_up_no_delivery(
    known: str, azure: Scripted, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEP_TIMEOUT_SECONDS", "1")
    settings.cache_clear()
    message = a_message(FETCH, run=a_run(known), deadline=datetime.now(UTC) + timedelta(hours=2))
    azure.will_say(throttled(1800))
    with pytest.raises(ProviderUnavailableError, match="throttles requests"):
        execute(message)

    for follow_up in (1, 2):
        execute(message)  # acknowledged: raises nothing
        (message,) = post.steps()
        assert message.follow_up == follow_up

    assert len(azure.asked) == 1
    assert steps(message.run) == [("fetch_costs", 1, "FAILED")]


def test_a_wait_that_outlasts_the_run_ends_it_at_once_and_says_so(
    known: str, azure: Scripted, post: Post
) -> None:
    ends = datetime.now(UTC) + timedelta(minutes=20)
    message = a_message(FETCH, run=a_run(known), deadline=ends)
    azure.will_say(throttled(1800))

    execute(message)

    (row,) = run_rows(message.run)
    assert (row["status"], row["error_code"]) == ("FAILED", "retry-too-late")
    assert "may be tried again in 1800 s, and the run ends before that" in row["error"]


def other_columns(**changes: Any) -> dict[str, Any]:
    columns = [dict(column) for column in a_page([])["properties"]["columns"]]
    return a_page(
        [TODAY], columns=[c | {"name": changes.get(c["name"], c["name"])} for c in columns]
    )


SECOND_PAGES: list[tuple[Answer, type[Exception], str]] = [
    (error("429", 429), ProviderUnavailableError, "throttles requests (429 429)"),
    (error("Oops", 503), ProviderUnavailableError, "failed (503 Oops)"),
    (error("ExpiredAuthenticationToken", 401), ProviderUnavailableError, "token has expired"),
    (Answer(b'{"properties": {"col'), IncompleteAnswerError, "page 2 is no whole JSON"),
    (Answer(b'{"properties": {"rows"', announced=900), IncompleteAnswerError, "broke off"),
    (Answer(b"[]"), IncompleteAnswerError, "page 2 has no properties"),
    (page(a_page([BEFORE])), IncompleteAnswerError, "came twice"),
    (page(a_page(None)), IncompleteAnswerError, "page 2 has no rows"),
    (page(a_page([TODAY], columns=None)), IncompleteAnswerError, "page 2 has no columns"),
    (page(other_columns(Cost="PreTaxCost")), SourceShapeError, "column Cost of page 2 is missing"),
    (page(other_columns(ServiceName="Cost")), SourceShapeError, "Cost of page 2 comes twice"),
    (page(a_page([TODAY[:4]])), SourceShapeError, "rows[0] of page 2 has 4 values for 5 columns"),
    (page(a_page([["1", *TODAY[1:]]])), SourceShapeError, "Cost in rows[0] of page 2 is no number"),
    (page(a_page([[None, *TODAY[1:]]])), SourceShapeError, "is missing"),
    (page(a_page([[1, 20251118, *TODAY[2:]]])), SourceShapeError, "20251118, which was not asked"),
    (page(a_page([[1, "soon", *TODAY[2:]]])), SourceShapeError, "'soon', which is no day"),
    (page(a_page([[*TODAY[:4], None]])), SourceShapeError, "Currency in rows[0]"),
    (Answer(json.dumps(a_page([TODAY])).replace("2.5", "NaN").encode()), IncompleteAnswerError, ""),
    (
        Answer(json.dumps(a_page([TODAY])).replace("2.5", f"1e{'9' * 30}").encode()),
        IncompleteAnswerError,
        "page 2 is no whole JSON",
    ),
    (
        Answer(json.dumps(a_page([TODAY])).replace("2.5", "1e99").encode()),
        SourceShapeError,
        "holds",
    ),
]


def test_a_second_page_that_fails_leaves_the_days_as_they_were(known: str, azure: Scripted) -> None:
    azure.will_say(page(a_page([BEFORE, TODAY])))
    run(context_of(known))
    before = in_table(known)
    first = page(a_page([[100, *BEFORE[1:]]], nextLink=next_link(azure)))
    for last, kind, text in SECOND_PAGES:
        azure.will_say(first, last)
        with pytest.raises(kind) as raised:
            run(context_of(known))
        assert text in str(raised.value)
        assert in_table(known) == before, text


def test_pages_that_lead_to_themselves_end(known: str, azure: Scripted) -> None:
    for_ever = page(a_page([], nextLink=next_link(azure, case=str.upper).replace("HTTP", "http")))
    azure.will_say(for_ever)
    with pytest.raises(IncompleteAnswerError, match="announced twice"):
        run(context_of(known))


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/subscriptions/x",
        "http://127.0.0.1:9/x",
        "//evil.example/x",
        "{url}@evil.example/x",
        "{url}.evil.example/x",
        "{url}\\@evil.example/x",
        "{url}/subscriptions/other" + QUERY,
        "{url}/x\nHost: evil",
        "file:///etc/passwd",
        7,
    ],
)
def test_a_link_to_another_place_is_never_followed(
    known: str, azure: Scripted, elsewhere: Any
) -> None:
    target = elsewhere.format(url=azure.url) if isinstance(elsewhere, str) else elsewhere
    azure.will_say(page(a_page([BEFORE], nextLink=target)))
    with pytest.raises(SourceShapeError, match="nextLink of page 1"):
        run(context_of(known))
    assert len(azure.asked) == 1


def test_a_redirect_is_not_followed(known: str, azure: Scripted) -> None:
    azure.will_say(Answer(b"", 307, headers={"Location": f"{azure.url}/elsewhere"}))
    with pytest.raises(ProviderRefusedError, match="sends elsewhere"):
        run(context_of(known))
    assert len(azure.asked) == 1


def test_a_refusal_says_what_to_do_and_tells_no_secret(
    known: str,
    azure: Scripted,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("convergence"), "propagate", True)
    for status, text in ((403, "the role Cost Management Reader"), (400, "refused the request")):
        azure.will_say(error("Refused", status, f"not with {CLIENT_SECRET} or {{token}}"))
        with caplog.at_level(logging.INFO), pytest.raises(ProviderRefusedError) as raised:
            run(context_of(known))
        shown = "".join(traceback.format_exception(raised.value)) + caplog.text
        assert text in shown
        assert CLIENT_SECRET not in shown
        assert "[secret] or [secret]" in str(raised.value)


def test_an_answer_without_content_has_no_costs(known: str, azure: Scripted) -> None:
    azure.will_say(Answer(b"", 204))
    result = run(context_of(known))
    assert (result.rows_processed, result.outputs["control_totals"]) == (0, [])
    assert in_table(known) == []


def test_an_application_that_entra_refuses_has_to_be_replaced(
    tenant: str, central: None, refuse: Callable[[str], None]
) -> None:
    application = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
    fields = azure_secret(client_id=application, subscription_id=application)
    credential_id = store_credential(tenant, fields)
    refuse(application)
    with pytest.raises(ProviderRefusedError) as raised:
        run(context_of(tenant))
    assert f"PUT /api/v1/tenants/{tenant}/credentials/{credential_id}" in str(raised.value)
    assert "AADSTS7000215" in str(raised.value)


def test_an_expired_secret_is_told_from_a_wrong_one(
    known: str, azure: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_URL", azure.url)
    settings.cache_clear()
    body = json.dumps({"error": "invalid_client", "error_codes": [7000222]})
    azure.will_say(Answer(body.encode(), 401))
    with pytest.raises(CredentialExpiredError, match="Create a new one"):
        run(context_of(known))


def test_an_entra_that_is_away_is_another_attempt(known: str, away: Callable[[int], None]) -> None:
    away(1)
    with pytest.raises(AttemptFailedError, match="Microsoft Entra ID does not answer"):
        run(context_of(known))


def test_a_federated_application_must_trust_the_services_issuer(tenant: str, central: None) -> None:
    store_credential(tenant, azure_federated())
    config = a_config(source={"scope": f"/subscriptions/{'0' * 36}", "group_by": []})
    with pytest.raises(ProviderRefusedError, match=r"https://accounts\.google\.com"):
        run(context_of(tenant), config)


def test_without_a_credential_the_route_to_store_one_is_named(tenant: str, central: None) -> None:
    with pytest.raises(NoCredentialError, match=f"POST /api/v1/tenants/{tenant}/credentials"):
        run(context_of(tenant))


def test_another_familys_executor_opens_no_credential(
    known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEP_FAMILY", "gcp")
    settings.cache_clear()
    with pytest.raises(WrongExecutorError, match="this is 'gcp'"):
        run(context_of(known))
