"""What a template may ask Cost Management, and how the Query API is asked it."""

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from shared.processors.azure.cost_export import ExportSource
from shared.processors.azure.cost_query import CostFilter, CostGrouping, CostQuery, column_of

SUBSCRIPTION = "subscriptions/72f988bf-86f1-41af-91ab-2d7cd011db47"
ACCOUNT = "providers/Microsoft.Billing/billingAccounts/12ab:34cd_2019-05-31"


def test_the_request_is_the_documented_one() -> None:
    query = CostQuery.model_validate(
        {
            "cost_type": "AmortizedCost",
            "metrics": ["Cost", "UsageQuantity"],
            "group_by": [{"dimension": "ServiceName"}, {"tag": "team"}],
            "filter": {
                "all_of": [
                    {"dimension": "ChargeType", "values": ["Usage"]},
                    {"any_of": [{"tag": "team", "values": ["blue"]}]},
                ]
            },
        }
    )
    assert query.to_api([date(2025, 2, 27), date(2025, 2, 28)]) == {
        "type": "AmortizedCost",
        "timeframe": "Custom",
        "timePeriod": {"from": "2025-02-27T00:00:00+00:00", "to": "2025-02-28T23:59:59+00:00"},
        "dataset": {
            "granularity": "Daily",
            "aggregation": {
                "Cost": {"name": "Cost", "function": "Sum"},
                "UsageQuantity": {"name": "UsageQuantity", "function": "Sum"},
            },
            "grouping": [
                {"type": "Dimension", "name": "ServiceName"},
                {"type": "TagKey", "name": "team"},
            ],
            "filter": {
                "and": [
                    {"dimensions": {"name": "ChargeType", "operator": "In", "values": ["Usage"]}},
                    {"tags": {"name": "team", "operator": "In", "values": ["blue"]}},
                ]
            },
        },
    }


def test_columns_are_named_as_a_person_would() -> None:
    names = {name: column_of(name) for name in ("ServiceName", "CostUSD", "PreTaxCostUSD", "Meter")}
    assert list(names.values()) == ["service_name", "cost_usd", "pre_tax_cost_usd", "meter"]
    assert CostGrouping(tag="Cost Center").column == "tag_cost_center"


@pytest.mark.parametrize(
    "scope",
    [
        SUBSCRIPTION,
        f"{SUBSCRIPTION}/resourceGroups/rg-shop(1).x",
        "providers/Microsoft.Management/managementGroups/acme",
        ACCOUNT,
        f"{ACCOUNT}/billingProfiles/AB-CD",
        f"{ACCOUNT}/billingProfiles/AB-CD/invoiceSections/X",
        f"{ACCOUNT}/departments/123",
    ],
)
def test_scopes_of_azure_are_taken_with_and_without_slashes(scope: str) -> None:
    assert CostQuery(scope=scope).scope == CostQuery(scope=f"/{scope}/").scope == scope


@pytest.mark.parametrize(
    "scope",
    [
        "subscriptions/acme",
        f"{SUBSCRIPTION}/..",
        f"{SUBSCRIPTION}/resourceGroups/..",
        f"{SUBSCRIPTION}/resourceGroups/a/providers/Microsoft.Storage",
        f"{SUBSCRIPTION}?x=1",
        f"{SUBSCRIPTION}#",
        f"{SUBSCRIPTION}\n",
        f"{SUBSCRIPTION}/resourceGroups/a%2F..",
        "//evil.example/",
        "https://evil.example/",
        f"{ACCOUNT}/billingProfiles/a b",
        "providers/Microsoft.Management/managementGroups/\N{CYRILLIC SMALL LETTER A}",
    ],
)
def test_a_scope_that_would_lead_elsewhere_is_refused(scope: str) -> None:
    with pytest.raises(ValidationError, match="must be a scope"):
        CostQuery(scope=scope)


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        ({"filter": {"dimension": "ServiceName", "tag": "x", "values": ["y"]}}, "give one of"),
        ({"filter": {}}, "give one of"),
        ({"filter": {"dimension": "ServiceName"}}, "values go with"),
        ({"filter": {"all_of": [{"tag": "a", "values": ["b"]}], "values": ["x"]}}, "values go"),
        ({"filter": {"dimension": "ServceName", "values": ["y"]}}, "Input should be"),
        ({"group_by": [{"tag": "a"}, {"tag": "b"}]}, "takes one tag"),
        ({"group_by": [{"dimension": "Meter"}] * 2}, "give the column meter twice"),
        ({"group_by": [{}]}, "give one of dimension and tag"),
        ({"metrics": []}, "at least 1 item"),
        ({"metrics": ["Cost", "CostUSD", "PreTaxCost"]}, "at most 2 items"),
        ({"granularity": "Monthly"}, "Input should be 'Daily'"),
        ({"cost_type": "Usage"}, "Input should be"),
    ],
)
def test_what_azure_would_refuse_is_refused_when_the_template_loads(
    says: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        CostQuery.model_validate(says)


def test_a_filter_of_one_needs_no_operator() -> None:
    test = {"dimension": "ServiceName", "values": ["Storage"]}
    alone = CostFilter.model_validate(test).to_api()
    assert CostFilter.model_validate({"any_of": [test]}).to_api() == alone
    assert list(CostFilter.model_validate({"any_of": [test, test]}).to_api()) == ["or"]


@pytest.mark.parametrize(
    "changes",
    [
        {"account": "evil.example/"},
        {"account": "Acme"},
        {"account": "acme\n"},
        {"container": "../other"},
        {"container": "a?b"},
        {"directory": "a?restype=container"},
        {"directory": "a b"},
        {"export": "../x"},
        {"export": ""},
    ],
)
def test_a_place_that_would_lead_elsewhere_is_refused(changes: dict[str, str]) -> None:
    good = {"account": "acmebilling", "container": "exports", "export": "daily"}
    assert ExportSource.model_validate(good)
    with pytest.raises(ValidationError):
        ExportSource.model_validate(good | changes)
