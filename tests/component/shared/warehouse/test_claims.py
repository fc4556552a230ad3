"""A claim has exactly one winner, on any number of threads and processes."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from google.cloud.bigquery import QueryJob

from shared.warehouse import claims
from shared.warehouse.claims import Claim, ClaimHeldError
from shared.warehouse.failures import WarehouseBusyError
from tests.component.conftest import Cloud
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[4]
CONTENDER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from shared.warehouse import claims

def won(owner):
    try:
        claims.take(sys.argv[1], owner, 600)
    except claims.ClaimHeldError:
        return False
    return True

claims.take(sys.argv[1] + "-warm-up-" + sys.argv[2], "self", 600)
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(13) as pool:
    print(sum(pool.map(won, [sys.argv[2] + str(n) for n in range(13)])))
"""


def attempt(key: str, owner: str, lease_seconds: float = 600) -> Claim | None:
    try:
        return claims.take(key, owner, lease_seconds)
    except ClaimHeldError:
        return None


def test_fifty_threads_have_one_winner(fresh: Callable[[], str]) -> None:
    key = fresh()

    with ThreadPoolExecutor(50) as pool:
        outcomes = list(pool.map(lambda n: attempt(key, f"owner-{n}"), range(50)))

    assert [claim for claim in outcomes if claim] == [Claim(key, 1)]


def test_four_processes_have_one_winner(fresh: Callable[[], str]) -> None:
    key = fresh()
    contenders = [
        subprocess.Popen(
            [sys.executable, "-c", CONTENDER, key, f"process-{n}-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for n in range(4)
    ]
    for contender in contenders:
        assert contender.stdout
        assert contender.stdout.readline() == "ready\n"

    for contender in contenders:
        assert contender.stdin
        contender.stdin.write("go\n")
        contender.stdin.flush()
    winners = [int(contender.communicate(timeout=60)[0]) for contender in contenders]

    assert sum(winners) == 1


def test_winner_finds_its_own_claim_again(fresh: Callable[[], str]) -> None:
    key = fresh()

    assert claims.take(key, "me", 600) == Claim(key, 1)
    assert claims.take(key, "me", 600) == Claim(key, 1)


def test_loser_learns_how_long_the_lease_still_runs(fresh: Callable[[], str]) -> None:
    key = fresh()
    claims.take(key, "first", 600)

    with pytest.raises(ClaimHeldError) as caught:
        claims.take(key, "second", 600)

    assert caught.value.key == key
    assert 500 < (caught.value.retry_after_seconds or 0) <= 600


def test_ended_lease_goes_to_exactly_one_successor(fresh: Callable[[], str]) -> None:
    key = fresh()
    claims.take(key, "dead", 600)

    def successors() -> list[Claim]:
        with ThreadPoolExecutor(10) as pool:
            found = pool.map(lambda n: attempt(key, f"heir-{n}", 0.5), range(10))
        return [claim for claim in found if claim]

    assert wait_until(successors, message="the lease's end") == [Claim(key, 2)]


def test_other_keys_are_not_in_the_way(fresh: Callable[[], str]) -> None:
    key = fresh()
    claims.take(key, "first", 600)

    assert claims.take(f"{key}-other", "second", 600).generation == 1


def test_answer_lost_on_the_way_does_not_lose_the_claim(
    fresh: Callable[[], str], cloud: Cloud
) -> None:
    cloud.fail("jobs.insert", times=2, status=503, reason="backendError")

    assert claims.take(fresh(), "me", 600).generation == 1


def test_claim_reads_no_table_and_bills_nothing(fresh: Callable[[], str]) -> None:
    from shared.clients import bigquery_client

    key = fresh()
    claims.take(key, "me", 600)

    job = bigquery_client().get_job(f"{key}--1")
    assert isinstance(job, QueryJob)
    assert job.total_bytes_billed in {None, 0}
    assert list(job.referenced_tables) == []


def test_refusal_that_does_not_pass_is_no_held_claim(
    fresh: Callable[[], str], cloud: Cloud
) -> None:
    cloud.fail("jobs.insert", status=403, reason="quotaExceeded", message="Quota exceeded")

    with pytest.raises(WarehouseBusyError) as caught:
        claims.take(fresh(), "me", 600)
    assert caught.value.retry_after_seconds == 600
