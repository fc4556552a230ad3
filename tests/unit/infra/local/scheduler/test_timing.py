"""When jobs run, and the pauses before retries."""

from datetime import UTC, datetime

import pytest

from infra.local.scheduler.timing import Schedule, pause_after
from infra.topology import Retry


def test_pauses_are_those_of_google_s_example() -> None:
    retry = Retry.model_construct(
        count=8, minimum_backoff_seconds=10, maximum_backoff_seconds=300, maximum_doublings=3
    )
    pauses = [pause_after(failures, retry) for failures in range(1, 9)]
    assert pauses == [10, 20, 40, 80, 160, 240, 300, 300]


def test_as_many_retries_as_asked_for() -> None:
    retry = Retry(count=2)
    assert [pause_after(failures, retry) for failures in (1, 2, 3)] == [5, 10, None]
    assert pause_after(1, Retry()) is None


def test_next_time_is_on_the_wall_clock_of_the_zone() -> None:
    schedule = Schedule("0 2 * * *", "America/New_York")
    following = schedule.next_after(datetime(2025, 7, 1, 12, tzinfo=UTC))
    assert following.isoformat() == "2025-07-02T02:00:00-04:00"


@pytest.mark.parametrize(
    ("moment", "latest"), [("05:00:00", "05:00"), ("05:09:59", "05:00"), ("05:10:00", "05:10")]
)
def test_latest_time_may_be_the_moment_itself(moment: str, latest: str) -> None:
    schedule = Schedule("*/10 * * * *", "Etc/UTC")
    found = schedule.latest_until(datetime.fromisoformat(f"2025-07-01T{moment}+00:00"))
    assert found.strftime("%H:%M") == latest


def test_restricted_days_of_month_and_week_are_both_days() -> None:
    schedule = Schedule("0 0 13 * 5", "Etc/UTC")
    first = schedule.next_after(datetime(2025, 6, 1, tzinfo=UTC))
    assert first.date().isoformat() == "2025-06-06"
    assert schedule.next_after(first).date().isoformat() == "2025-06-13"
