"""Admission: BigQuery calls per admitted run, counted at the server, in bursts of run requests.

500 requests of 100 STARTER tenants at once, to one process of the api function and to three. The
second burst counts: keys and profiles are known then, as in a process that has served for a minute.
Limits: 6 calls per admitted run, no mutating DML.

    python benchmarks/admission.py
"""

import asyncio
import os
import random
import sys
import time

import httpx

from benchmarks._cloud import local_cloud

TENANTS = 100
REQUESTS = 500
LIMIT = 6.0
_NO_REUSE = httpx.Limits(max_connections=200, max_keepalive_connections=0)


def calls(url: str) -> dict[str, object]:
    return dict(httpx.get(f"{url}/_local/calls").json())


def total(counted: dict[str, object]) -> int:
    return sum(count for count in counted.values() if isinstance(count, int))


def dml(counted: dict[str, object]) -> int:
    by_kind = counted.get("dml", {})
    assert isinstance(by_kind, dict)
    return sum(by_kind.values())


async def send(posts: list[tuple[str, dict[str, str]]]) -> tuple[int, int]:
    """How many were admitted and how many refused."""
    body = {"date": "2025-11-15"}
    async with httpx.AsyncClient(timeout=120, limits=_NO_REUSE) as http:
        answers = await asyncio.gather(
            *(http.post(url, headers=headers, json=body) for url, headers in posts)
        )
    statuses = [answer.status_code for answer in answers]
    unexpected = [answer.text for answer in answers if answer.status_code not in {202, 429}]
    assert not unexpected, unexpected[0]
    return statuses.count(202), statuses.count(429)


def measure(count: int, environment: dict[str, str]) -> float:
    from shared.tenancy import plans
    from tests.api_processes import a_customer, api_processes, subscribe

    chance = random.Random(count)
    starter = plans.plan("STARTER")
    limits = (starter.daily_limit, starter.monthly_limit, starter.concurrent_limit)
    customers = [a_customer(0, 0, 0) for _ in range(TENANTS)]
    with api_processes(count, environment) as processes:
        posts = [
            (customer.run_url(chance.choice(processes)), customer.headers)
            for customer in customers
            for _ in range(REQUESTS // TENANTS)
        ]
        chance.shuffle(posts)
        for process in processes:
            asyncio.run(send([(c.run_url(process), c.headers) for c in customers]))
        for customer in customers:
            subscribe(customer.tenant_id, *limits)
        before = calls(environment["BIGQUERY_EMULATOR_HOST"])
        began = time.perf_counter()
        admitted, refused = asyncio.run(send(posts))
        seconds = time.perf_counter() - began
        after = calls(environment["BIGQUERY_EMULATOR_HOST"])
    assert admitted == TENANTS * starter.concurrent_limit, admitted
    ratio = (total(after) - total(before)) / admitted
    statements = dml(after) - dml(before)
    print(
        f"processes {count}: {admitted} admitted, {refused} refused in {seconds:.1f} s;"
        f" {ratio:.2f} calls per admitted run (limit {LIMIT:.0f}), DML statements {statements}"
    )
    return ratio if not statements else float("inf")


def main() -> int:
    with local_cloud() as environment:
        worst = max(measure(count, environment) for count in (1, 3))
    return 1 if worst > LIMIT else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
