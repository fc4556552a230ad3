"""Three processes of the api function race for one tenant's quota."""

import random
import threading
from collections.abc import Iterator

import pytest

from shared.tenancy import quota
from tests.api_processes import ApiProcess, a_customer, api_processes, burst, one_day, runs_of
from tests.component.conftest import Cloud

pytestmark = pytest.mark.usefixtures("central")
FAR = 1_000_000
REQUESTS = 60


@pytest.fixture(autouse=True)
def _within_a_day() -> None:
    one_day(seconds=30)


@pytest.fixture(scope="module")
def processes(cloud: Cloud) -> Iterator[list[ApiProcess]]:
    with api_processes(3, cloud.environment) as started:
        yield started


@pytest.mark.parametrize("repetition", range(3))
@pytest.mark.parametrize(
    ("limits", "words"),
    [((6, FAR, FAR), "Daily"), ((FAR, 9, FAR), "Monthly"), ((FAR, FAR, 3), "Concurrent")],
    ids=["daily", "monthly", "concurrent"],
)
def test_burst_over_three_processes_fills_the_limit_exactly(
    repetition: int,
    limits: tuple[int, int, int],
    words: str,
    processes: list[ApiProcess],
    cloud: Cloud,
) -> None:
    customer = a_customer(*limits)

    found = burst(processes, customer, REQUESTS, random.Random(repetition))

    assert found.others == []
    assert len(found.admitted) == min(limits)
    assert len(found.refused) == REQUESTS - min(limits)
    for answer in found.refused:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"].startswith(f"{words} pipeline")
        assert int(answer.headers["Retry-After"]) > 0
    assert runs_of(customer) == found.admitted
    assert quota.read(customer.tenant_id).run_today == min(limits)


@pytest.mark.parametrize("repetition", range(3))
def test_process_killed_in_the_burst_lets_nobody_too_many_in(
    repetition: int, processes: list[ApiProcess]
) -> None:
    chance = random.Random(repetition)
    customer = a_customer(daily=5, monthly=FAR, concurrent=FAR)
    victim = chance.choice(processes)

    def kill() -> None:
        threading.Event().wait(chance.uniform(0.02, 0.6))
        victim.kill()
        victim.start()
        victim.wait()

    first = burst(processes, customer, REQUESTS, chance, meanwhile=kill)
    second = burst(processes, customer, 20, chance)

    promised = first.admitted | second.admitted
    assert len(promised) <= 5
    assert promised <= runs_of(customer)
    assert len(runs_of(customer)) <= quota.read(customer.tenant_id).run_today <= 5
