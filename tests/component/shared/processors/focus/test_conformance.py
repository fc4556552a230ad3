"""What was written, held against FOCUS: by the FinOps Foundation's validator, and by the text.

The validator that runs on our Python knows FOCUS 1.0, so it checks the columns that 1.0 and 1.2
share. What the later versions demand is checked here and by the rules of the templates
(docs/focus.md says what the newest validator finds).
"""

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from shared.clients import bigquery_client
from shared.processors.focus.mapping import VERSIONS, catalogue, subcategories
from shared.processors.focus.normalize import Normalize, NormalizeConfig
from tests import focus
from tests.component.conftest import PROJECT
from tests.runs import a_context, a_run

VALIDATOR = Path(".venv-focus/bin/focus-validator").resolve()
ERRORS_OF_ITS_OWN = {
    # Columns by names that FOCUS 1.0 does not have: InvoiceIssuerName, ProviderName, ...
    *("InvoiceIssuer_Required", "Provider_Required", "Publisher_Required", "ResourceID_Required"),
    # Reads ChargeType, which became ChargeCategory in 1.0-preview.
    "SkuPriceId_Nullable",
}
EXPORTS = ("gcp_billing_export", "aws_cur_2_0", "azure_cost_details")
Rows = list[dict[str, Any]]


def exported(tenant: str, export: str) -> None:
    """The export's own table in the tenant's dataset."""
    client, table = bigquery_client(), f"{PROJECT}.{tenant}.export"
    if export == "gcp_billing_export":
        focus.gcp_export(client, table, focus.gcp_rows())
    elif export == "aws_cur_2_0":
        focus.landed(client, table, "aws/cur_line_items", focus.cur_rows())
    else:
        focus.texts(client, table, focus.azure_details())


def written(tenant: str, export: str, version: str) -> Rows:
    source = {"table": f"{PROJECT}.{tenant}.export", "export": export,
              "accounts": [focus.ACCOUNT] if export == "gcp_billing_export" else []}  # fmt: skip
    values = {"source": source, "version": version, "destination": {"table": "focus"}}
    context = a_context(a_run(tenant), "normalize")
    Normalize().run(NormalizeConfig.model_validate(values), context)
    found = bigquery_client().query_and_wait(f"SELECT * FROM `{tenant}.focus`")
    return [dict(row) for row in found]


def as_parquet(rows: Rows, file: Path) -> None:
    """As the validator reads it: it takes only floating point numbers for decimals."""
    kinds = {"STRING": pa.string(), "BIGNUMERIC": pa.float64(),
             "TIMESTAMP": pa.timestamp("us", tz="UTC")}  # fmt: skip
    columns = catalogue("1.2").fields
    arrays = [
        pa.array([_plain(row[column.name]) for row in rows], kinds[column.type])
        for column in columns
    ]
    pq.write_table(pa.table(arrays, [column.name for column in columns]), file)


def _plain(value: Any) -> Any:
    return float(value) if hasattr(value, "as_tuple") else value


