"""What gcp/cost/cost_billing computes: every cost of the tenant's accounts, to the last digit."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml

from infra.local.sample_data import ACCOUNTS, Shape, rows
from shared.warehouse.schemas import load_table
from tests.googlesql import Warehouse, values

CONFIGS = Path(__file__).parents[2] / "configs" / "gcp" / "cost"
DATE = date(2025, 10, 31)
TENANTS = {
    "acme": [a.billing_account_id for a in ACCOUNTS if a.organization == "acme"],
    "techcorp": [a.billing_account_id for a in ACCOUNTS if a.organization == "techcorp"],
}
GRAIN = (
    "billing_account_id", "project_id", "service_id", "service_description", "sku_id",
    "sku_description", "location", "currency", "label_set_key",
)  # fmt: skip


def _template(name: str) -> dict[str, Any]:
    template: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yml").read_text("utf-8"))
    return template


QUERY = _template("cost_billing")["steps"][0]["source"]["query"]


@pytest.fixture(scope="module")
def export() -> pa.Table:
    """The sample export, 40,000 rows of it, with its partition pseudo-column."""
    parts = []
    for day, part in rows(Shape(rows=40_000)):
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        partition = pa.array([midnight] * part.num_rows, pa.timestamp("us", tz="UTC"))
        parts.append(part.append_column("_PARTITIONTIME", partition))
    return pa.concat_tables(parts)


@pytest.fixture(scope="module")
def warehouse(export: pa.Table) -> Iterator[Warehouse]:
    made = Warehouse()
    made.connection.register("export", export)
    yield made
    made.connection.close()


@pytest.fixture(scope="module")
def used(export: pa.Table) -> list[dict[str, Any]]:
    """The export's rows of the date, whenever they arrived."""
    days = pc.cast(pc.floor_temporal(export["usage_start_time"], unit="day"), pa.date32())
    found: list[dict[str, Any]] = export.filter(pc.equal(days, pa.scalar(DATE))).to_pylist()
    return found


def _run(warehouse: Warehouse, accounts: list[str], day: date = DATE) -> list[dict[str, Any]]:
    sql = re.sub(r"\{(\w+)\}", r"@\1", QUERY.replace("`{source_billing_table}`", "export"))
    variables = _template("cost_billing")["variables"]
    return warehouse.query(
        sql,
        date=day,
        late_arrival_days=variables["late_arrival_days"],
        billing_account_ids=accounts,
    )


def _numeric(value: float) -> Decimal:
    """CAST(value AS NUMERIC): nine decimals, halves away from zero."""
    return Decimal(value).quantize(Decimal("1e-9"), ROUND_HALF_UP, Context(prec=60))


def _control_totals(
    used: list[dict[str, Any]], accounts: list[str]
) -> dict[tuple[str, str], Decimal]:
    """What the export itself says, added up in Python, per account and currency."""
    totals: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in used:
        if row["billing_account_id"] in accounts:
            key = (row["billing_account_id"], row["currency"])
            totals[key] += _numeric(row["cost"])
            totals[key] += sum((_numeric(c["amount"]) for c in row["credits"]), Decimal(0))
    return dict(totals)


@pytest.mark.parametrize("tenant", TENANTS)
def test_net_cost_is_the_exports_own_total(
    warehouse: Warehouse, used: list[dict[str, Any]], tenant: str
) -> None:
    net: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in _run(warehouse, TENANTS[tenant]):
        net[row["billing_account_id"], row["currency"]] += row["net_cost"]
    assert dict(net) == _control_totals(used, TENANTS[tenant])
    assert len(net) == len(TENANTS[tenant])


def test_the_parts_of_a_row_add_up(warehouse: Warehouse) -> None:
    found = _run(warehouse, TENANTS["acme"])
    for row in found:
        assert sum((c["amount"] for c in row["credits"]), Decimal(0)) == row["credit_total"]
        assert row["gross_cost"] + row["credit_total"] == row["net_cost"]
        assert [c["type"] for c in row["credits"]] == sorted({c["type"] for c in row["credits"]})
    for part in ("tax_cost", "adjustment_cost", "rounding_cost", "credit_total"):
        assert any(row[part] for row in found), f"the sample shows no {part} on {DATE}"


def test_a_row_of_the_export_is_counted_once(
    warehouse: Warehouse, used: list[dict[str, Any]]
) -> None:
    """Rows with several credits, or with none, are one line item each."""
    mine = [r for r in used if r["billing_account_id"] in TENANTS["acme"]]
    assert sum(values(_run(warehouse, TENANTS["acme"]), "line_items")) == len(mine)
    assert any(len(r["credits"]) > 1 for r in used)


def test_the_grain_is_unique(warehouse: Warehouse) -> None:
    keys = values(_run(warehouse, TENANTS["acme"]), *GRAIN)
    assert len(keys) == len(set(keys)) > 100


def test_the_order_of_labels_does_not_split_a_set(
    warehouse: Warehouse, used: list[dict[str, Any]]
) -> None:
    orders = defaultdict(set)
    for row in used:
        pairs = [(label["key"], label["value"]) for label in row["labels"]]
        orders[tuple(sorted(pairs))].add(tuple(pairs))
    assert max(len(found) for found in orders.values()) > 1, "the sample shuffles no set"
    for row in _run(warehouse, TENANTS["acme"]):
        assert json.loads(row["label_set_key"]) == row["labels"]
        assert row["labels"] == sorted(row["labels"], key=lambda x: (x["key"], x["value"]))


def test_running_a_date_twice_gives_the_same_rows(warehouse: Warehouse) -> None:
    first, second = (_run(warehouse, TENANTS["acme"]) for _ in range(2))
    assert sorted(map(repr, first)) == sorted(map(repr, second))


def test_rows_that_arrive_weeks_later_are_included(warehouse: Warehouse) -> None:
    newest = max(values(_run(warehouse, TENANTS["acme"]), "last_export_time"))
    assert (newest.date() - DATE).days > 7


def test_a_tenant_without_accounts_gets_nothing(warehouse: Warehouse) -> None:
    assert _run(warehouse, []) == []


def test_the_columns_are_those_of_the_destination(warehouse: Warehouse) -> None:
    destination = _template("cost_billing")["steps"][0]["destination"]
    schema = load_table(destination["schema_template"])
    first = _run(warehouse, TENANTS["acme"])[0]
    assert list(first) == [column.name for column in schema.fields]


def test_the_dry_run_is_of_the_same_query() -> None:
    """Two files, because a step cannot inherit: kept equal by this test."""
    billing, dry = _template("cost_billing"), _template("dryrun")
    assert dry["steps"][0]["source"] == billing["steps"][0]["source"]
    assert dry["steps"][0]["destination"] == billing["steps"][0]["destination"]
    assert dry["variables"] == billing["variables"]
    assert dry["sources"] == billing["sources"]
    assert [step["ps_type"] for step in dry["steps"] if step.get("trigger") != "on_failure"] == [
        "gcp.dry_run"
    ]


@pytest.mark.parametrize("name", ["billing", "billing_cost"])
def test_the_other_names_only_extend(name: str) -> None:
    assert _template(name) == {"extends": "gcp/cost/cost_billing"}
