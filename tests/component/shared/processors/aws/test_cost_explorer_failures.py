"""What Cost Explorer does to us: every time a retry or an error that helps, never half a day."""

import json
import logging
import traceback
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared.processors.aws import session
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
from tests.aws import EXTERNAL_ID, a_day, a_group, a_page
from tests.component.shared.processors.aws.conftest import store_credential
from tests.component.shared.processors.aws.scripted import Answer, Scripted, error, page, scripted
from tests.component.shared.processors.aws.test_cost_explorer import (
    BEFORE,
    DAY,
    EC2,
    S3,
    a_config,
    context_of,
    costs,
    in_table,
    run,
)
from tests.credential_samples import SECRET_KEY, aws_keys

WHOLE = a_page(a_day(BEFORE, *costs((EC2, "1"))), a_day(DAY, *costs((EC2, "2"), (S3, "3"))))


@pytest.fixture
def ce(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """Cost Explorer, to be told what to say; one repetition a call, so that tests are quick."""
    monkeypatch.setattr(session, "_ATTEMPTS", 2)
    with scripted() as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_COST_EXPLORER", service.url)
        yield service


PASSING = {
    "throttled": error("ThrottlingException", "Rate exceeded"),
    "limit exceeded": error("LimitExceededException", "Rate exceeded"),
    "500": error("InternalFailure", status=500),
    "502 that is no JSON": Answer(b"<html>Bad Gateway</html>", status=502),
}


def test_what_passes_is_tried_again_at_once(customer: str, ce: Scripted) -> None:
    for name, failure in PASSING.items():
        ce.asked.clear()
        ce.will_say(failure, page(WHOLE))
        assert run(context_of(customer)).rows_processed == 3, name
        assert len(ce.asked) == 2, name


SECOND_PAGES: list[tuple[Answer, type[Exception], str]] = [
    (error("ThrottlingException", status=429), ProviderUnavailableError, "throttles requests"),
    (error("InternalFailure", status=500), ProviderUnavailableError, "failed (500"),
    (error("RequestChangedException"), ProviderUnavailableError, "RequestChangedException"),
    (Answer(b"{"), IncompleteAnswerError, "page 2 has no ResultsByTime"),
    (Answer(b'{"ResultsByTime": [', announced=900), IncompleteAnswerError, "page 2 has no"),
    (page(a_page(a_day(BEFORE))), IncompleteAnswerError, "nothing was said of 2025-11-15"),
    (page(WHOLE), IncompleteAnswerError, "came twice"),
    (page(a_page(token="two")), IncompleteAnswerError, "announced twice"),
    (page({**a_page(), "ResultsByTime": None}), IncompleteAnswerError, "no ResultsByTime"),
    (
        page(a_page({**a_day(DAY), "Groups": None})),
        SourceShapeError,
        "ResultsByTime[0] of page 2.Groups is missing",
    ),
    (
        page(a_page(a_day(DAY, a_group("444455556666", UnblendedCost="1")))),
        SourceShapeError,
        "Keys has 1 values for 2 groupings",
    ),
    (
        page(a_page(a_day(DAY, a_group("4", "S", UnblendedCost="1,5", UsageQuantity="1")))),
        SourceShapeError,
        "UnblendedCost.Amount is '1,5', which is no number",
    ),
    (
        page(a_page(a_day(DAY, a_group("4", "S", UnblendedCost="1")))),
        SourceShapeError,
        "UsageQuantity.Amount is missing",
    ),
    (
        page(a_page(a_day(DAY + timedelta(days=3)))),
        SourceShapeError,
        "is '2025-11-18', which was not asked for",
    ),
]


def test_a_second_page_that_fails_leaves_the_days_as_they_were(customer: str, ce: Scripted) -> None:
    ce.will_say(page(WHOLE))
    run(context_of(customer))
    before = in_table(customer)
    first = page(a_page(a_day(BEFORE, *costs((EC2, "100"))), token="two"))
    for last, kind, text in SECOND_PAGES:
        ce.will_say(first, last)
        with pytest.raises(kind) as raised:
            run(context_of(customer))
        assert text in str(raised.value)
        assert in_table(customer) == before, text


def test_every_page_is_asked_with_the_same_question(customer: str, ce: Scripted) -> None:
    second = a_page(a_day(DAY, *costs((S3, "1"))))
    ce.will_say(page(a_page(a_day(BEFORE), token="two")), page(second))
    config = a_config(
        source={
            **a_config().source.model_dump(exclude={"filter"}),
            "filter": {
                "all_of": [
                    {"dimension": "RECORD_TYPE", "values": ["Usage"]},
                    {"none_of": [{"tag": "team", "values": ["x"]}]},
                ]
            },
        }
    )
    run(context_of(customer), config)
    one, two = ce.asked
    assert two == {**one, "NextPageToken": "two"}
    assert one["TimePeriod"] == {"Start": "2025-11-14", "End": "2025-11-16"}
    assert one["Filter"] == {
        "And": [
            {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Usage"]}},
            {"Not": {"Tags": {"Key": "team", "Values": ["x"]}}},
        ]
    }


def test_an_expired_token_of_the_tenant_has_to_be_replaced(
    tenant: str, central: None, ce: Scripted
) -> None:
    keys = aws_keys(access_key_id="ASIAIOSFODNN7EXAMPLE", session_token="t" * 40)
    credential_id = store_credential(tenant, keys)
    ce.will_say(error("ExpiredTokenException", "The security token included is expired"))
    with pytest.raises(CredentialExpiredError) as raised:
        run(context_of(tenant))
    assert f"PUT /api/v1/tenants/{tenant}/credentials/{credential_id}" in str(raised.value)


def test_an_expired_session_of_a_role_is_another_attempt(customer: str, ce: Scripted) -> None:
    ce.will_say(error("ExpiredTokenException", "The security token included is expired"))
    with pytest.raises(AttemptFailedError, match="the next attempt begins one"):
        run(context_of(customer))


TALKATIVE = [
    error("UnrecognizedClientException", f"The security token {SECRET_KEY} is invalid"),
    error("SignatureDoesNotMatch", f"The String should have been '{SECRET_KEY}'", status=403),
    error("AccessDeniedException", f"User with {SECRET_KEY} may not ce:GetCostAndUsage"),
    error("SomethingNew", f"{SECRET_KEY} and {aws_keys()['access_key_id']}"),
]


def test_a_refusal_says_what_to_do_and_tells_no_secret(
    tenant: str,
    central: None,
    ce: Scripted,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store_credential(tenant, aws_keys())
    monkeypatch.setattr(logging.getLogger("convergence"), "propagate", True)
    for answer in TALKATIVE:
        ce.will_say(answer)
        with caplog.at_level(logging.INFO), pytest.raises(ProviderRefusedError) as raised:
            run(context_of(tenant))
        shown = "".join(traceback.format_exception(raised.value))
        assert SECRET_KEY not in shown + caplog.text
        assert aws_keys()["access_key_id"] not in shown + caplog.text


def test_without_a_credential_the_route_to_store_one_is_named(tenant: str, central: None) -> None:
    with pytest.raises(NoCredentialError, match=f"POST /api/v1/tenants/{tenant}/credentials"):
        run(context_of(tenant))


def test_another_familys_executor_opens_no_credential(
    customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEP_FAMILY", "gcp")
    settings.cache_clear()
    with pytest.raises(WrongExecutorError, match="this is 'gcp'"):
        run(context_of(customer))


def test_the_results_hold_no_secret(customer: str, ce: Scripted) -> None:
    ce.will_say(page(WHOLE))
    result = run(context_of(customer))
    kept: list[Any] = [dict(result.outputs), in_table(customer)]
    assert EXTERNAL_ID not in json.dumps(kept, default=str)
