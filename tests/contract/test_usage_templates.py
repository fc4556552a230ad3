"""What cost_usage and vm_usage of gcp compute, against the export added up in Python."""

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from infra.local.sample_data import ACCOUNTS, Shape, rows
from shared.warehouse.schemas import load_table
from tests.googlesql import Warehouse, values

CONFIGS = Path(__file__).parents[2] / "configs" / "gcp"
DATE = date(2025, 10, 31)
MINE = [a.billing_account_id for a in ACCOUNTS if a.organization == "acme"]
COMPUTE_ENGINE = "6F81-5844-456A"

Row = dict[str, Any]


def template(path: str) -> Row:
    found: Row = yaml.safe_load((CONFIGS / f"{path}.yml").read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def export() -> pa.Table:
    """The detailed sample export, which has all columns of the standard one."""
    parts = []
    for day, part in rows(Shape(rows=15_000), detailed=True):
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
def used(export: pa.Table) -> list[Row]:
    """The export's rows of the date and the tenant, whenever they arrived."""
    return [
        row
        for row in export.to_pylist()
        if row["usage_start_time"].date() == DATE and row["billing_account_id"] in MINE
    ]


def run(warehouse: Warehouse, path: str, accounts: list[str] | None = None) -> list[Row]:
    found = template(path)
    query = found["steps"][0]["source"]["query"].replace("`{source_billing_table}`", "export")
    return warehouse.query(
        re.sub(r"\{(\w+)\}", r"@\1", query),
        date=DATE,
        late_arrival_days=found["variables"]["late_arrival_days"],
        billing_account_ids=MINE if accounts is None else accounts,
    )


def numeric(value: float) -> Decimal:
    """CAST(value AS NUMERIC): nine decimals, halves away from zero."""
    return Decimal(value).quantize(Decimal("1e-9"), ROUND_HALF_UP, Context(prec=60))


def net(row: Row) -> Decimal:
    return numeric(row["cost"]) + sum((numeric(c["amount"]) for c in row["credits"]), Decimal(0))


@pytest.mark.parametrize("path", ["cost/cost_usage", "compute/vm_usage"])
def test_columns_are_those_of_the_schema(warehouse: Warehouse, path: str) -> None:
    destination = template(path)["steps"][0]["destination"]
    schema = load_table(destination["schema_template"])
    first = run(warehouse, path)[0]
    assert list(first) == [column.name for column in schema.fields]


@pytest.mark.parametrize("path", ["cost/cost_usage", "compute/vm_usage"])
def test_a_tenant_without_accounts_gets_nothing(warehouse: Warehouse, path: str) -> None:
    assert run(warehouse, path, []) == []


def test_usage_and_cost_are_the_exports_own_totals(warehouse: Warehouse, used: list[Row]) -> None:
    expected: dict[tuple[str, str], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 3)
    for row in used:
        if row["usage"]["unit"] is None:
            continue
        sums = expected[row["sku"]["id"], row["currency"]]
        amounts = (row["usage"]["amount"], row["usage"]["amount_in_pricing_units"])
        parts = [*map(numeric, amounts), net(row)]
        expected[row["sku"]["id"], row["currency"]] = [
            a + b for a, b in zip(sums, parts, strict=True)
        ]
    found: dict[tuple[str, str], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 3)
    for row in run(warehouse, "cost/cost_usage"):
        sums = found[row["sku_id"], row["currency"]]
        parts = [row["usage_amount"], row["usage_amount_in_pricing_units"], row["net_cost"]]
        found[row["sku_id"], row["currency"]] = [a + b for a, b in zip(sums, parts, strict=True)]
    assert found.keys() == expected.keys()
    assert len(found) > 50
    for key, (amount, *exact) in expected.items():
        assert found[key][1:] == exact
        # Byte-seconds have more digits than this harness's cast keeps.
        assert abs(found[key][0] - amount) <= abs(amount) * Decimal("1e-12")


def test_price_is_cost_by_amount_and_absent_without_usage(warehouse: Warehouse) -> None:
    for row in run(warehouse, "cost/cost_usage"):
        amount, price = row["usage_amount_in_pricing_units"], row["effective_unit_price"]
        if amount == 0:
            assert price is None
        else:
            assert float(price) == pytest.approx(float(row["net_cost"] / amount), rel=1e-6)


def test_grain_of_usage_is_unique(warehouse: Warehouse) -> None:
    rule = template("cost/cost_usage")["steps"][1]["rules"][3]
    keys = values(run(warehouse, "cost/cost_usage"), *rule["columns"])
    assert len(keys) == len(set(keys)) > 100


def test_machines_have_the_hours_and_cost_of_their_rows(
    warehouse: Warehouse, used: list[Row]
) -> None:
    expected: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for row in used:
        resource = row["resource"] or {"global_name": ""}
        if "/instance/" not in resource["global_name"]:
            continue
        assert row["service"]["id"] == COMPUTE_ENGINE
        machine = expected[resource["global_name"]]
        name = row["sku"]["description"]
        kind = "vcpu_hours" if "Core" in name else "memory_gib_hours"
        machine[kind] += numeric(row["usage"]["amount_in_pricing_units"])
        machine["net_cost"] += net(row)
    found = {row["instance_global_name"]: row for row in run(warehouse, "compute/vm_usage")}
    assert found.keys() == expected.keys()
    assert len(found) > 20
    for name, sums in expected.items():
        assert {key: found[name][key] for key in sums} == dict(sums), name


def test_machines_say_what_they_are(warehouse: Warehouse) -> None:
    found = run(warehouse, "compute/vm_usage")
    assert {row["machine_type"] for row in found} >= {"n2-standard-8", "e2-standard-8"}
    spot = {row["provisioning_model"] for row in found if "spot" in row["instance_name"]}
    assert spot == {"SPOT"}
    assert {row["provisioning_model"] for row in found} == {"SPOT", "STANDARD"}
    assert all(row["zone"].startswith(row["region"]) for row in found)
