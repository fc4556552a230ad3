"""The sample export: deterministic, complete in form, plausible in content."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any

import pytest

from infra.local.sample_data import ACCOUNTS, Shape, rows
from infra.local.sample_data.load import parquet_bytes
from infra.local.sample_data.schema import ARROW_SCHEMA, COLUMNS

PUBLISHED = """
billing_account_id invoice cost_type service sku usage_start_time usage_end_time project labels
system_labels location cost currency currency_conversion_rate usage credits adjustment_info
export_time tags cost_at_list transaction_type seller_name price cost_at_effective_price_default
cost_at_list_consumption_model consumption_model
"""

SMALL = Shape(rows=5_000)
DIGEST = """
import hashlib
from infra.local.sample_data import Shape, rows
from infra.local.sample_data.load import parquet_bytes
digest = hashlib.sha256()
for _, part in rows(Shape(rows=5_000)):
    digest.update(parquet_bytes(part))
print(digest.hexdigest())
"""


@cache
def partitions(shape: Shape = SMALL) -> dict[date, list[dict[str, Any]]]:
    return {day: part.to_pylist() for day, part in rows(shape)}


def everything(shape: Shape = SMALL) -> list[dict[str, Any]]:
    return [row for part in partitions(shape).values() for row in part]


def test_the_same_bytes_in_every_process() -> None:
    digest = hashlib.sha256()
    for _, part in rows(SMALL):
        digest.update(parquet_bytes(part))
    other = subprocess.run(
        [sys.executable, "-c", DIGEST],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == digest.hexdigest()


def test_another_seed_gives_other_rows() -> None:
    first = next(iter(rows(SMALL)))[1]
    second = next(iter(rows(Shape(rows=5_000, seed=1))))[1]
    assert not first.equals(second)


@pytest.mark.parametrize("shape", [SMALL, Shape(rows=1_000, days=7), Shape(rows=40, days=1)])
def test_exactly_the_rows_and_days_asked_for(shape: Shape) -> None:
    assert len(everything(shape)) == shape.rows
    assert list(partitions(shape)) == [shape.start + timedelta(n) for n in range(shape.days)]
    assert {r["usage_start_time"].date() for r in everything(shape)} <= partitions(shape).keys()


def test_too_few_rows_for_the_days_is_an_error() -> None:
    with pytest.raises(ValueError, match="35 days need at least 1400 rows, not 100"):
        Shape(rows=100)


def test_all_published_columns_with_their_types() -> None:
    assert ARROW_SCHEMA.names == PUBLISHED.split()
    fields = {column.name: column.bigquery_field() for column in COLUMNS}
    repeated = {name for name, field in fields.items() if field.mode == "REPEATED"}
    assert repeated == {"labels", "system_labels", "credits", "tags"}
    assert [f.name for f in fields["credits"].fields] == [
        "id",
        "full_name",
        "type",
        "name",
        "amount",
    ]
    assert {f.name: f.mode for f in fields["project"].fields}["ancestors"] == "REPEATED"
    assert fields["cost"].field_type == "FLOAT"
    assert {f.name: f.field_type for f in fields["price"].fields}["list_price"] == "NUMERIC"


def test_every_row_is_in_the_partition_of_its_arrival() -> None:
    for day, part in partitions().items():
        for row in part:
            assert row["export_time"].date() == day
            assert row["export_time"] > row["usage_end_time"]
            assert row["usage_end_time"] - row["usage_start_time"] == timedelta(hours=1)


def test_variety() -> None:
    found = everything(Shape(rows=20_000))
    regular = [row for row in found if row["cost_type"] == "regular"]
    assert len({row["billing_account_id"] for row in found}) == len(ACCOUNTS) >= 3
    assert len({row["service"]["id"] for row in regular}) >= 20
    assert len({row["sku"]["id"] for row in regular}) >= 90
    assert {row["currency"] for row in found} == {"USD", "EUR"}
    assert len({row["location"]["region"] for row in regular}) > 3
    assert {row["cost_type"] for row in found} == {"regular", "tax", "adjustment", "rounding_error"}
    assert Counter(len(row["credits"]) for row in regular).keys() >= {0, 1, 2}
    assert {credit["type"] for row in found for credit in row["credits"]} == {
        "SUSTAINED_USAGE_DISCOUNT",
        "COMMITTED_USAGE_DISCOUNT",
        "COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE",
        "FREE_TIER",
        "PROMOTION",
    }


def test_costs_follow_from_usage_price_and_currency() -> None:
    for row in everything():
        rate = row["currency_conversion_rate"]
        assert (rate == 1) == (row["currency"] == "USD")
        assert row["currency"] == _account(row).currency
        if row["cost_type"] == "regular":
            expected = row["usage"]["amount_in_pricing_units"] * float(
                row["price"]["effective_price"]
            )
            assert row["cost"] == pytest.approx(expected)
            assert all(credit["amount"] < 0 for credit in row["credits"])
            assert row["project"]["ancestors"][-1]["resource_name"].startswith("organizations/")


def test_some_taxes_have_no_project() -> None:
    taxes = [row for row in everything() if row["cost_type"] == "tax"]
    assert {row["project"] is None for row in taxes} == {True, False}


def test_corrections_negate_an_earlier_row_and_replace_it() -> None:
    def key(row: dict[str, Any], factor: float) -> tuple[Any, ...]:
        start = row["usage_start_time"]
        return row["billing_account_id"], row["sku"]["id"], start, round(row["cost"] * factor, 12)

    originals = {key(r, 1): r for r in everything() if r["cost_type"] == "regular"}
    corrections = [
        row
        for row in everything()
        if row["adjustment_info"] and row["adjustment_info"]["type"] == "USAGE_CORRECTION"
    ]
    negated = [row for row in corrections if key(row, -1) in originals]
    assert len(corrections) == 2 * len(negated) > 20
    for row in negated:
        original = originals[key(row, -1)]
        assert row["export_time"] > original["export_time"]
        given = [credit["amount"] for credit in original["credits"]]
        assert [-credit["amount"] for credit in row["credits"]] == given


def test_a_good_part_of_the_rows_arrives_days_later() -> None:
    lags = [(r["export_time"].date() - r["usage_start_time"].date()).days for r in everything()]
    assert sum(lag >= 1 for lag in lags) > 0.2 * len(lags)
    assert sum(lag >= 3 for lag in lags) > 0.01 * len(lags)
    assert max(lags) > 20


def test_the_export_ends_with_its_last_day() -> None:
    midnight = datetime.combine(SMALL.end + timedelta(days=1), time(tzinfo=UTC))
    assert max(row["export_time"] for row in everything()) < midnight
    assert len(partitions()[SMALL.end]) > 0


def _account(row: dict[str, Any]) -> Any:
    return next(a for a in ACCOUNTS if a.billing_account_id == row["billing_account_id"])


def test_detailed_export_has_the_same_rows_and_says_what_was_used() -> None:
    shape = Shape(rows=1_000, days=7)
    standard = dict(rows(shape))
    names = set()
    for day, part in rows(shape, detailed=True):
        assert part.select(ARROW_SCHEMA.names).equals(standard[day])
        for row in part.to_pylist():
            resource = row["resource"]
            names.add(resource["global_name"].split("/")[2] if resource else None)
            if row["system_labels"] and row["service"]["description"] == "Compute Engine":
                assert "/instance/" in resource["global_name"]
    assert names == {None, "compute.googleapis.com", "storage.googleapis.com"}
