"""Admission on a real local BigQuery: threads, changing limits, and what it costs in calls."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import Retryable
from shared.tenancy import admission, quota
from shared.tenancy.quota import Admission, Limits, NoSubscriptionError, QuotaExceededError
from shared.warehouse import rows
from shared.warehouse.queries import query
from shared.warehouse.rows import Row
from tests.api_processes import one_day, subscribe
from tests.component.conftest import Cloud
from tests.unit.shared.tenancy.simulation import usage_of

pytestmark = pytest.mark.usefixtures("central")
FAR = 1_000_000


@pytest.fixture(autouse=True)
def _within_a_day() -> None:
    one_day(seconds=10)


@pytest.fixture
def subscriber(fresh: Callable[[], str]) -> Callable[[int, int, int], str]:
    """A fresh tenant with these limits a day, a month and at a time."""

    def make(daily: int = FAR, monthly: int = FAR, concurrent: int = FAR) -> str:
        tenant_id = fresh()
        subscribe(tenant_id, daily, monthly, concurrent)
        return tenant_id

    return make


def ask(tenant_id: str, run_id: str | None = None, minutes: float = 60) -> Admission:
    deadline = datetime.now(UTC) + timedelta(minutes=minutes)
    return admission.admit(tenant_id, run_id or str(uuid.uuid4()), deadline=deadline)


def outcome(tenant_id: str, run_id: str | None = None) -> Admission | Exception:
    try:
        return ask(tenant_id, run_id)
    except (QuotaExceededError, Retryable) as error:
        return error


def give_back(tenant_id: str, entry: Admission) -> None:
    admission.release(tenant_id, entry.run_id, entry.slot, entry.usage_date)


def ledger(tenant_id: str) -> list[dict[str, Any]]:
    return rows.read(
        query(
            "SELECT * FROM `tenants.usage_ledger` WHERE tenant_id = @tenant_id ORDER BY slot",
            tenant_id=tenant_id,
        )
    )


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ((4, FAR, FAR), "Daily pipeline quota exceeded. Upgrade or wait until tomorrow."),
        ((FAR, 4, FAR), "Monthly pipeline quota exceeded. Upgrade or wait until next month."),
        (
            (FAR, FAR, 4),
            "Concurrent pipeline limit reached. Wait for running pipelines to complete.",
        ),
    ],
)
def test_sixty_threads_get_exactly_the_limit(
    limits: tuple[int, int, int], sentence: str, subscriber: Callable[..., str]
) -> None:
    tenant_id = subscriber(*limits)

    with ThreadPoolExecutor(60) as pool:
        outcomes = list(pool.map(lambda _: outcome(tenant_id), range(60)))

    admitted = [found for found in outcomes if isinstance(found, Admission)]
    refused = [found for found in outcomes if isinstance(found, QuotaExceededError)]
    assert (len(admitted), len(refused)) == (4, 56)
    assert {entry.slot for entry in admitted} == {1, 2, 3, 4}
    assert {str(error) for error in refused} == {sentence}
    assert all(error.retry_after_seconds > 0 for error in refused)


def test_admitted_run_costs_three_calls_and_a_refused_one_costs_one(
    subscriber: Callable[..., str], cloud: Cloud
) -> None:
    tenant_id = subscriber(concurrent=2)
    calls = [cloud.calls()]
    for _ in range(3):
        outcome(tenant_id)
        calls.append(cloud.calls())

    spent = [
        {
            name: count - before.get(name, 0)
            for name, count in after.items()
            if count - before.get(name, 0)
        }
        for before, after in pairwise(calls)
    ]

    three = {"jobs.query": 1, "jobs.insert": 1, "tabledata.insertAll": 1}
    assert spent == [three, three, {"jobs.query": 1}]


def test_burst_in_one_process_is_served_together(
    subscriber: Callable[..., str], cloud: Cloud
) -> None:
    tenant_id = subscriber(concurrent=20)
    ask(tenant_id)
    before = cloud.calls()

    with ThreadPoolExecutor(40) as pool:
        outcomes = list(pool.map(lambda _: outcome(tenant_id), range(40)))

    assert sum(isinstance(found, Admission) for found in outcomes) == 19
    spent = {name: count - before[name] for name, count in cloud.calls().items()}
    assert spent["jobs.insert"] == 19
    assert spent["jobs.query"] < 20
    assert spent["tabledata.insertAll"] <= spent["jobs.query"]


def test_end_of_a_run_frees_its_place_at_once_but_not_its_day(
    subscriber: Callable[..., str],
) -> None:
    tenant_id = subscriber(daily=3, concurrent=1)
    for _ in range(3):
        entry = ask(tenant_id)
        assert isinstance(outcome(tenant_id), QuotaExceededError)
        give_back(tenant_id, entry)
        give_back(tenant_id, entry)

    with pytest.raises(QuotaExceededError) as refused:
        ask(tenant_id)

    assert refused.value.limit == "daily"
    assert quota.read(tenant_id).running == 0


def test_run_that_is_in_stays_in_under_its_slot(subscriber: Callable[..., str]) -> None:
    tenant_id = subscriber(daily=1)
    first = ask(tenant_id, "run")

    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(lambda _: ask(tenant_id, "run"), range(8)))
    give_back(tenant_id, first)

    assert {(entry.slot, entry.usage_date) for entry in again} == {(1, first.usage_date)}
    assert ask(tenant_id, "run").released
    assert quota.read(tenant_id).run_today == 1


def test_deadline_frees_the_place_of_a_run_that_nobody_ended(
    subscriber: Callable[..., str],
) -> None:
    tenant_id = subscriber(concurrent=1)
    ask(tenant_id, minutes=0)

    assert ask(tenant_id).slot == 2


def test_upgrade_takes_effect_with_the_next_request(subscriber: Callable[..., str]) -> None:
    tenant_id = subscriber(daily=1)
    ask(tenant_id)
    assert isinstance(outcome(tenant_id), QuotaExceededError)

    subscribe(tenant_id, daily=2, monthly=FAR, concurrent=FAR)

    assert ask(tenant_id).slot == 2
    assert isinstance(outcome(tenant_id), QuotaExceededError)


def test_tenant_without_a_subscription_may_not_run(fresh: Callable[[], str]) -> None:
    with pytest.raises(NoSubscriptionError, match="no active subscription"):
        ask(fresh())


@pytest.mark.parametrize("method", ["jobs.query", "jobs.insert", "tabledata.insertAll"])
def test_passing_failure_of_any_call_is_ridden_out(
    method: str, subscriber: Callable[..., str], cloud: Cloud
) -> None:
    tenant_id = subscriber(daily=1)
    cloud.fail(method, status=503, reason="backendError")

    assert ask(tenant_id).slot == 1
    assert isinstance(outcome(tenant_id), QuotaExceededError)


def test_hole_is_named_once_the_slot_above_has_been_there_for_ten_minutes(
    subscriber: Callable[..., str],
) -> None:
    tenant_id = subscriber()
    for slot, minutes in ((1, 30), (4, 11), (6, 9)):
        append(tenant_id, slot, "ADMITTED", minutes=minutes)

    admission.refund_holes()
    admission.refund_holes()

    assert [(row["slot"], row["event"]) for row in ledger(tenant_id)] == [
        (1, "ADMITTED"),
        (2, "REFUNDED"),
        (3, "REFUNDED"),
        (4, "ADMITTED"),
        (6, "ADMITTED"),
    ]


def test_nothing_to_refund_asks_for_no_append(cloud: Cloud) -> None:
    admission.refund_holes()
    before = cloud.calls()

    assert admission.refund_holes() == 0
    assert cloud.calls()["tabledata.insertAll"] == before["tabledata.insertAll"]


def append(tenant_id: str, slot: int, event: str, *, minutes: float, days: int = 0) -> None:
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    values = {
        "tenant_id": tenant_id,
        "slot": slot,
        "event": event,
        "pipeline_logging_id": f"run-{slot}",
        "usage_date": at.date() - timedelta(days=days),
        "deadline": at + timedelta(hours=1),
        "recorded_at": at,
    }
    rows.append(quota.LEDGER, [Row(f"{tenant_id}-{slot}-{event}-{uuid.uuid4()}", values)])


entries = st.lists(
    st.fixed_dictionaries(
        {
            "slot": st.integers(1, 8),
            "run": st.integers(1, 6),
            "event": st.sampled_from(["ADMITTED", "ADMITTED", "RELEASED", "REFUNDED"]),
            "day": st.sampled_from([0, 0, 0, 1, 2, 3, 29, 31, 40]),
            "age": st.sampled_from([0, 5, 9.5, 10.5, 60]),
            "deadline": st.sampled_from([-1, 1, 60]),
        }
    ),
    max_size=14,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(found=entries)
def test_query_says_what_the_model_of_the_races_says(
    found: list[dict[str, Any]], subscriber: Callable[..., str]
) -> None:
    tenant_id = subscriber(5, 6, 7)
    now = datetime.now(UTC)
    runs: dict[int, int] = {}
    values = []
    for entry in found:
        run = runs.setdefault(entry["slot"], entry["run"])
        at = now - timedelta(minutes=entry["age"])
        values.append(
            {
                "tenant_id": tenant_id,
                "slot": entry["slot"],
                "event": entry["event"],
                "pipeline_logging_id": f"run-{run}",
                "usage_date": now.date() - timedelta(days=entry["day"]),
                "deadline": now + timedelta(minutes=entry["deadline"]),
                "recorded_at": at,
            }
        )
    rows.append(quota.LEDGER, [Row(str(uuid.uuid4()), value) for value in values])
    names = [f"run-{number}" for number in range(1, 5)]

    usage = quota.read(tenant_id, names)

    limits = Limits("TEST", 5, 6, 7)
    assert usage == usage_of(values, usage.at, limits, usage.subscribed_at, names)
    since = quota.window_begins(usage.at)
    older = [value["slot"] for value in values if value["usage_date"] < since]
    assert quota.highest_slot_before(tenant_id, since) == max(older, default=0)
