"""Exports become FOCUS to the last digit, or nothing changes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError
from pytest_mock import MockerFixture

from shared.clients import bigquery_client
from shared.errors import InvalidInputError
from shared.processors.contract import StepContext, StepResult
from shared.processors.focus import normalize as module
from shared.processors.focus.mapping import VERSIONS, mapping
from shared.processors.focus.normalize import (
    FocusDifferenceError,
    Normalize,
    NormalizeConfig,
    OtherVersionError,
)
from shared.warehouse.authorize import ForeignTableError
from tests import focus
from tests.component.conftest import PROJECT
from tests.focus import ACCOUNT
from tests.runs import a_context, a_run


def config(tenant: str, export: str, **changes: Any) -> NormalizeConfig:
    accounts = [ACCOUNT] if export == "gcp_billing_export" else []
    source = {"table": f"{PROJECT}.{tenant}.export", "export": export, "accounts": accounts}
    values = {"source": source, "destination": {"table": "focus"}, **changes}
    return NormalizeConfig.model_validate(values)


def normalize(
    tenant: str, export: str, context: StepContext | None = None, **changes: Any
) -> StepResult:
    where = context or a_context(a_run(tenant), "normalize")
    return Normalize().run(config(tenant, export, **changes), where)


def rows(tenant: str, columns: str = "*", where: str = "TRUE") -> list[Any]:
    sql = f"SELECT {columns} FROM `{tenant}.focus` WHERE {where} ORDER BY TO_JSON_STRING(focus)"
    return [dict(row) for row in bigquery_client().query_and_wait(sql)]


def sums(tenant: str, column: str = "BilledCost") -> dict[str, Decimal]:
    sql = f"SELECT BillingCurrency, SUM({column}) FROM `{tenant}.focus` GROUP BY 1"
    return {row[0]: row[1] for row in bigquery_client().query_and_wait(sql)}


def of(tenant: str, kind: str) -> dict[str, Any]:
    """The one row of a source's kind of charge."""
    (row,) = rows(tenant, where=f"x_SourceChargeType = '{kind}'")
    found: dict[str, Any] = row
    return found


@pytest.fixture
def gcp(tenant: str) -> str:
    """A tenant with a detailed export of Cloud Billing."""
    focus.gcp_export(bigquery_client(), f"{PROJECT}.{tenant}.export", focus.gcp_rows())
    return tenant


@pytest.fixture
def cur(tenant: str) -> str:
    """A tenant with a landed month of CUR 2.0."""
    table = f"{PROJECT}.{tenant}.export"
    focus.landed(bigquery_client(), table, "aws/cur_line_items", focus.cur_rows())
    return tenant


# --- Google Cloud ---------------------------------------------------------------------------------


def test_every_cent_of_a_day_of_cloud_billing_is_billed_once(gcp: str) -> None:
    done = normalize(gcp, "gcp_billing_export")

    assert done.rows_processed == 10
    assert done.outputs["dates"] == ["2025-11-15"]
    assert sums(gcp) == {"USD": Decimal("9.9839999"), "EUR": Decimal("0.3")}
    (row,) = bigquery_client().query_and_wait(
        "SELECT SUM(CAST(cost AS NUMERIC) + IFNULL((SELECT SUM(CAST(c.amount AS NUMERIC))"
        f" FROM UNNEST(credits) AS c), 0)) FROM `{gcp}.export`"
    )
    assert sum(sums(gcp).values()) == row[0]


def test_discounts_lower_their_charge_and_a_promotion_is_a_row_of_its_own(gcp: str) -> None:
    normalize(gcp, "gcp_billing_export")

    (sustained,) = rows(gcp, where="ContractedCost = 0.2")
    assert sustained["BilledCost"] == Decimal("0.17")
    (promotion,) = rows(gcp, where="ChargeCategory = 'Credit'")
    assert promotion["BilledCost"] == promotion["EffectiveCost"] == Decimal("-0.0000001")
    assert promotion["ChargeDescription"] == "Startup program"
    assert (promotion["SkuId"], promotion["ConsumedQuantity"]) == (None, None)
    (committed,) = rows(gcp, where="CommitmentDiscountId IS NOT NULL")
    assert (committed["BilledCost"], committed["ContractedCost"]) == (0, Decimal("10.7"))
    assert committed["CommitmentDiscountCategory"] == "Usage"
    assert (committed["CommitmentDiscountStatus"], committed["PricingCategory"]) == (
        "Used", "Committed",
    )  # fmt: skip


