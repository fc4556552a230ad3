"""What a step asks Cost Explorer, as a template says it and as GetCostAndUsage takes it."""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Literal, TypeAlias

from pydantic import Field, model_validator

from shared.models import Model

Metric: TypeAlias = Literal[
    "AmortizedCost", "BlendedCost", "NetAmortizedCost", "NetUnblendedCost", "NormalizedUsageAmount",
    "UnblendedCost", "UsageQuantity",
]  # fmt: skip
QUANTITIES = frozenset({"NormalizedUsageAmount", "UsageQuantity"})
"""Metrics that are no money."""
GroupDimension: TypeAlias = Literal[
    "AZ", "INSTANCE_TYPE", "INVOICING_ENTITY", "LEGAL_ENTITY_NAME", "LINKED_ACCOUNT", "OPERATION",
    "PLATFORM", "PURCHASE_TYPE", "RECORD_TYPE", "REGION", "SERVICE", "TENANCY", "USAGE_TYPE",
]  # fmt: skip
FilterDimension: TypeAlias = Literal[
    "AZ", "BILLING_ENTITY", "CACHE_ENGINE", "DATABASE_ENGINE", "DEPLOYMENT_OPTION",
    "INSTANCE_TYPE", "INSTANCE_TYPE_FAMILY", "INVOICING_ENTITY", "LEGAL_ENTITY_NAME",
    "LINKED_ACCOUNT", "LINKED_ACCOUNT_NAME", "OPERATING_SYSTEM", "OPERATION", "PAYMENT_OPTION",
    "PLATFORM", "PURCHASE_TYPE", "RECORD_TYPE", "REGION", "RESERVATION_ID", "SAVINGS_PLAN_ARN",
    "SAVINGS_PLANS_TYPE", "SERVICE", "SERVICE_CODE", "SUBSCRIPTION_ID", "TENANCY", "USAGE_TYPE",
    "USAGE_TYPE_GROUP",
]  # fmt: skip
Match: TypeAlias = Literal[
    "EQUALS", "ABSENT", "STARTS_WITH", "ENDS_WITH", "CONTAINS", "CASE_SENSITIVE",
    "CASE_INSENSITIVE", "GREATER_THAN_OR_EQUAL",
]  # fmt: skip
_NOT_OF_A_NAME = re.compile(r"[^a-z0-9]+")
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


def metric_column(metric: str) -> str:
    """`unblended_cost` for `UnblendedCost`."""
    return _CAPITAL.sub("_", metric).lower()


class CostGrouping(Model):
    """One key by which amounts are split: a dimension, a cost allocation tag or a cost category."""

    dimension: GroupDimension | None = Field(default=None, description="Such as SERVICE.")
    tag: str | None = Field(
        default=None, min_length=1, max_length=128, description="Key of a cost allocation tag."
    )
    cost_category: str | None = Field(
        default=None, min_length=1, max_length=50, description="Name of a cost category."
    )

    @model_validator(mode="after")
    def _is_one_key(self) -> "CostGrouping":
        if sum(key is not None for key in (self.dimension, self.tag, self.cost_category)) != 1:
            raise ValueError("give one of dimension, tag and cost_category")
        return self

    @property
    def column(self) -> str:
        """Column that holds the key's values: `service`, `tag_cost_center`."""
        if self.dimension:
            return self.dimension.lower()
        kind, name = ("tag", self.tag) if self.tag else ("cost_category", self.cost_category)
        return f"{kind}_{_NOT_OF_A_NAME.sub('_', str(name).lower()).strip('_')}"

    def value(self, key: str) -> str | None:
        """The value in a group's key; those of tags are written `key$value`, `key$` for none."""
        if self.dimension:
            return key
        return key.removeprefix(f"{self.tag or self.cost_category}$") or None

    def to_api(self) -> dict[str, str]:
        """As the request has it."""
        if self.dimension:
            return {"Type": "DIMENSION", "Key": self.dimension}
        if self.tag:
            return {"Type": "TAG", "Key": self.tag}
        return {"Type": "COST_CATEGORY", "Key": str(self.cost_category)}


