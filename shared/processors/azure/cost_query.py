"""What a step asks Cost Management, as a template says it and as its Query API takes it."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from shared.models import Model

API_VERSION = "2023-11-01"
Metric: TypeAlias = Literal["Cost", "CostUSD", "PreTaxCost", "PreTaxCostUSD", "UsageQuantity"]
QUANTITIES = frozenset({"UsageQuantity"})
"""Metrics that are no money."""
Dimension: TypeAlias = Literal[
    "AccountName", "BenefitId", "BenefitName", "BillingAccountId", "ChargeType", "ConsumedService",
    "CostAllocationRuleName", "DepartmentName", "EnrollmentAccountName", "Frequency",
    "InvoiceNumber", "Meter", "MeterCategory", "MeterId", "MeterSubcategory", "PartNumber",
    "PricingModel", "PublisherType", "ReservationId", "ReservationName", "ResourceGroup",
    "ResourceGroupName", "ResourceGuid", "ResourceId", "ResourceLocation", "ResourceType",
    "ServiceName", "ServiceTier", "SubscriptionId", "SubscriptionName",
]  # fmt: skip
_NAME = r"[A-Za-z0-9_(][A-Za-z0-9_.:()-]{0,127}"
_SCOPE = re.compile(
    rf"/?(subscriptions/[0-9a-fA-F-]{{36}}(/resourceGroups/{_NAME})?"
    rf"|providers/Microsoft\.Management/managementGroups/{_NAME}"
    rf"|providers/Microsoft\.Billing/billingAccounts/{_NAME}"
    rf"(/(departments|enrollmentAccounts|customers)/{_NAME}"
    rf"|/billingProfiles/{_NAME}(/invoiceSections/{_NAME})?)?)/?",
    re.ASCII,
)
_NOT_OF_A_NAME = re.compile(r"[^a-z0-9]+")
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def _scope(text: str) -> str:
    if not text:
        return ""
    if not _SCOPE.fullmatch(text):
        raise ValueError(
            "must be a scope such as /subscriptions/<ID>, a resource group, a management group or a"
            " billing account of Azure"
        )
    return text.strip("/")


Scope = Annotated[str, AfterValidator(_scope)]


def column_of(name: str) -> str:
    """`service_name` for `ServiceName`, `cost_usd` for `CostUSD`."""
    return _CAPITAL.sub("_", name).lower()


class CostGrouping(Model):
    """One key by which amounts are split: a dimension or a tag."""

    dimension: Dimension | None = Field(default=None, description="Such as ServiceName.")
    tag: str | None = Field(
        default=None, min_length=1, max_length=512, description="Key of a resource's tag."
    )

    @model_validator(mode="after")
    def _is_one_key(self) -> "CostGrouping":
        if (self.dimension is None) == (self.tag is None):
            raise ValueError("give one of dimension and tag")
        return self

    @property
    def column(self) -> str:
        """Column that holds the key's values: `service_name`, `tag_cost_center`."""
        if self.dimension:
            return column_of(self.dimension)
        return f"tag_{_NOT_OF_A_NAME.sub('_', str(self.tag).lower()).strip('_')}"

    @property
    def answered_as(self) -> str:
        """Name of the answer's column that holds the values."""
        return self.dimension or "TagValue"

    def to_api(self) -> dict[str, str]:
        """As the request has it."""
        if self.dimension:
            return {"type": "Dimension", "name": self.dimension}
        return {"type": "TagKey", "name": str(self.tag)}


class CostFilter(Model):
    """What an amount must belong to: one test, or several together."""

    dimension: Dimension | None = Field(default=None, description="Test a dimension.")
    tag: str | None = Field(default=None, min_length=1, description="Test a tag.")
    values: tuple[str, ...] = Field(default=(), description="Any of these values passes the test.")
    all_of: tuple["CostFilter", ...] = Field(default=(), description="Every one of these.")
    any_of: tuple["CostFilter", ...] = Field(default=(), description="At least one of these.")

    @model_validator(mode="after")
    def _says_one_thing(self) -> "CostFilter":
        tests = [key for key in (self.dimension, self.tag) if key is not None]
        groups = [group for group in (self.all_of, self.any_of) if group]
        if len(tests) + len(groups) != 1:
            raise ValueError(
                "give one of dimension, tag, all_of and any_of; combine several in all_of"
            )
        if bool(tests) != bool(self.values):
            raise ValueError("values go with dimension or tag, and neither goes without them")
        return self

    def to_api(self) -> dict[str, Any]:
        """As the request has it (Cost Management, QueryFilter)."""
        for operator, conditions in (("and", self.all_of), ("or", self.any_of)):
            if len(conditions) == 1:  # an operator takes at least two operands
                return conditions[0].to_api()
            if conditions:
                return {operator: [condition.to_api() for condition in conditions]}
        test = {"name": self.dimension or self.tag, "operator": "In", "values": list(self.values)}
        return {"dimensions" if self.dimension else "tags": test}


class CostQuery(Model):
    """What is asked; one row a day, group and currency."""

    scope: Scope = Field(
        default="",
        description="Whose costs, such as /subscriptions/<ID>; absent or empty: the credential's"
        " subscription.",
    )
    cost_type: Literal["ActualCost", "AmortizedCost"] = Field(
        default="ActualCost",
        description="`AmortizedCost` spreads what was paid for commitments over their term.",
    )
    granularity: Literal["Daily"] = Field(default="Daily", description="Length of a period.")
    metrics: tuple[Metric, ...] = Field(
        default=("Cost",), min_length=1, max_length=2, description="What is added up; two at most."
    )
    group_by: tuple[CostGrouping, ...] = Field(
        default=(), max_length=2, description="Keys by which it is split; two at most, one a tag."
    )
    filter: CostFilter | None = Field(default=None, description="Leave out what does not pass.")

    @model_validator(mode="after")
    def _columns_differ(self) -> "CostQuery":
        names = [column_of(metric) for metric in self.metrics]
        names += [grouping.column for grouping in self.group_by]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"metrics and group_by give the column {repeated[0]} twice")
        if sum(grouping.tag is not None for grouping in self.group_by) > 1:
            raise ValueError("group_by takes one tag: Azure answers with one column for tags")
        return self

    def to_api(self, days: Sequence[date]) -> dict[str, Any]:
        """The request for consecutive days; both ends are inclusive."""
        dataset: dict[str, Any] = {
            "granularity": self.granularity,
            "aggregation": {name: {"name": name, "function": "Sum"} for name in self.metrics},
        }
        if self.group_by:
            dataset["grouping"] = [grouping.to_api() for grouping in self.group_by]
        if self.filter:
            dataset["filter"] = self.filter.to_api()
        return {
            "type": self.cost_type,
            "timeframe": "Custom",
            "timePeriod": {
                "from": f"{days[0]}T00:00:00+00:00",
                "to": f"{days[-1]}T23:59:59+00:00",
            },
            "dataset": dataset,
        }
