"""What a template says of Cost Explorer, as the request that AWS gets."""

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from shared.processors.aws.cost_explorer_query import CostExplorerQuery, CostGrouping
from shared.processors.daily_costs import days_until


def a_filter(**says: Any) -> dict[str, Any]:
    return CostExplorerQuery.model_validate({"filter": says}).to_api([date(2025, 11, 15)])["Filter"]


def test_the_end_of_the_period_is_exclusive() -> None:
    days = days_until(date(2025, 3, 1), 2)
    assert days == [date(2025, 2, 27), date(2025, 2, 28), date(2025, 3, 1)]
    request = CostExplorerQuery().to_api(days)
    assert request == {
        "TimePeriod": {"Start": "2025-02-27", "End": "2025-03-02"},
        "Granularity": "DAILY",
        "Metrics": ["UnblendedCost"],
    }


def test_filters_nest() -> None:
    region = {"dimension": "REGION", "values": ["eu-central-1"]}
    assert a_filter(**region) == {"Dimensions": {"Key": "REGION", "Values": ["eu-central-1"]}}
    assert a_filter(tag="team", match=["ABSENT"]) == {
        "Tags": {"Key": "team", "MatchOptions": ["ABSENT"]}
    }
    assert a_filter(any_of=[region]) == {
        "Dimensions": {"Key": "REGION", "Values": ["eu-central-1"]}
    }
    assert a_filter(
        all_of=[
            {"any_of": [region, {"cost_category": "Team", "values": ["x"]}]},
            {"none_of": [{"dimension": "RECORD_TYPE", "values": ["Credit", "Refund"]}]},
        ]
    ) == {
        "And": [
            {
                "Or": [
                    {"Dimensions": {"Key": "REGION", "Values": ["eu-central-1"]}},
                    {"CostCategories": {"Key": "Team", "Values": ["x"]}},
                ]
            },
            {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund"]}}},
        ]
    }


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        ({"filter": {"dimension": "SERVICE", "tag": "x", "values": ["y"]}}, "give one of"),
        ({"filter": {}}, "give one of"),
        ({"filter": {"dimension": "SERVICE"}}, "give the values to look for"),
        ({"filter": {"all_of": [{"tag": "a", "values": ["b"]}], "values": ["x"]}}, "belong to"),
        ({"filter": {"dimension": "SERVCE", "values": ["y"]}}, "Input should be"),
        ({"group_by": [{"tag": "a"}, {"tag": "b"}, {"tag": "c"}]}, "at most 2 items"),
        ({"group_by": [{}]}, "give one of dimension"),
        ({"group_by": [{"tag": "a b"}, {"tag": "A_B"}]}, "give the column tag_a_b twice"),
        ({"metrics": []}, "at least 1 item"),
        ({"metrics": ["Cost"]}, "Input should be"),
        ({"granularity": "HOURLY"}, "Input should be 'DAILY'"),
    ],
)
def test_what_aws_would_refuse_is_refused_when_the_template_loads(
    says: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        CostExplorerQuery.model_validate(says)


def test_keys_of_tags_hold_the_tag() -> None:
    tag = CostGrouping(tag="Cost Center")
    assert tag.column == "tag_cost_center"
    assert [tag.value(key) for key in ("Cost Center$a$b", "Cost Center$")] == ["a$b", None]
    service = CostGrouping(dimension="SERVICE")
    assert (service.column, service.value("$Tax")) == ("service", "$Tax")