def test_kinds_of_charge_of_cloud_billing(gcp: str) -> None:
    normalize(gcp, "gcp_billing_export")

    tax = of(gcp, "tax")
    assert (tax["ChargeCategory"], tax["BilledCost"]) == ("Tax", Decimal("3.21"))
    empty = ("SkuId", "SkuPriceId", "PricingQuantity", "PricingUnit", "PricingCategory",
             "ListUnitPrice", "ConsumedQuantity", "SubAccountId", "Tags")  # fmt: skip
    assert [tax[name] for name in empty] == [None] * len(empty)
    assert of(gcp, "rounding_error")["ChargeCategory"] == "Adjustment"
    (fee,) = rows(gcp, where="ChargeCategory = 'Purchase'")
    assert (fee["ChargeFrequency"], fee["PricingCategory"]) == ("Recurring", "Standard")
    (correction,) = rows(gcp, where="ChargeClass = 'Correction'")
    assert correction["BilledCost"] == Decimal("-0.1")


def test_usage_of_cloud_billing_has_its_account_service_resource_and_tags(gcp: str) -> None:
    normalize(gcp, "gcp_billing_export")

    (row,) = rows(gcp, where="BilledCost = 0.1")
    assert row["BillingPeriodStart"] == datetime(2025, 11, 1, 7, tzinfo=UTC), "midnight, Pacific"
    assert row["BillingPeriodEnd"] == datetime(2025, 12, 1, 8, tzinfo=UTC)
    assert row["ChargePeriodEnd"] == datetime(2025, 11, 15, 8, tzinfo=UTC)
    assert (row["ServiceCategory"], row["ServiceSubcategory"]) == ("Compute", "Virtual Machines")
    assert (row["SubAccountId"], row["SubAccountType"]) == ("web-prod", "Project")
    assert row["ResourceType"] == "instance"
    assert row["Tags"] == '{"cc":"42","compute.googleapis.com/cores":"8","team":"we\\"b"}'
    assert (row["ConsumedQuantity"], row["PricingQuantity"]) == (3600, 1)
    (unknown,) = rows(gcp, where="STARTS_WITH(ServiceName, 'A service')")
    assert (unknown["ServiceCategory"], unknown["ServiceSubcategory"]) == ("Other", "Other (Other)")


def test_a_standard_export_has_no_resources_and_the_same_sum(tenant: str) -> None:
    client, table = bigquery_client(), f"{PROJECT}.{tenant}.export"
    focus.gcp_export(client, table, focus.gcp_rows(), detailed=False)

    normalize(tenant, "gcp_billing_export")

    assert sums(tenant) == {"USD": Decimal("9.9839999"), "EUR": Decimal("0.3")}
    assert {row["ResourceId"] for row in rows(tenant)} == {None}


def test_other_accounts_of_an_export_stay_where_they_are(gcp: str) -> None:
    source = {"table": f"{PROJECT}.{gcp}.export", "export": "gcp_billing_export"}
    for accounts in (["0-other"], []):
        done = normalize(gcp, "gcp_billing_export", source=source | {"accounts": accounts})

        assert (done.rows_processed, rows(gcp)) == (0, [])


# --- AWS ------------------------------------------------------------------------------------------


def test_every_line_item_of_a_month_is_billed_once(cur: str) -> None:
    done = normalize(cur, "aws_cur_2_0")

    expected = sum(Decimal(row["line_item_unblended_cost"]) for row in focus.cur_rows())
    assert sums(cur) == {"USD": expected}
    assert done.rows_processed == len(focus.cur_rows()) + 2, "two commitments were not used up"
    assert done.outputs["dates"] == ["2025-11-01"]


@pytest.mark.parametrize(
    ("kind", "category", "billed", "effective"),
    [
        ("DiscountedUsage", "Usage", "0", "0.071"),
        ("RIFee", "Purchase", "51.12", "0"),
        ("RIFee (unused)", "Usage", "0", "1.42"),
        ("Fee", "Purchase", "300", "0"),
        ("SavingsPlanCoveredUsage", "Usage", "0.115", "0.083"),
        ("SavingsPlanNegation", "Adjustment", "-0.115", "0"),
        ("SavingsPlanRecurringFee", "Purchase", "72", "0"),
        ("SavingsPlanRecurringFee (unused)", "Usage", "0", "1.5"),
        ("Tax", "Tax", "9.87", "9.87"),
        ("Credit", "Credit", "-5.005", "-5.005"),
        ("Refund", "Usage", "-1.1", "-1.1"),
        ("EdpDiscount", "Adjustment", "-0.3", "-0.3"),
    ],
)
def test_line_items_of_aws_by_their_kind(
    month_of_aws: str, kind: str, category: str, billed: str, effective: str
) -> None:
    row = of(month_of_aws, kind)

    assert row["ChargeCategory"] == category
    assert (row["BilledCost"], row["EffectiveCost"]) == (Decimal(billed), Decimal(effective))
    assert row["ChargeClass"] == ("Correction" if kind == "Refund" else None)
    unused = kind.endswith("(unused)")
    used = kind in {"DiscountedUsage", "SavingsPlanCoveredUsage"}
    status = "Unused" if unused else "Used" if used else None
    assert row["CommitmentDiscountStatus"] == status


