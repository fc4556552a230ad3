"""The fan-out at the sizes that it is promised for; some minutes a test.

Smaller versions are in tests/system/test_fanout.py; ten thousand tenants in `make bench-fanout`.
"""

import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import fanout_scenarios as scenarios
from tests.api_processes import one_day
from tests.fanout import Fanout, fanout_stack

KILLS = 20
AS_DEPLOYED = None
_Note = Callable[[str, object], None]


@pytest.fixture(autouse=True)
def _within_a_day() -> None:
    one_day(seconds=900)


@pytest.fixture(scope="module")
def fanout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fanout]:
    with fanout_stack(tmp_path_factory.mktemp("fanout")) as started:
        yield started


def test_trigger_killed_at_twenty_moments_runs_each_occurrence_once(fanout: Fanout) -> None:
    scenarios.triggers_killed(fanout, fanout.make(300), KILLS, random.Random(1))


def test_backfills_and_queue_killed_at_twenty_moments_run_each_date_once(fanout: Fanout) -> None:
    scenarios.queues_killed(fanout, fanout.make(KILLS), 6, KILLS, random.Random(2))


def test_dispatcher_and_executors_killed_during_five_hundred_runs(fanout: Fanout) -> None:
    scenarios.workers_killed(fanout, fanout.make(500), random.Random(3), KILLS)


def test_a_thousand_runs_killed_anywhere_give_every_slot_back(
    fanout: Fanout, record_property: _Note
) -> None:
    """The cleanup is killed as well, at twenty moments."""
    ids = fanout.make(200)

    ends = scenarios.slots_come_back(fanout, ids, 8, KILLS, random.Random(4))

    record_property("ends", dict(ends))
    assert ends.total() >= 1_000
    assert ends["TIMED_OUT"] >= 100


def test_five_hundred_waiting_runs_of_one_tenant_delay_nobody_by_a_tenth(
    fanout: Fanout, record_property: _Note
) -> None:
    """499 tenants with one waiting run each: alone, beside the crowd, and alone once more."""
    heavy, *light = fanout.make(500)
    fanout.limit(heavy, daily=1_000, monthly=10_000, concurrent=10)

    before, _ = scenarios.waiting_runs_end(fanout, light, None, 0)
    beside, order = scenarios.waiting_runs_end(fanout, light, heavy, 500)
    fanout.limit(heavy, daily=1_000, monthly=10_000, concurrent=0)
    after, _ = scenarios.waiting_runs_end(fanout, light, None, 0)

    medians = [round(statistics.median(times), 1) for times in (before, beside, after)]
    longest = [round(times[-1], 1) for times in (before, beside, after)]
    record_property("medians", medians)
    record_property("longest", longest)
    record_property("runs of the crowd meanwhile", order.count(heavy))
    # The mean of the runs around it: a machine that gets slower or faster meanwhile cancels out.
    assert medians[1] <= 1.1 * statistics.mean((medians[0], medians[2]))
    assert longest[1] <= 1.1 * statistics.mean((longest[0], longest[2]))


def test_two_minutes_without_bigquery_lose_nothing(tmp_path: Path, record_property: _Note) -> None:
    """With the pauses between deliveries that are deployed."""
    with fanout_stack(tmp_path, backoff_seconds=AS_DEPLOYED) as fanout:
        ids = fanout.make(150)
        scenarios.outage(fanout, ids[:100], ids[100:], seconds=120)
        refused = Counter(
            {
                name: fanout.stack.log(name).count("not now, will be delivered again")
                for name in scenarios.WORKERS
            }
        )
        record_property("deliveries refused", dict(refused))
        assert refused.total() > 0
        assert fanout.dead_letters() == []
