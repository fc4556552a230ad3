"""CUR 2.0 and FOCUS exports from S3 into a table, against moto and the local BigQuery."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from shared.processors import export_rows
from shared.processors.aws import export_files, session
from shared.processors.aws.cur_export import CurExport, CurExportConfig
from shared.processors.contract import AttemptFailedError, StepContext, StepResult
from shared.processors.provider_errors import (
    IncompleteAnswerError,
    ProviderRefusedError,
    ProviderUnavailableError,
    SourceShapeError,
)
from shared.warehouse import rows
from shared.warehouse.arrow import ChangedColumnError
from shared.warehouse.failures import WarehouseError
from shared.warehouse.queries import query
from tests.aws import Account, Export, cur_rows, parquet
from tests.component.conftest import Cloud
from tests.component.shared.processors.aws.scripted import Answer, scripted
from tests.runs import a_context, a_run

OCTOBER, NOVEMBER = date(2025, 10, 1), date(2025, 11, 1)
DAY = date(2025, 11, 20)


@pytest.fixture
def export(account: Account) -> Export:
    """An export of the tenant's account."""
    return Export(account, f"acme-{uuid.uuid4().hex[:12]}")


def a_config(export: Export, **changes: Any) -> CurExportConfig:
    values: dict[str, Any] = {
        "source": {"bucket": export.bucket, "prefix": export.prefix, "export": export.name},
        "destination": {
            "dataset_type": "aws_bronze_cost",
            "table": "cur_line_items",
            "schema_template": "aws/cur_line_items",
        },
    }
    return CurExportConfig.model_validate(values | changes)


def context_of(tenant: str, day: date = DAY) -> StepContext:
    return a_context(a_run(tenant, date=day), "load_export")


def run(tenant: str, export: Export, **changes: Any) -> StepResult:
    return CurExport().run(a_config(export, **changes), context_of(tenant))


def amount(value: float) -> Decimal:
    """The amount that a double shows: its shortest text."""
    return Decimal(repr(value))


def expected(*tables: pa.Table) -> dict[str, Decimal]:
    """Cost by line item, as the export says it."""
    return {
        item: amount(cost)
        for table in tables
        for item, cost in zip(
            table["identity_line_item_id"].to_pylist(),
            table["line_item_unblended_cost"].to_pylist(),
            strict=True,
        )
    }


def in_table(tenant: str) -> list[dict[str, Any]]:
    sql = f"SELECT * FROM `{tenant}_aws_bronze_cost.cur_line_items` ORDER BY identity_line_item_id"
    return rows.read(query(sql))


def costs(tenant: str) -> dict[str, Decimal]:
    return {r["identity_line_item_id"]: r["line_item_unblended_cost"] for r in in_table(tenant)}


def test_a_period_is_loaded_from_all_its_files_to_the_last_digit(
    customer: str, export: Export
) -> None:
    files = [cur_rows(NOVEMBER, 1200, seed=1), cur_rows(NOVEMBER, 30, seed=2)]
    export.deliver(NOVEMBER, files)

    result = run(customer, export)

    assert costs(customer) == expected(*files)
    total = sum(expected(*files).values(), Decimal(0))
    assert result.rows_processed == 1230
    assert result.outputs["files"] == 2
    assert result.outputs["control_totals"] == [
        {"period": "2025-11-01", "currency": "USD", "rows": 1230, "cost": str(total)}
    ]
    first = next(r for r in in_table(customer) if r["identity_line_item_id"] == "item-1-0")
    assert first["bill_billing_period_start_date"].isoformat() == "2025-11-01T00:00:00+00:00"
    assert first["discount"] == [{"key": "EDP", "value": "-0.25"}]
    assert first["product"][1] == {"key": "region", "value": "eu-central-1"}
    assert first["resource_tags"] == []
    assert first["savings_plan_savings_plan_a_r_n"] is None


@pytest.mark.parametrize("executions", [("", ""), ("20251119T04-a1", "20251120T04-b2")])
def test_a_new_delivery_replaces_its_period_and_no_other(
    customer: str, export: Export, executions: tuple[str, str]
) -> None:
    october = cur_rows(OCTOBER, 20)
    export.deliver(OCTOBER, [october])
    export.deliver(NOVEMBER, [cur_rows(NOVEMBER, 10, seed=5), cur_rows(NOVEMBER, 10, seed=6)],
                   executions[0])  # fmt: skip
    run(customer, export, lookback_days=30)

    restated = cur_rows(NOVEMBER, 7, seed=9)
    export.deliver(NOVEMBER, [restated], executions[1])
    result = run(customer, export)

    assert costs(customer) == expected(october, restated)
    assert result.outputs["dates"] == ["2025-11-01"]