@pytest.fixture(scope="module")
def _kept() -> dict[str, str]:
    return {}


@pytest.fixture
def month_of_aws(_kept: dict[str, str], request: pytest.FixtureRequest) -> str:
    """A tenant with the month in FOCUS, made once: nobody here changes it."""
    if "tenant" not in _kept:
        _kept["tenant"] = request.getfixturevalue("cur")
        normalize(_kept["tenant"], "aws_cur_2_0")
    return _kept["tenant"]


def test_usage_of_aws_has_its_account_service_region_and_tags(month_of_aws: str) -> None:
    (row,) = rows(month_of_aws, where="BilledCost = BIGNUMERIC '0.1150000001'")

    assert row["ServiceName"] == "Amazon Elastic Compute Cloud"
    assert (row["ServiceCategory"], row["ServiceSubcategory"]) == ("Compute", "Virtual Machines")
    assert (row["RegionId"], row["RegionName"]) == ("eu-central-1", "EU (Frankfurt)")
    assert (row["SubAccountId"], row["BillingAccountId"]) == ("444455556666", "111122223333")
    assert row["Tags"] == '{"aws_createdBy":"x","team":"bl\\"ue"}'
    assert row["SkuPriceDetails"] == (
        '{"InstanceSeries":"General purpose","InstanceType":"m5.large"}'
    )
    assert (row["ListCost"], row["ListUnitPrice"]) == (Decimal("0.115"), Decimal("0.115"))
    assert row["BillingPeriodEnd"] == datetime(2025, 12, 1, tzinfo=UTC)


def test_the_month_before_is_replaced_while_it_may_change_and_no_other(tenant: str) -> None:
    periods = {"2025-09": "1", "2025-10": "2", "2025-11": "4"}
    items = [
        focus.cur_row(number, "Usage", cost, bill_billing_period_start_date=f"{month}-01T00:00:00Z")
        for number, (month, cost) in enumerate(periods.items())
    ]
    table = f"{PROJECT}.{tenant}.export"
    focus.landed(bigquery_client(), table, "aws/cur_line_items", items)
    for day in (date(2025, 9, 30), date(2025, 11, 3)):
        context = a_context(a_run(tenant, date=day), "normalize")
        done = normalize(tenant, "aws_cur_2_0", context, lookback_days=5)

    assert done.outputs["dates"] == ["2025-10-01", "2025-11-01"]
    assert sums(tenant) == {"USD": Decimal(7)}


# --- Azure, and exports that are FOCUS ------------------------------------------------------------


def test_cost_details_of_azure(tenant: str) -> None:
    table = f"{PROJECT}.{tenant}.export"
    focus.texts(bigquery_client(), table, focus.azure_details())

    normalize(tenant, "azure_cost_details")

    assert sums(tenant) == {"CAD": Decimal("0.0353618464902"), "EUR": Decimal("-2.5")}
    spot = of(tenant, "Usage")
    assert (spot["PricingCategory"], spot["ServiceCategory"]) == ("Dynamic", "Compute")
    assert spot["ChargePeriodEnd"] == datetime(2025, 11, 3, tzinfo=UTC)
    assert spot["Tags"] == '{"tagA":"valueA","tagB":"value B"}'
    assert spot["ResourceType"] == "microsoft.compute/virtualmachines"
    refund = of(tenant, "Refund")
    assert (refund["ChargeCategory"], refund["ChargeClass"]) == ("Purchase", "Correction")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("provider", ["aws", "azure"])
def test_exports_that_are_focus_pass_through_in_every_version(
    tenant: str, provider: str, version: str
) -> None:
    tags: Any = [{"key": "team", "value": "blue"}] if provider == "aws" else '{"team":"blue"}'
    items = [focus.focus_row("0.100000000000000001", Tags=tags),
             focus.focus_row("2.5", ChargeCategory="Tax", ServiceSubcategory=None)]  # fmt: skip
    table = f"{PROJECT}.{tenant}.export"
    focus.landed(bigquery_client(), table, f"{provider}/focus_line_items", items)

    normalize(tenant, f"{provider}_focus", version=version)

    assert sums(tenant) == {"USD": Decimal("2.600000000000000001")}
    usage, tax = of(tenant, "Usage"), of(tenant, "Tax")
    assert usage["Tags"] == '{"team":"blue"}'
    assert (usage["ServiceSubcategory"], tax["ServiceSubcategory"]) == (
        "Virtual Machines", "Other (Compute)",
    )  # fmt: skip
    assert ("ProviderName" in usage) == (version != "1.4")
    if version != "1.2":
        assert usage["ServiceProviderName"] == "A publisher"
        assert usage["HostProviderName"] == "A provider"


