"""Two hundred tenants at two in the morning: due at once, killed, starved; each runs once.

The sizes that the product is for are in tests/proof/test_fanout.py and `make bench-fanout`.
"""

import random
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests import fanout_scenarios as scenarios
from tests.api_processes import one_day
from tests.fanout import Fanout, fanout_stack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("fanout")


@pytest.fixture(scope="module")
def fanout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fanout]:
    one_day(seconds=240)
    with fanout_stack(tmp_path_factory.mktemp("fanout")) as started:
        yield started


def test_two_triggers_at_once_run_two_hundred_tenants_once_within_published_limits(
    fanout: Fanout,
) -> None:
    ids = fanout.make(200)
    with fanout.published_limits():
        scenarios.two_triggers_at_once(fanout, ids)


def test_schedulers_dispatchers_and_executors_are_killed_and_every_run_ends_once(
    fanout: Fanout,
) -> None:
    scenarios.triggers_killed(fanout, fanout.make(99), 3, random.Random(3), workers=2)


def test_schedulers_killed_at_backfills_and_at_the_queue_run_each_date_once(
    fanout: Fanout,
) -> None:
    scenarios.queues_killed(fanout, fanout.make(3), 4, 3, random.Random(4))


def test_bigquery_away_for_some_seconds_delays_runs_and_loses_none(fanout: Fanout) -> None:
    scenarios.outage(fanout, fanout.make(20), fanout.make(10), seconds=5)


def test_many_waiting_runs_of_one_tenant_do_not_stand_before_the_one_of_another(
    fanout: Fanout,
) -> None:
    heavy, *light = fanout.make(16)
    fanout.limit(heavy, daily=100, monthly=100, concurrent=100)

    _, order = scenarios.waiting_runs_end(fanout, light, heavy, 45)

    places = [place for place, tenant_id in enumerate(order) if tenant_id != heavy]
    crowd = [place for place, tenant_id in enumerate(order) if tenant_id == heavy]
    assert len(places) == 15
    assert statistics.median(places) < statistics.median(crowd)


def test_after_six_hours_down_each_schedule_runs_once_or_for_each_occurrence(
    fanout: Fanout,
) -> None:
    collapsing, catching_up = fanout.make(2)
    wait_until(lambda: datetime.now(UTC).minute < 59, timeout=90, message="the full hour")
    full_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    missed = [full_hour - timedelta(hours=number) for number in range(6, -1, -1)]
    for tenant_id, catch_up in ((collapsing, False), (catching_up, True)):
        fanout.tenants.arm([tenant_id], missed[0], schedule_cron="0 * * * *", catch_up=catch_up)

    fanout.done("trigger")

    (once,) = fanout.ended([collapsing], missed[-1:])
    assert fanout.runs([collapsing], missed) == [once]
    each = fanout.ended([catching_up], missed)
    assert sorted(run.scheduled_time for run in each) == missed
    assert {run.state for run in [once, *each]} == {"COMPLETED"}
