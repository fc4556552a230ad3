"""What is published for schedules that are due, and in which order."""

import json
import logging
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.schedules.due import MOST_CAUGHT_UP, MOST_RUNS
from shared.schedules.requests import RunRequestMessage, backfill_run_id, scheduled_run_id
from shared.schedules.trigger import encoded_requests, plan

NOW = datetime(2025, 11, 15, 2, 0, 30, tzinfo=UTC)
TWO = datetime(2025, 11, 15, 2, tzinfo=UTC)
CONFIG = "7f2c7d0e-94c3-4a53-9a1b-0d5d6a0a4b11"


def a_schedule(tenant_id: str = "acme_corp", **changes: Any) -> dict[str, Any]:
    """A row of the query for due schedules."""
    values = {
        "tenant_id": tenant_id,
        "config_id": str(uuid.uuid4()),
        "revision": 1,
        "provider": "gcp",
        "domain": "cost",
        "pipeline_template": "cost_billing",
        "schedule_cron": "0 2 * * *",
        "timezone": "UTC",
        "catch_up": False,
        "priority": 5,
        "parameters": None,
        "max_jitter_seconds": 0,
        "due_at": TWO,
        "tenant_status": "ACTIVE",
    }
    return values | changes


def order_of(*schedules: dict[str, Any]) -> list[str]:
    return [tenant_id for tenant_id, _, _ in encoded_requests(plan(schedules, NOW), NOW)]


def test_what_is_published_is_a_run_request() -> None:
    parameters = {"account": 'a "quoted" ünïcode \u2028 value', "n": [1, {"b": None}]}
    schedule = a_schedule(config_id=CONFIG, parameters=json.dumps(parameters), priority=9)

    ((tenant_id, run_id, data),) = encoded_requests(plan([schedule], NOW), NOW)

    request = RunRequestMessage.model_validate_json(data)
    assert (tenant_id, run_id) == (request.tenant_id, request.pipeline_logging_id)
    assert run_id == scheduled_run_id(CONFIG, TWO)
    assert request.parameters == parameters
    assert request.date.isoformat() == "2025-11-14"
    assert (request.scheduled_time, request.requested_at) == (TWO, NOW)
    assert (request.trigger_type, request.trigger_by) == ("scheduled", f"schedule/{CONFIG}")
    assert (request.priority, request.waited, request.backfill_id) == (9, False, None)


@pytest.mark.parametrize("parameters", [None, "", "null", "{}"])
def test_a_schedule_without_parameters_has_none(parameters: str | None) -> None:
    ((_, _, data),) = encoded_requests(plan([a_schedule(parameters=parameters)], NOW), NOW)

    assert RunRequestMessage.model_validate_json(data).parameters == {}


def test_each_tenant_has_a_turn_before_anyone_has_a_second() -> None:
    many = [a_schedule("many") for _ in range(50)]
    others = [a_schedule(f"other_{n}") for n in range(3)]

    order = order_of(*many, *others)

    assert sorted(order[:4]) == ["many", "other_0", "other_1", "other_2"]
    assert order[4:] == ["many"] * 49


def test_of_one_tenant_the_higher_priority_goes_first() -> None:
    low, high = a_schedule(priority=1), a_schedule(priority=9)

    published = list(encoded_requests(plan([low, high], NOW), NOW))

    configs = [RunRequestMessage.model_validate_json(data).config_id for _, _, data in published]
    assert configs == [high["config_id"], low["config_id"]]


def test_a_schedule_that_cannot_be_computed_is_logged_and_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = a_schedule(schedule_cron="every day")
    lost = a_schedule(timezone="Atlantis/Capital")
    empty = a_schedule(schedule_cron=None)
    logger = logging.getLogger("convergence")
    logger.addHandler(caplog.handler)

    found = plan([broken, lost, empty, good := a_schedule()], NOW)

    logger.removeHandler(caplog.handler)
    assert [one.schedule for one in found] == [good]
    logged = {record.__dict__["fields"]["config_id"] for record in caplog.records}
    assert logged == {schedule["config_id"] for schedule in (broken, lost, empty)}


def test_what_is_too_much_for_one_call_stays_due() -> None:
    owed = a_schedule(catch_up=True, schedule_cron="* * * * *", due_at=TWO - timedelta(days=1))

    found = plan([owed] * 2000, NOW)

    assert len(found) * MOST_CAUGHT_UP >= MOST_RUNS > (len(found) - 1) * MOST_CAUGHT_UP


def test_names_of_runs_do_not_depend_on_how_a_moment_is_written() -> None:
    from zoneinfo import ZoneInfo

    there = TWO.astimezone(ZoneInfo("Australia/Lord_Howe"))

    assert scheduled_run_id(CONFIG, TWO) == scheduled_run_id(CONFIG, there)
    assert scheduled_run_id(CONFIG, TWO) != scheduled_run_id(CONFIG, TWO + timedelta(days=1))
    assert uuid.UUID(scheduled_run_id(CONFIG, TWO)).version == 5
    assert backfill_run_id(CONFIG, TWO.date()) != scheduled_run_id(CONFIG, TWO)