def test_running_twice_and_at_once_leaves_the_same_rows(customer: str, export: Export) -> None:
    export.deliver(NOVEMBER, [cur_rows(NOVEMBER, 300)])
    context = context_of(customer)
    first = CurExport().run(a_config(export), context)
    before = in_table(customer)

    with ThreadPoolExecutor(3) as pool:
        results = pool.map(lambda _: CurExport().run(a_config(export), context), range(3))
        assert all(result == first for result in results)

    assert in_table(customer) == before
    assert len(before) == 300


def test_periods_of_the_days_looked_back_at_are_loaded_too(customer: str, export: Export) -> None:
    export.deliver(OCTOBER, [cur_rows(OCTOBER, 5)])
    export.deliver(NOVEMBER, [cur_rows(NOVEMBER, 5)])
    early = a_context(a_run(customer, date=date(2025, 11, 10)), "load_export")

    result = CurExport().run(a_config(export), early)

    assert result.outputs["dates"] == ["2025-10-01", "2025-11-01"]
    assert [total["period"][:7] for total in result.outputs["control_totals"]] == [
        "2025-10",
        "2025-11",
    ]


def test_a_period_that_was_not_delivered_is_waited_for(customer: str, export: Export) -> None:
    with pytest.raises(ProviderUnavailableError) as raised:
        run(customer, export)
    assert f"s3://{export.bucket}/{export.manifest_key(NOVEMBER)}" in str(raised.value)


def _delivered(export: Export, tables: list[pa.Table | bytes]) -> None:
    export.deliver(NOVEMBER, tables)