class CostFilter(Model):
    """What an amount must belong to: one test, or several together."""

    dimension: FilterDimension | None = Field(default=None, description="Test a dimension.")
    tag: str | None = Field(default=None, min_length=1, description="Test a cost allocation tag.")
    cost_category: str | None = Field(
        default=None, min_length=1, description="Test a cost category."
    )
    values: tuple[str, ...] = Field(default=(), description="Any of these values passes the test.")
    match: tuple[Match, ...] = Field(
        default=(), description="How values are compared; absent: EQUALS, CASE_SENSITIVE."
    )
    all_of: tuple["CostFilter", ...] = Field(default=(), description="Every one of these.")
    any_of: tuple["CostFilter", ...] = Field(default=(), description="At least one of these.")
    none_of: tuple["CostFilter", ...] = Field(default=(), description="None of these.")

    @model_validator(mode="after")
    def _says_one_thing(self) -> "CostFilter":
        tests = [key for key in (self.dimension, self.tag, self.cost_category) if key is not None]
        groups = [group for group in (self.all_of, self.any_of, self.none_of) if group]
        if len(tests) + len(groups) != 1:
            raise ValueError(
                "give one of dimension, tag, cost_category, all_of, any_of and none_of;"
                " combine several in all_of"
            )
        if groups and (self.values or self.match):
            raise ValueError("values and match belong to dimension, tag or cost_category")
        if tests and not self.values and "ABSENT" not in self.match:
            raise ValueError("give the values to look for, or match: [ABSENT]")
        return self

    def to_api(self) -> dict[str, Any]:
        """As the request has it (Cost Explorer, Expression)."""
        if self.all_of:
            return _joined("And", self.all_of)
        if self.any_of:
            return _joined("Or", self.any_of)
        if self.none_of:
            return {"Not": _joined("Or", self.none_of)}
        test: dict[str, Any] = {"Key": self.dimension or self.tag or self.cost_category}
        if self.values:
            test["Values"] = list(self.values)
        if self.match:
            test["MatchOptions"] = list(self.match)
        if self.dimension:
            return {"Dimensions": test}
        return {"Tags" if self.tag else "CostCategories": test}


def _joined(operator: str, conditions: Sequence[CostFilter]) -> dict[str, Any]:
    """And and Or take at least two operands."""
    if len(conditions) == 1:
        return conditions[0].to_api()
    return {operator: [condition.to_api() for condition in conditions]}


class CostExplorerQuery(Model):
    """What is asked; one row a day and group."""

    granularity: Literal["DAILY"] = Field(default="DAILY", description="Length of a period.")
    metrics: tuple[Metric, ...] = Field(
        default=("UnblendedCost",), min_length=1, description="What is measured."
    )
    group_by: tuple[CostGrouping, ...] = Field(
        default=(), max_length=2, description="Keys by which it is split; two at most."
    )
    filter: CostFilter | None = Field(default=None, description="Leave out what does not pass.")

    @model_validator(mode="after")
    def _columns_differ(self) -> "CostExplorerQuery":
        names = [metric_column(metric) for metric in self.metrics]
        names += [grouping.column for grouping in self.group_by]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"metrics and group_by give the column {repeated[0]} twice")
        return self

    def to_api(self, days: Sequence[date]) -> dict[str, Any]:
        """The request for consecutive days; its end is exclusive."""
        request: dict[str, Any] = {
            "TimePeriod": {
                "Start": days[0].isoformat(),
                "End": (days[-1] + timedelta(days=1)).isoformat(),
            },
            "Granularity": self.granularity,
            "Metrics": list(self.metrics),
        }
        if self.group_by:
            request["GroupBy"] = [grouping.to_api() for grouping in self.group_by]
        if self.filter:
            request["Filter"] = self.filter.to_api()
        return request
