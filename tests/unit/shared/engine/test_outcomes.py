from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.engine.outcomes import (
    ATTEMPT_FAILED,
    FINAL_RUN_STATES,
    History,
    StepOutcome,
    milliseconds,
)
from shared.processors.contract import StepResult
from shared.templates.models import Retry
from tests.runs import a_step

NOW = datetime(2025, 11, 16, 12, tzinfo=UTC)


def row(status: str, attempt: int = 1, **changes: Any) -> dict[str, Any]:
    """A row of the step log."""
    values: dict[str, Any] = {
        "status": status,
        "attempt": attempt,
        "outputs": None,
        "rows_processed": None,
        "bytes_processed": None,
        "error": None,
        "error_code": None,
        "recorded_at": NOW,
    }
    return values | changes


def failed_attempt(attempt: int, at: datetime = NOW) -> dict[str, Any]:
    return row("FAILED", attempt, error="away", error_code=ATTEMPT_FAILED, recorded_at=at)


def past(*rows: dict[str, Any], run_status: str | None = "RUNNING") -> History:
    return History(run_status=run_status, run_failed_step=None, step_rows=rows)


def test_step_without_rows_is_done_for_the_first_time() -> None:
    assert past().outcome(a_step()) is None
    assert past().next_attempt == 1
    assert past().not_before(a_step()) is None


def test_step_that_only_began_is_done_again_under_the_same_attempt() -> None:
    history = past(row("RUNNING"), row("RUNNING"))

    assert history.outcome(a_step()) is None
    assert history.next_attempt == 1
    assert history.not_before(a_step()) is None


@pytest.mark.parametrize("late", [[], [row("RUNNING")], [row("FAILED", error_code="failed")]])
def test_completed_step_is_not_done_again_whatever_was_logged_later(late: list[Any]) -> None:
    done = row(
        "COMPLETED",
        rows_processed=12,
        bytes_processed=34,
        outputs={"job_id": "j", "table": "p.d.t"},
    )

    outcome = past(row("RUNNING"), done, *late).outcome(a_step())

    assert outcome == StepOutcome(
        "COMPLETED", 1, StepResult(12, 34, {"job_id": "j", "table": "p.d.t"})
    )


def test_skipped_step_stays_skipped() -> None:
    outcome = past(row("SKIPPED", error="condition is false")).outcome(a_step())

    assert outcome is not None
    assert (outcome.status, outcome.error) == ("SKIPPED", "condition is false")


def test_permanent_failure_ends_the_step_at_its_first_attempt() -> None:
    failed = row("FAILED", error="no such table", error_code="warehouse-refused")

    outcome = past(row("RUNNING"), failed).outcome(a_step())

    assert outcome is not None
    assert (outcome.status, outcome.error_code) == ("FAILED", "warehouse-refused")


def test_failed_attempts_are_followed_by_more_until_they_are_used_up() -> None:
    step = a_step(retry=Retry(max_attempts=3, backoff_seconds=0))

    assert past(failed_attempt(1)).outcome(step) is None
    assert past(failed_attempt(1)).next_attempt == 2
    assert past(failed_attempt(1), failed_attempt(2)).next_attempt == 3
    ended = past(failed_attempt(1), failed_attempt(2), failed_attempt(3)).outcome(step)
    assert ended is not None
    assert (ended.status, ended.attempt, ended.error) == ("FAILED", 3, "away")


def test_step_that_may_be_tried_once_is_over_with_its_first_failed_attempt() -> None:
    step = a_step(retry=Retry(max_attempts=1))

    assert past(failed_attempt(1)).outcome(step) is not None


def test_attempt_recorded_by_two_deliveries_counts_once() -> None:
    assert past(failed_attempt(1), failed_attempt(1)).next_attempt == 2


@pytest.mark.parametrize(("attempts", "pause"), [(1, 30), (2, 60), (3, 120), (4, 240)])
def test_pause_doubles_with_each_failed_attempt(attempts: int, pause: int) -> None:
    step = a_step(retry=Retry(max_attempts=10, backoff_seconds=30))
    rows = [failed_attempt(n, NOW - timedelta(hours=attempts - n)) for n in range(1, attempts + 1)]

    assert past(*rows).not_before(step) == NOW + timedelta(seconds=pause)


def test_pause_is_as_long_as_the_last_failure_asked_for() -> None:
    step = a_step(retry=Retry(max_attempts=10, backoff_seconds=30))
    asked = failed_attempt(1) | {"outputs": {"retry_after_seconds": 1800}}

    assert past(asked).not_before(step) == NOW + timedelta(seconds=1800)
    later = failed_attempt(2, NOW + timedelta(hours=1))
    assert past(asked, later).not_before(step) == NOW + timedelta(hours=1, seconds=60)


@pytest.mark.parametrize("status", sorted(FINAL_RUN_STATES))
def test_run_with_a_final_state_is_over(status: str) -> None:
    assert past(run_status=status).run_is_over


@pytest.mark.parametrize("status", [None, "QUEUED", "PENDING", "RUNNING"])
def test_run_without_a_final_state_goes_on(status: str | None) -> None:
    assert not past(run_status=status).run_is_over


def test_later_steps_see_rows_bytes_status_and_outputs() -> None:
    outcome = StepOutcome("COMPLETED", 1, StepResult(3, 4, {"table": "p.d.t"}))

    assert outcome.visible() == {
        "table": "p.d.t",
        "rows_processed": 3,
        "bytes_processed": 4,
        "status": "COMPLETED",
        "error": "",
    }


def test_duration_is_whole_milliseconds_and_absent_while_running() -> None:
    assert milliseconds(NOW, NOW + timedelta(seconds=1.2345)) == 1234
    assert milliseconds(NOW, None) is None