def _cut(export: Export) -> None:
    whole = parquet(cur_rows(NOVEMBER, 50))
    _delivered(export, [cur_rows(NOVEMBER, 5), whole[: len(whole) // 2]])


def _not_named_as_parquet(export: Export) -> None:
    export.announce(NOVEMBER, [export.data_key(NOVEMBER, 1).replace(".snappy.parquet", ".csv.gz")])


def _newer_than_its_manifest(export: Export) -> None:
    """A delivery that overwrites, interrupted before its manifest."""
    _delivered(export, [cur_rows(NOVEMBER, 5)])
    manifest = export.s3.get_object(Bucket=export.bucket, Key=export.manifest_key(NOVEMBER))
    after = manifest["LastModified"]
    while (
        export.s3.head_object(Bucket=export.bucket, Key=export.data_key(NOVEMBER, 1))[
            "LastModified"
        ]
        <= after
    ):
        body = parquet(cur_rows(NOVEMBER, 5, seed=3))
        export.s3.put_object(Bucket=export.bucket, Key=export.data_key(NOVEMBER, 1), Body=body)


def _file_gone(export: Export) -> None:
    _delivered(export, [cur_rows(NOVEMBER, 5), cur_rows(NOVEMBER, 5, seed=2)])
    export.s3.delete_object(Bucket=export.bucket, Key=export.data_key(NOVEMBER, 2))


def _another_column_type(export: Export) -> None:
    table = cur_rows(NOVEMBER, 5)
    place = table.schema.get_field_index("line_item_unblended_cost")
    changed = table.set_column(place, "line_item_unblended_cost", pa.array(["1.5"] * 5))
    _delivered(export, [changed])


def _without_costs(export: Export) -> None:
    _delivered(export, [cur_rows(NOVEMBER, 5).drop_columns(["line_item_unblended_cost"])])


def _another_period(export: Export) -> None:
    _delivered(export, [cur_rows(OCTOBER, 5)])


def _elsewhere(export: Export) -> None:
    export.announce(NOVEMBER, ["somebody/else/data/BILLING_PERIOD=2025-11/x.parquet"])


def _no_files(export: Export) -> None:
    export.announce(NOVEMBER, [])


def _no_json(export: Export) -> None:
    key = export.manifest_key(NOVEMBER)
    export.s3.put_object(Bucket=export.bucket, Key=key, Body=b'{"dataFiles": ["s3:')


BAD_DELIVERIES: list[tuple[Callable[[Export], None], type[Exception], str]] = [
    (_cut, IncompleteAnswerError, "cannot be read"),
    (_not_named_as_parquet, ProviderRefusedError, "create the export with the format Parquet"),
    (_newer_than_its_manifest, IncompleteAnswerError, "a delivery is under way"),
    (_file_gone, IncompleteAnswerError, "is gone"),
    (_another_column_type, ChangedColumnError, "line_item_unblended_cost"),
    (_without_costs, SourceShapeError, "column line_item_unblended_cost is missing"),
    (_another_period, SourceShapeError, "rows of another period than 2025-11"),
    (_elsewhere, SourceShapeError, "is not below"),
    (_no_files, SourceShapeError, "names no files"),
    (_no_json, SourceShapeError, "is no JSON object with dataFiles"),
]


def test_a_bad_delivery_leaves_the_period_as_it_was(customer: str, export: Export) -> None:
    export.deliver(NOVEMBER, [cur_rows(NOVEMBER, 40)])
    run(customer, export)
    before = in_table(customer)
    for deliver, kind, text in BAD_DELIVERIES:
        deliver(export)
        with pytest.raises(kind) as raised:
            run(customer, export)
        assert text in str(raised.value)
        assert in_table(customer) == before, deliver.__name__


def test_a_file_that_is_replaced_while_it_is_read_is_not_mixed(
    customer: str, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    export.deliver(NOVEMBER, [cur_rows(NOVEMBER, 40)])
    run(customer, export)
    before = in_table(customer)
    export.deliver(NOVEMBER, [cur_rows(NOVEMBER, 900, seed=4), cur_rows(NOVEMBER, 900, seed=5)])
    read = export_rows.ExportRows.batches

    def replaced(*arguments: Any) -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(read(*arguments)):
            yield batch
            if number == 0:
                export.deliver(NOVEMBER, [cur_rows(NOVEMBER, 3), cur_rows(NOVEMBER, 3, seed=8)])

    monkeypatch.setattr(export_rows.ExportRows, "batches", replaced)
    with pytest.raises(IncompleteAnswerError, match="was replaced while it was read"):
        run(customer, export)

    assert in_table(customer) == before


def test_drift_of_columns_is_followed_and_recorded_once(customer: str, export: Export) -> None:
    export.deliver(NOVEMBER, [cur_rows(NOVEMBER, 3)])
    assert run(customer, export).outputs["drift"] == []
    grown = cur_rows(NOVEMBER, 3, seed=2).append_column("line_item_mood", pa.array(["a", "b", "c"]))
    export.deliver(NOVEMBER, [grown.drop_columns(["line_item_product_code"])])
    for _ in range(2):
        run(customer, export)
    assert [row["line_item_mood"] for row in in_table(customer)] == ["a", "b", "c"]
    assert {row["line_item_product_code"] for row in in_table(customer)} == {None}

    _another_column_type(export)
    for _ in range(2):
        with pytest.raises(ChangedColumnError):
            run(customer, export)

    export.deliver(NOVEMBER, [cur_rows(NOVEMBER, 3)])
    run(customer, export)
    assert {row["line_item_mood"] for row in in_table(customer)} == {None}
    events = rows.read(
        query(
            "SELECT column_name, JSON_VALUE(details.drift) AS kind, severity"
            f" FROM `{customer}.x_meta_dq_results_log` ORDER BY 1, 2"
        )
    )
    assert [tuple(event.values()) for event in events] == [
        ("line_item_mood", "column_added", "warn"),
        ("line_item_mood", "column_missing", "warn"),
        ("line_item_product_code", "column_missing", "warn"),
        ("line_item_unblended_cost", "type_changed", "fail"),
    ]


def test_an_upload_that_breaks_off_begins_no_job(
    customer: str, export: Export, cloud: Cloud
) -> None:
    export.deliver(NOVEMBER, [cur_rows(NOVEMBER, 10)])
    cloud.fail("jobs.upload", times=1, status=400, reason="invalid")
    context = context_of(customer)
    with pytest.raises(WarehouseError):
        CurExport().run(a_config(export), context)
    assert in_table(customer) == []

    CurExport().run(a_config(export), context)
    assert len(in_table(customer)) == 10


def test_focus_with_aws_columns_is_loaded_likewise(customer: str, export: Export) -> None:
    period = cur_rows(NOVEMBER, 2)["bill_billing_period_start_date"]
    table = pa.table(
        {
            "BillingPeriodStart": period,
            "BilledCost": [0.1, 0.2],
            "BillingCurrency": ["USD", "EUR"],
            "Tags": pa.array([[("team", "blue")], None], pa.map_(pa.string(), pa.string())),
            "x_ServiceCode": ["AmazonEC2", "AmazonS3"],
        }
    )
    export.deliver(NOVEMBER, [table])
    config: dict[str, Any] = {
        "source": {**a_config(export).source.model_dump(), "table": "focus"},
        "destination": {"table": "focus", "schema_template": "aws/focus_line_items"},
    }

    result = run(customer, export, **config)

    assert result.outputs["control_totals"] == [
        {"period": "2025-11-01", "currency": "USD", "rows": 1, "cost": "0.1"},
        {"period": "2025-11-01", "currency": "EUR", "rows": 1, "cost": "0.2"},
    ]
    found = rows.read(query(f"SELECT BilledCost, Tags FROM `{customer}.focus` ORDER BY 1"))
    assert found[0] == {"BilledCost": Decimal("0.1"), "Tags": [{"key": "team", "value": "blue"}]}


def test_an_export_without_a_schema_file_makes_a_table_of_its_own_columns(
    customer: str, export: Export
) -> None:
    table = cur_rows(NOVEMBER, 4)
    export.deliver(NOVEMBER, [table])
    result = run(customer, export, destination={"table": "as_is"})
    (found,) = rows.read(query(f"SELECT COUNT(*) AS n FROM `{customer}.as_is`"))
    assert found["n"] == result.rows_processed == 4
    total = sum(expected(table).values(), Decimal(0))
    assert result.outputs["control_totals"][0]["cost"] == str(total)


def test_a_bucket_that_is_not_there_is_named(
    customer: str, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_ATTEMPTS", 1)
    source = {"bucket": "no-such-bucket-of-ours", "export": "daily-cur"}
    with pytest.raises(ProviderRefusedError, match="has no bucket 'no-such-bucket-of-ours'"):
        run(customer, export, source=source)


def test_s3_that_does_not_answer_is_another_attempt(
    customer: str, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(AttemptFailedError, match="S3 does not answer"):
        run(customer, export)


def _s3_error(code: str, status: int) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>for {{token}}</Message></Error>"
    return Answer(body.encode(), status)


_MODIFIED = {"Last-Modified": "Sat, 15 Nov 2025 04:00:00 GMT"}
S3_FAILURES: list[tuple[Answer, type[Exception], str]] = [
    (_s3_error("SlowDown", 503), ProviderUnavailableError, "S3 throttles requests (SlowDown)"),
    (_s3_error("InternalError", 500), ProviderUnavailableError, "S3 failed (500 InternalError)"),
    (Answer(b"<html>Bad Gateway</html>", 502), ProviderUnavailableError, "S3 failed (502"),
    (_s3_error("ExpiredToken", 400), ProviderUnavailableError, "the role's session is over"),
    (_s3_error("AccessDenied", 403), ProviderRefusedError, "Let its policy, or its role's trust"),
    (Answer(b'{"dataFiles": [', announced=900, headers=_MODIFIED), IncompleteAnswerError,
     "the answer broke off"),
    (Answer(b"{", announced=64 * 2**20, headers=_MODIFIED), SourceShapeError, "is too large"),
]  # fmt: skip


def test_what_s3_does_to_us_leaves_the_period_as_it_was(
    customer: str, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_ATTEMPTS", 1)
    export.deliver(NOVEMBER, [cur_rows(NOVEMBER, 40)])
    run(customer, export)
    before = in_table(customer)
    with scripted() as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", service.url)
        for answer, kind, text in S3_FAILURES:
            service.will_say(answer)
            with pytest.raises(kind) as raised:
                run(customer, export)
            assert text in str(raised.value)
            assert in_table(customer) == before, text


def test_a_manifest_is_read_from_its_documented_place() -> None:
    location = export_files.ExportLocation("b", "/a/b/", "cur")
    assert (
        location.manifest(NOVEMBER) == "a/b/cur/metadata/BILLING_PERIOD=2025-11/cur-Manifest.json"
    )
    assert export_files.ExportLocation("b", "", "cur").data(NOVEMBER) == (
        "cur/data/BILLING_PERIOD=2025-11/"
    )
