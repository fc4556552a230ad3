"""FOCUS exports from Blob Storage into a table, against Azurite and the local BigQuery."""

import gzip
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from shared.processors import export_rows
from shared.processors.azure.cost_export import CostExport, CostExportConfig
from shared.processors.contract import StepContext, StepResult
from shared.processors.provider_errors import (
    IncompleteAnswerError,
    ProviderRefusedError,
    ProviderUnavailableError,
    SourceShapeError,
)
from shared.warehouse import rows
from shared.warehouse.conversion import UnfitValueError
from shared.warehouse.failures import WarehouseBusyError
from shared.warehouse.queries import query
from tests.azure import Export, as_csv, as_parquet, focus_rows
from tests.component.conftest import Cloud
from tests.runs import a_context, a_run

OCTOBER, NOVEMBER = date(2025, 10, 1), date(2025, 11, 1)
DAY = date(2025, 11, 20)


@pytest.fixture
def export(cloud: Cloud) -> Export:
    """An export into a container of its own."""
    return Export(cloud.environment)


def a_config(export: Export, **changes: Any) -> CostExportConfig:
    values: dict[str, Any] = {
        "source": export.source,
        "destination": {
            "dataset_type": "azure_bronze_cost",
            "table": "focus_line_items",
            "schema_template": "azure/focus_line_items",
        },
    }
    return CostExportConfig.model_validate(values | changes)


def context_of(tenant: str, day: date = DAY) -> StepContext:
    return a_context(a_run(tenant, date=day), "load_export")


def run(tenant: str, export: Export, **changes: Any) -> StepResult:
    return CostExport().run(a_config(export, **changes), context_of(tenant))


def in_table(tenant: str) -> list[dict[str, Any]]:
    sql = f"SELECT * FROM `{tenant}_azure_bronze_cost.focus_line_items` ORDER BY ResourceId"
    return rows.read(query(sql))


def costs(tenant: str) -> dict[str, Decimal]:
    return {row["ResourceId"]: row["BilledCost"] for row in in_table(tenant)}


def expected(*items: list[dict[str, Any]]) -> dict[str, Decimal]:
    return {row["ResourceId"]: Decimal(row["BilledCost"]) for some in items for row in some}


def as_gzip(items: list[dict[str, Any]]) -> bytes:
    return gzip.compress(as_csv(items), mtime=0)


FORMATS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    ".csv": as_csv,
    ".csv.gz": as_gzip,
    ".snappy.parquet": as_parquet,
}


@pytest.mark.parametrize("ending", FORMATS)
def test_a_month_is_loaded_from_all_its_files_to_the_last_digit(
    customer: str, export: Export, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_rows, "_BLOCK_BYTES", 8192)  # so that there are several blocks
    items = [focus_rows(NOVEMBER, 240, seed=1), focus_rows(NOVEMBER, 30, seed=2)]
    files = {
        f"part_{number}_0001{ending}": (FORMATS[ending](some), len(some))
        for number, some in enumerate(items)
    }
    export.deliver(NOVEMBER, files)

    result = run(customer, export)

    assert costs(customer) == expected(*items)
    found = in_table(customer)
    by_currency = {
        currency: sum(
            (r["BilledCost"] for r in found if r["BillingCurrency"] == currency), Decimal()
        )
        for currency in ("EUR", "USD")
    }
    totals = {t["currency"]: t for t in result.outputs["control_totals"]}
    assert {c: Decimal(t["cost"]) for c, t in totals.items()} == by_currency
    assert {t["period"] for t in totals.values()} == {"2025-11-01"}
    assert sum(t["rows"] for t in totals.values()) == result.rows_processed == 270
    assert result.outputs["files"] == 2
    assert result.outputs["dates"] == ["2025-11-01"]
    broken = next(row for row in found if row["ResourceId"].endswith("vm-1-1"))
    assert broken["ChargeDescription"] == 'a "quoted",\nbroken description'
    assert (broken["Tags"], broken["x_SkuIsCreditEligible"].lower()) == ('{"team":"blue"}', "true")
    assert broken["ChargePeriodStart"].isoformat() == "2025-11-02T00:00:00+00:00"


def test_running_twice_and_at_once_leaves_the_same_rows(customer: str, export: Export) -> None:
    items = focus_rows(NOVEMBER, 50)
    export.deliver(NOVEMBER, {"part_0_0001.csv": (as_csv(items), 50)})
    context = context_of(customer)
    first = CostExport().run(a_config(export), context)
    before = in_table(customer)

    with ThreadPoolExecutor(3) as pool:
        others = list(pool.map(lambda _: CostExport().run(a_config(export), context), range(3)))

    assert in_table(customer) == before
    assert all(other == first for other in others)


