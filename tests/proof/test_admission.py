"""Two hundred run requests at once, three processes, every plan: never one too many or too few."""

import random
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from shared.tenancy import plans, quota
from shared.warehouse import rows
from shared.warehouse.rows import Row
from tests.api_processes import (
    ApiProcess,
    Customer,
    a_customer,
    api_processes,
    burst,
    one_day,
    runs_of,
)
from tests.component.conftest import Cloud
from tests.unit.shared.tenancy.simulation import Chances, Simulation

pytestmark = pytest.mark.usefixtures("central")
FAR = 1_000_000
REQUESTS = 200
REPETITIONS = 50
SENTENCES = {
    "daily": "Daily pipeline quota exceeded. Upgrade or wait until tomorrow.",
    "monthly": "Monthly pipeline quota exceeded. Upgrade or wait until next month.",
    "concurrent": "Concurrent pipeline limit reached. Wait for running pipelines to complete.",
}


@pytest.fixture(autouse=True)
def _within_a_day() -> None:
    one_day(seconds=90)


@pytest.fixture(scope="module")
def processes(cloud: Cloud) -> Iterator[list[ApiProcess]]:
    with api_processes(3, cloud.environment) as started:
        yield started


def limits_of(plan: str, limit: str) -> dict[str, int]:
    """The plan's own value of one limit, the others out of the way."""
    found = plans.plan(plan)
    own = {
        "daily": found.daily_limit,
        "monthly": found.monthly_limit,
        "concurrent": found.concurrent_limit,
    }
    return {name: value if name == limit else FAR for name, value in own.items()}


def use_up(customer: Customer, count: int) -> None:
    """So many runs of today that have ended."""
    now = datetime.now(UTC)
    entries = [
        {
            "tenant_id": customer.tenant_id,
            "slot": slot,
            "event": event,
            "pipeline_logging_id": f"earlier-{slot}",
            "usage_date": now.date(),
            "deadline": now + timedelta(hours=1),
            "recorded_at": now - timedelta(minutes=20),
        }
        for slot in range(1, count + 1)
        for event in ("ADMITTED", "RELEASED")
    ]
    rows.append(quota.LEDGER, [Row(str(uuid.uuid4()), entry) for entry in entries])


@pytest.mark.parametrize("repetition", range(REPETITIONS))
@pytest.mark.parametrize("limit", ["daily", "monthly", "concurrent"])
@pytest.mark.parametrize("plan", ["STARTER", "PROFESSIONAL", "SCALE"])
def test_burst_admits_exactly_what_is_left(
    plan: str,
    limit: str,
    repetition: int,
    processes: list[ApiProcess],
    cloud: Cloud,
    record_property: Callable[[str, float], None],
) -> None:
    chance = random.Random(f"{plan}/{limit}/{repetition}")
    allowed = limits_of(plan, limit)
    customer = a_customer(**allowed)
    left = allowed[limit]
    if limit != "concurrent":
        left = chance.randint(1, min(allowed[limit], 150))
        use_up(customer, allowed[limit] - left)
    before = cloud.calls()

    found = burst(processes, customer, REQUESTS, chance)

    spent = sum(cloud.calls().values()) - sum(before.values())
    record_property("BigQuery calls per request", round(spent / REQUESTS, 2))
    assert found.others == []
    assert len(found.admitted) == left
    assert len(found.refused) == REQUESTS - left
    assert {answer.json()["detail"] for answer in found.refused} == {SENTENCES[limit]}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in found.refused)
    assert runs_of(customer) == found.admitted


@pytest.mark.parametrize("repetition", range(REPETITIONS))
def test_killed_processes_let_nobody_too_many_in(
    repetition: int, processes: list[ApiProcess]
) -> None:
    chance = random.Random(repetition)
    allowed = chance.randint(1, 30)
    kind = chance.choice(["daily", "monthly", "concurrent"])
    limits = {name: allowed if name == kind else FAR for name in SENTENCES}
    customer = a_customer(**limits)

    def kill() -> None:
        for victim in chance.sample(processes, chance.randint(1, 3)):
            threading.Event().wait(chance.uniform(0.01, 0.7))
            victim.kill()
            victim.start()
        for process in processes:
            process.wait()

    first = burst(processes, customer, REQUESTS, chance, meanwhile=kill)
    second = burst(processes, customer, 40, chance)

    promised = first.admitted | second.admitted
    logged = runs_of(customer)
    assert promised <= logged
    assert len(logged) <= quota.read(customer.tenant_id).run_today <= allowed


@pytest.mark.parametrize("batch", range(20))
def test_simulated_histories_never_pass_a_limit(batch: int) -> None:
    for seed in range(batch * 100, batch * 100 + 100):
        chance = random.Random(seed)
        allowed = quota.Limits(
            "TEST", chance.randint(1, 12), chance.randint(1, 15), chance.randint(1, 6)
        )
        misfortunes = Chances(
            death=chance.choice((0, 0.05, 0.2)),
            lost_answer=0.05,
            freeze=chance.choice((0, 0.03, 0.1)),
        )
        now = chance.choice(
            [
                datetime(2026, 11, 20, 12, tzinfo=UTC),
                datetime(2026, 11, 20, 23, 55, tzinfo=UTC),
                datetime(2026, 11, 30, 23, 55, tzinfo=UTC),
            ]
        )
        with Simulation(seed, allowed, chances=misfortunes, now=now) as simulation:
            for number in range(60):
                name = chance.randrange(number + 1) if chance.random() < 0.2 else number
                simulation.request(
                    f"run-{name}",
                    minutes=chance.choice((None, 0, 1, 15)),
                    deadline=chance.choice((5, 60)),
                    repeats=2,
                )
            simulation.run()
            simulation.check()