# --- whatever the export --------------------------------------------------------------------------


def test_a_day_twice_is_the_day_once(gcp: str) -> None:
    context = a_context(a_run(gcp), "normalize")

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: normalize(gcp, "gcp_billing_export", context), range(4)))
    first = rows(gcp)
    normalize(gcp, "gcp_billing_export")

    assert {result.rows_processed for result in results} == {10}
    assert rows(gcp) == first


def test_days_that_changed_are_replaced_and_no_others(gcp: str) -> None:
    restate = {
        "table": f"{PROJECT}.{gcp}.export", "changed_column": "export_time",
        "date_column": "usage_start_time", "only": {"billing_account_id": [ACCOUNT]},
    }  # fmt: skip
    done = normalize(gcp, "gcp_billing_export", restate=restate)

    assert done.outputs["dates"] == ["2025-11-15"]
    assert done.outputs["high_water_mark"].startswith("2025-11-16T04:00:00")
    with pytest.raises(ValidationError, match="exports by day"):
        config(gcp, "aws_cur_2_0", restate=restate)


def test_rows_that_do_not_add_up_are_not_written(gcp: str, mocker: MockerFixture) -> None:
    normalize(gcp, "gcp_billing_export")
    before = rows(gcp)
    good = mapping("gcp_billing_export")
    wrong = {**good.columns, "BilledCost": "charge.amount + 0.000000001"}
    changed = good.model_copy(update={"columns": wrong})
    mocker.patch.object(module, "mapping", return_value=changed)

    with pytest.raises(FocusDifferenceError) as failure:
        normalize(gcp, "gcp_billing_export")

    assert failure.value.difference == (
        "EUR 0.300000001 instead of 0.3, USD 9.983999909 instead of 9.9839999"
    )
    assert rows(gcp) == before


def test_an_export_without_any_row_left_is_not_written(gcp: str, mocker: MockerFixture) -> None:
    """Charges that vanish leave no row that could be wrong; the export's sum tells."""
    good = mapping("gcp_billing_export")
    changed = good.model_copy(update={"charges": f"{good.charges}  WHERE FALSE"})
    mocker.patch.object(module, "mapping", return_value=changed)

    with pytest.raises(FocusDifferenceError, match=r"EUR 0 instead of 0\.3"):
        normalize(gcp, "gcp_billing_export")


def test_a_table_of_another_version_is_left_alone(gcp: str) -> None:
    normalize(gcp, "gcp_billing_export", version="1.2")

    with pytest.raises(OtherVersionError, match=r"is not of FOCUS 1\.4, by .*ProviderName"):
        normalize(gcp, "gcp_billing_export", version="1.4")

    assert len(rows(gcp)) == 10


def test_a_table_of_another_form_is_named_with_what_it_lacks(cur: str) -> None:
    with pytest.raises(InvalidInputError, match="has no column billing_account_id"):
        normalize(cur, "gcp_billing_export")


def test_the_table_of_somebody_else_is_not_read(gcp: str, fresh: Callable[[], str]) -> None:
    other = fresh()
    bigquery_client().create_dataset(other)
    focus.gcp_export(bigquery_client(), f"{PROJECT}.{other}.export", focus.gcp_rows())
    source = {"table": f"{PROJECT}.{other}.export", "export": "gcp_billing_export",
              "accounts": [ACCOUNT]}  # fmt: skip

    with pytest.raises(ForeignTableError):
        normalize(gcp, "gcp_billing_export", source=source)
    foreseen = Normalize().foresee(
        config(gcp, "gcp_billing_export", source=source), a_context(a_run(gcp))
    )
    assert isinstance(foreseen.refusal, ForeignTableError)


@pytest.mark.parametrize("name", ["a.b`; DROP TABLE x", "a.b c", "a.b.c.d", "`a`.b", "a.b\n", "a"])
def test_a_name_that_tries_to_escape_is_no_table(gcp: str, name: str) -> None:
    with pytest.raises(ValidationError, match=r"source\.table"):
        config(gcp, "aws_cur_2_0", source={"table": name, "export": "aws_cur_2_0"})


def test_what_it_would_do_can_be_asked_before(gcp: str) -> None:
    foreseen = Normalize().foresee(config(gcp, "gcp_billing_export"), a_context(a_run(gcp)))

    assert foreseen.refusal is None
    assert foreseen.tables_read == (f"{PROJECT}.{gcp}.export",)
    assert foreseen.tables_written == (f"{PROJECT}.{gcp}.focus",)
