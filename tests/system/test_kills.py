"""Processes die at any line; what was accepted still ends."""

import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.system.world import Tenant, World
from tests.waiting import wait_until

KILLS = 20
RUNS = 30


def kill(world: World, function: str) -> None:
    """kill -9, and wait until another process is there."""
    before = world.stack.function_processes()[function]
    os.killpg(before, signal.SIGKILL)
    wait_until(
        lambda: world.stack.function_processes()[function] != before,
        message=f"the restart of {function}",
        timeout=30,
    )


def test_every_run_that_was_accepted_by_a_dying_api_ends(world: World) -> None:
    """What was answered with 202 ends; what was not leaves nothing that hinders the next run."""
    tenants = [world.onboard(subscription_plan="SCALE") for _ in range(4)]
    accepted: list[tuple[Tenant, str]] = []

    def start(number: int) -> None:
        tenant = tenants[number % len(tenants)]
        try:
            answer = world.request_run(tenant, "gcp/cost/dryrun")
        except httpx.TransportError:
            return
        assert answer.status_code in {202, 429, 502, 503}, answer.text
        if answer.status_code == 202:
            accepted.append((tenant, answer.json()["pipeline_logging_id"]))

    with ThreadPoolExecutor(6) as callers:
        started = [callers.submit(start, number) for number in range(32)]
        for finished in (6, 12, 18):
            wait_until(
                lambda finished=finished: sum(f.done() for f in started) >= finished,
                message=f"{finished} answers",
            )
            kill(world, "api")
        for future in started:
            future.result()
    assert accepted
    for tenant, run_id in accepted:
        assert world.finished(tenant, run_id, timeout=120)["status"] == "COMPLETED"


def test_every_accepted_run_ends_though_executors_are_killed(world: World) -> None:
    """kill -9 of executors, twenty times in the middle of thirty runs."""
    dice = random.Random(20251115)
    tenants = [world.onboard(subscription_plan="SCALE") for _ in range(3)]
    runs = []
    for number in range(RUNS):
        tenant = tenants[number % len(tenants)]
        foreign = {"source_billing_table": "convergence-local.tenants.usage_ledger"}
        body = foreign if number % 5 == 0 else {}
        runs.append((tenant, world.start(tenant, **body), bool(body)))
    for _ in range(KILLS):
        kill(world, dice.choice(["step-gcp", "step-gcp", "step-shared"]))
    for tenant, run_id, fails in runs:
        run = world.finished(tenant, run_id, timeout=180)
        assert run["status"] == ("FAILED" if fails else "COMPLETED"), run
    for tenant in tenants:
        table = f"{tenant.tenant_id}.x_meta_pipeline_runs"
        rows = world.query(
            f"SELECT pipeline_logging_id, COUNT(*) AS n FROM `{table}`"
            " GROUP BY pipeline_logging_id HAVING n > 1"
        )
        assert rows == []
