"""When runs of a schedule start."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.schedules import times
from shared.schedules.definitions import Schedule

NIGHT = datetime(2026, 7, 1, 2, tzinfo=UTC)


def a_schedule(**changes: Any) -> Schedule:
    values: dict[str, Any] = {
        "config_id": "0b7e5a0e-0000-4000-8000-000000000000",
        "tenant_id": "acme",
        "provider": "gcp",
        "domain": "cost",
        "pipeline_template": "cost_billing",
        "schedule_cron": "0 2 * * *",
        "revision": 1,
    }
    return Schedule(**(values | changes))


def next_run(schedule: Schedule, after: datetime) -> datetime | None:
    return times.next_run_time(schedule, schedule.config_id, after)


def test_a_run_starts_with_its_jitter_after_the_occurrence() -> None:
    schedule = a_schedule(max_jitter_seconds=3600)
    wait = times.jitter(schedule, schedule.config_id)

    assert timedelta(seconds=1) < wait < timedelta(seconds=3600)
    assert next_run(schedule, NIGHT - timedelta(hours=1)) == NIGHT + wait
    assert next_run(schedule, NIGHT) == NIGHT + wait
    assert next_run(schedule, NIGHT + wait - timedelta(seconds=1)) == NIGHT + wait
    assert next_run(schedule, NIGHT + wait) == NIGHT + wait + timedelta(days=1)


def test_without_jitter_it_starts_with_the_occurrence() -> None:
    assert next_run(a_schedule(), NIGHT - timedelta(seconds=1)) == NIGHT


def test_a_paused_schedule_runs_never() -> None:
    assert next_run(a_schedule(is_active=False), NIGHT) is None


@pytest.mark.parametrize("active", [True, False])
def test_the_next_occurrences_show_both_clocks(active: bool) -> None:
    schedule = a_schedule(schedule_cron="30 2 * * *", timezone="America/New_York", is_active=active)

    found = times.upcoming(schedule, datetime(2026, 3, 7, 12, tzinfo=UTC), 2)

    assert [one.local_time for one in found] == [
        "2026-03-08T03:00:00-04:00",
        "2026-03-09T02:30:00-04:00",
    ]
    assert found[0].scheduled_time == found[0].run_time == datetime(2026, 3, 8, 7, tzinfo=UTC)


def test_an_occurrence_whose_run_has_not_started_is_still_to_come() -> None:
    schedule = a_schedule(max_jitter_seconds=3600)

    found = times.upcoming(schedule, NIGHT + timedelta(seconds=1), 5)

    assert found[0].scheduled_time == NIGHT
    assert found[0].run_time == next_run(schedule, NIGHT)
    assert len(found) == 5