@pytest.mark.parametrize("export", EXPORTS)
def test_the_validator_of_the_finops_foundation_agrees(
    tenant: str, export: str, tmp_path: Path
) -> None:
    assert VALIDATOR.is_file(), "make component installs it; by hand: make .venv-focus/.installed"
    exported(tenant, export)
    as_parquet(written(tenant, export, "1.2"), tmp_path / "focus.parquet")
    (package,) = (VALIDATOR.parents[1] / "lib").glob("python*/site-packages")

    subprocess.run(
        [VALIDATOR, "--data-file", tmp_path / "focus.parquet", "--validate-version", "1.0",
         "--output-type", "unittest", "--output-destination", tmp_path / "report.xml"],
        cwd=package,  # it finds its list of currencies from there only
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip

    report = ET.parse(tmp_path / "report.xml")
    failed = {failure.get("name") for failure in report.iter("failure")}
    assert failed == ERRORS_OF_ITS_OWN
    assert len(list(report.iter("testcase"))) > 120


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("export", EXPORTS)
def test_rows_have_the_columns_and_nulls_that_the_version_demands(
    tenant: str, export: str, version: str
) -> None:
    exported(tenant, export)
    rows = written(tenant, export, version)

    fields = catalogue(version).fields
    assert [*rows[0]] == [column.name for column in fields]
    for row in rows:
        demanded = [c.name for c in fields if ", never NULL." in c.description]
        assert {name for name in demanded if row[name] is None} == set(), row
        assert row["ServiceSubcategory"] in subcategories()[row["ServiceCategory"]]
        assert problems(row) == []


def problems(row: dict[str, Any]) -> list[str]:
    """Requirements of FOCUS 1.2 to 1.4 on a row's own columns that it does not meet."""
    priced = row["ChargeCategory"] in {"Usage", "Purchase"}
    correction, unused = (
        row["ChargeClass"] == "Correction",
        (row["CommitmentDiscountStatus"] == "Unused"),
    )
    is_used = row["ChargeCategory"] == "Usage" and not unused
    prices = ("SkuId", "SkuPriceId", "PricingQuantity", "PricingUnit", "PricingCategory")
    commitment = ("CommitmentDiscountCategory", "CommitmentDiscountType")
    demands = {
        "a tax has no price": row["ChargeCategory"] != "Tax"
        or all(row[name] is None for name in (*prices, "ListUnitPrice", "ContractedUnitPrice")),
        "usage and purchases have one": not priced
        or correction
        or all(row[name] is not None for name in (*prices, "ListUnitPrice", "ContractedUnitPrice")),
        "only usage is consumed": is_used
        or (row["ConsumedQuantity"], row["ConsumedUnit"]) == (None, None),
        "usage is consumed": not is_used
        or correction
        or None not in (row["ConsumedQuantity"], row["ConsumedUnit"]),
        "a commitment is whole": {row[name] is None for name in commitment}
        == {row["CommitmentDiscountId"] is None},
        "a status goes with usage": row["CommitmentDiscountId"] is None
        or row["ChargeCategory"] != "Usage"
        or row["CommitmentDiscountStatus"] is not None,
        "a purchase is not usage-based": row["ChargeCategory"] != "Purchase"
        or row["ChargeFrequency"] != "Usage-Based",
        "a credit costs what it is billed": row["ChargeCategory"] != "Credit"
        or row["BilledCost"] == row["EffectiveCost"] == row["ListCost"] == row["ContractedCost"],
        "a resource has a type": (row["ResourceId"] is None) == (row["ResourceType"] is None),
        "a region has a name": (row["RegionId"] is None) == (row["RegionName"] is None),
        "a sub account has a type": (row["SubAccountId"] is None)
        == (row["SubAccountType"] is None),
        "details are of a price": row["SkuPriceDetails"] is None or row["SkuPriceId"] is not None,
        "periods are half-open": row["ChargePeriodStart"] < row["ChargePeriodEnd"]
        and row["BillingPeriodStart"] < row["BillingPeriodEnd"],
    }
    return [text for text, met in demands.items() if not met]


def test_catalogues_are_those_of_the_specification() -> None:
    names = {v: {c.name for c in catalogue(v).fields} - {"x_SourceChargeType"} for v in VERSIONS}

    assert {version: len(found) for version, found in names.items()} == {
        "1.2": 57, "1.3": 65, "1.4": 65,
    }  # fmt: skip
    assert names["1.3"] - names["1.2"] == {
        *("AllocatedMethodDetails", "AllocatedMethodId", "AllocatedResourceId"),
        *("AllocatedResourceName", "AllocatedTags", "ContractApplied"),
        *("HostProviderName", "ServiceProviderName"),
    }
    assert names["1.4"] - names["1.3"] == {"CommitmentProgramEligibilityDetails", "InvoiceDetailId"}
    assert names["1.3"] - names["1.4"] == {"ProviderName", "PublisherName"}


@pytest.mark.parametrize("provider", ["gcp", "aws", "azure"])
def test_templates_know_every_service_category(provider: str) -> None:
    template = yaml.safe_load(Path(f"configs/{provider}/cost/focus.yml").read_text("utf-8"))
    rules = {rule["name"]: rule for step in template["steps"] for rule in step.get("rules", ())}

    assert set(rules["service_category_known"]["values"]) == set(subcategories())