def test_a_crash_is_made_good_and_the_newest_run_replaces_the_month(
    customer: str, export: Export, cloud: Cloud
) -> None:
    october, november = focus_rows(OCTOBER, 5, seed=9), focus_rows(NOVEMBER, 20)
    export.deliver(OCTOBER, {"part_0_0001.csv": (as_csv(october), 5)})
    export.deliver(NOVEMBER, {"part_0_0001.csv": (as_csv(november), 20)}, "b-first")
    cloud.fail("jobs.insert", times=1, status=403, reason="rateLimitExceeded")
    context = context_of(customer)
    with pytest.raises(WarehouseBusyError):
        CostExport().run(a_config(export, lookback_days=25), context)
    CostExport().run(a_config(export, lookback_days=25), context)
    assert costs(customer) == expected(october, november)

    corrected = focus_rows(NOVEMBER, 10, seed=3)
    export.deliver(NOVEMBER, {"part_0_0001.csv.gz": (as_gzip(corrected), 10)}, "c-second")
    run(customer, export, lookback_days=0)

    assert costs(customer) == expected(october, corrected)


def test_what_is_not_whole_leaves_the_month_as_it_was(customer: str, export: Export) -> None:
    items = focus_rows(NOVEMBER, 40)
    export.deliver(NOVEMBER, {"part_0_0001.csv": (as_csv(items), 40)}, "a")
    run(customer, export)
    before = in_table(customer)
    good, zipped = as_csv(items), as_gzip(items)
    bad = dict(items[3], BilledCost="1,5")
    october = dict(items[3], BillingPeriodStart="2025-10-01T00:00Z")
    attempts: list[tuple[str, bytes, int, type[Exception], str]] = [
        ("x.csv", good[: len(good) // 2], 40, IncompleteAnswerError, "x.csv"),
        ("x.csv.gz", zipped[: len(zipped) // 2], 40, IncompleteAnswerError, "x.csv.gz"),
        ("x.csv", good, 41, IncompleteAnswerError, "40 rows of 41 came"),
        ("x.parquet", as_parquet(items)[:-9], 40, IncompleteAnswerError, "cannot be read"),
        ("x.parquet", as_parquet(items), 41, IncompleteAnswerError, "the manifest says 41"),
        ("x.csv", as_csv([*items, bad]), 41, UnfitValueError, "BilledCost"),
        ("x.csv", as_csv([*items, october]), 41, SourceShapeError, "another period than 2025-11"),
        ("x.csv", b"Cost,Date\n1,2\n", 1, SourceShapeError, "create the export with the FOCUS"),
        ("x.json", good, 40, ProviderRefusedError, "Parquet, CSV or CSV with gzip"),
    ]
    for number, (name, content, count, kind, text) in enumerate(attempts):
        export.deliver(NOVEMBER, {name: (content, count)}, f"b-{number}")
        with pytest.raises(kind) as raised:
            run(customer, export)
        assert text in str(raised.value)
        assert in_table(customer) == before, text


def test_a_manifest_that_leads_elsewhere_or_nowhere_is_refused(
    customer: str, export: Export
) -> None:
    folder = export.folder(NOVEMBER, "a")
    export.put(f"{folder}/other.csv", b"A,B\n")
    blob = {"blobName": f"{folder}/part.csv", "byteCount": 4, "dataRowCount": 0}
    other = f"{folder.replace(export.name, 'another')}/part.csv"
    attempts: list[tuple[Any, type[Exception], str]] = [
        ([blob], IncompleteAnswerError, "is gone, though the manifest names it"),
        ([blob | {"blobName": f"{folder}/other.csv"}], SourceShapeError, "BillingPeriodStart"),
        ([blob | {"blobName": f"{folder}/other.csv", "byteCount": 9}], IncompleteAnswerError, "9"),
        ([blob | {"blobName": other}], SourceShapeError, "is not below"),
        ([blob | {"blobName": f"{folder}/../../x.csv"}], SourceShapeError, "is not below"),
        ([{"blobName": "x"}], SourceShapeError, "without blobName, byteCount or dataRowCount"),
        (None, SourceShapeError, "has no list `blobs`"),
    ]
    for blobs, kind, text in attempts:
        export.announce(NOVEMBER, blobs, "a")
        with pytest.raises(kind) as raised:
            run(customer, export)
        assert text in str(raised.value)
    export.put(f"{folder}/manifest.json", json.dumps({"blobs": []}).encode()[:-3])
    with pytest.raises(IncompleteAnswerError, match="no whole JSON"):
        run(customer, export)


def test_nothing_delivered_yet_is_another_attempt_and_a_wrong_container_is_not(
    customer: str, export: Export
) -> None:
    with pytest.raises(ProviderRefusedError, match="has no container 'exports-"):
        run(customer, export)
    export.put("else/where.csv", b"")
    with pytest.raises(ProviderUnavailableError, match="delivered nothing of 2025-11"):
        run(customer, export)


def test_a_new_column_is_added_and_told(customer: str, export: Export) -> None:
    export.deliver(NOVEMBER, {"part.csv": (as_csv(focus_rows(NOVEMBER, 3)), 3)}, "a")
    run(customer, export)
    items = [row | {"x_New": "y"} for row in focus_rows(NOVEMBER, 3)]
    export.deliver(NOVEMBER, {"part.csv": (as_csv(items), 3)}, "b")

    result = run(customer, export)

    assert {row["x_New"] for row in in_table(customer)} == {"y"}
    assert [e["column"] for e in result.outputs["drift"] if e["kind"] == "column_added"] == [
        "x_New"
    ]
