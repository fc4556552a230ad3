"""What a schedule's body may say."""

from typing import Any

import pytest
from pydantic import ValidationError

from shared.errors import InvalidInputError
from shared.schedules.definitions import Definition, ShortDefinition

LONG = {
    "provider": "GCP",
    "domain": "Cost",
    "pipeline_template": "billing_cost",
    "schedule_cron": "0 2 * * *",
}
SHORT = {"pipeline_config": "GCP/cost/cost_billing", "schedule": "0 2 * * *"}


def refused(**changes: Any) -> dict[str, str]:
    """Field to what is wrong with it."""
    with pytest.raises(ValidationError) as error:
        Definition.model_validate(LONG | changes)
    return {str(found["loc"][0]): found["msg"] for found in error.value.errors()}


def test_names_are_kept_in_lower_case_and_the_rest_has_defaults() -> None:
    said = Definition.model_validate(LONG | {"pipeline_template": " Billing_COST "})

    assert said.model_dump() == {
        "provider": "gcp",
        "domain": "cost",
        "pipeline_template": "billing_cost",
        "schedule_cron": "0 2 * * *",
        "timezone": "UTC",
        "is_active": True,
        "priority": 5,
        "parameters": {},
        "catch_up": False,
        "max_jitter_seconds": 0,
        "description": None,
    }


def test_spaces_in_an_expression_are_made_one() -> None:
    said = Definition.model_validate(LONG | {"schedule_cron": "  0\t2  *  * mon "})

    assert said.schedule_cron == "0 2 * * mon"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("provider", "", "at least 1 character"),
        ("provider", "../etc", "must be one part of a template's path"),
        ("domain", "co st", "must be one part of a template's path"),
        ("pipeline_template", "gcp/cost/cost_billing", "must be one part of a template's path"),
        ("pipeline_template", "ﬁle", "must be one part of a template's path"),
        ("schedule_cron", "0 25 * * *", "hour is '25': 25 is not between 0 and 23"),
        ("schedule_cron", "0 0 31 2 *", "never comes"),
        ("schedule_cron", 5, "valid string"),
        ("timezone", "America/NewYork", "did you mean America/New_York"),
        ("priority", 0, "greater than or equal to 1"),
        ("priority", 11, "less than or equal to 10"),
        ("max_jitter_seconds", -1, "greater than or equal to 0"),
        ("max_jitter_seconds", 3601, "less than or equal to 3600"),
        ("parameters", ["a"], "valid dictionary"),
        ("parameters", {"date": "2026-01-01"}, "must not have 'date': each run gets its own"),
        ("parameters", {"trigger_by": "me"}, "must not have 'trigger_by'"),
        ("description", "x" * 501, "at most 500 characters"),
        ("description", "a\nb", "match pattern"),
        ("config_id", "mine", "not permitted"),
    ],
)
def test_a_bad_field_is_named(field: str, value: Any, said: str) -> None:
    found = refused(**{field: value})

    assert list(found) == [field]
    assert said in found[field]


def test_every_bad_field_is_named_at_once() -> None:
    found = refused(provider="", schedule_cron="x", timezone="x", priority=99)

    assert set(found) == {"provider", "schedule_cron", "timezone", "priority"}


@pytest.mark.parametrize("body", [SHORT, LONG, {**SHORT, "pipeline_config": "gcp/cost/x"}])
def test_both_forms_say_the_same(body: dict[str, Any]) -> None:
    said = ShortDefinition.model_validate(body | {"priority": 7, "timezone": "Europe/London"})

    definition = said.long()

    assert (definition.provider, definition.domain) == ("gcp", "cost")
    assert definition.schedule_cron == "0 2 * * *"
    assert (definition.priority, definition.timezone) == (7, "Europe/London")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/pipeline_config", "/schedule"]),
        ({"schedule": "0 2 * * *"}, ["/pipeline_config"]),
        ({"pipeline_config": "gcp/cost/cost_billing"}, ["/schedule"]),
        (SHORT | LONG, ["/pipeline_config", "/schedule"]),
        (SHORT | {"provider": "gcp"}, ["/pipeline_config"]),
        ({"provider": "gcp", "schedule": "0 2 * * *"}, ["/domain", "/pipeline_template"]),
    ],
)
def test_what_is_missing_or_said_twice_is_named(body: dict[str, Any], pointers: list[str]) -> None:
    with pytest.raises(InvalidInputError) as error:
        ShortDefinition.model_validate(body).long()

    assert [found.pointer for found in error.value.problems] == pointers


@pytest.mark.parametrize("path", ["cost_billing", "gcp/cost", "a/b/c/d", "gcp//x", "gcp/../x", ""])
def test_a_short_path_has_three_parts(path: str) -> None:
    with pytest.raises(ValidationError, match="must be a template's path"):
        ShortDefinition.model_validate(SHORT | {"pipeline_config": path})


def test_a_bad_expression_of_the_short_form_is_named_where_it_is() -> None:
    with pytest.raises(ValidationError) as error:
        ShortDefinition.model_validate(SHORT | {"schedule": "0 25 * * *"})

    assert [found["loc"] for found in error.value.errors()] == [("schedule",)]
