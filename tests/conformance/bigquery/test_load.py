"""Load jobs through Google's client: formats, dispositions, schemas, bad records, uploads."""

import base64
import gzip
import io
import json
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery import LoadJobConfig, SchemaField, SourceFormat, WriteDisposition

Fresh = Callable[[str], str]
X = [SchemaField("x", "INTEGER"), SchemaField("s", "STRING")]
JSON_FORMAT = SourceFormat.NEWLINE_DELIMITED_JSON


def _load(
    client: bigquery.Client,
    content: bytes,
    table: str,
    source_format: str,
    **options: Any,
) -> bigquery.LoadJob:
    config = LoadJobConfig(source_format=source_format, **options)
    job = client.load_table_from_file(io.BytesIO(content), table, job_config=config)
    return job.result()


def _rows(client: bigquery.Client, table: str) -> list[dict[str, Any]]:
    return [dict(row.items()) for row in client.list_rows(table)]


def _lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


# --- JSON


def test_json_rows_of_a_client_list(client: bigquery.Client, dataset: str) -> None:
    table = f"{dataset}.t"
    job = client.load_table_from_json(
        [{"x": 1, "s": "a"}, {"x": 2}], table, job_config=LoadJobConfig(schema=X)
    )
    job.result()
    assert job.output_rows == 2
    assert job.state == "DONE"
    assert _rows(client, table) == [{"x": 1, "s": "a"}, {"x": 2, "s": None}]
    assert client.get_table(table).schema == X


def test_nested_json_of_every_type(client: bigquery.Client, dataset: str) -> None:
    schema = [
        SchemaField("n", "NUMERIC"),
        SchemaField("ts", "TIMESTAMP"),
        SchemaField("d", "DATE"),
        SchemaField("t", "TIME"),
        SchemaField("dt", "DATETIME"),
        SchemaField("y", "BYTES"),
        SchemaField("b", "BOOLEAN"),
        SchemaField("l", "STRING", "REPEATED"),
        SchemaField(
            "r",
            "RECORD",
            "REPEATED",
            fields=[SchemaField("k", "STRING"), SchemaField("v", "NUMERIC", "REPEATED")],
        ),
    ]
    rows = [
        {
            "n": "12345678901234567890123456789.123456789",
            "ts": "2025-11-15 10:00:00.123456 UTC",
            "d": "2025-11-15",
            "t": "10:00:00.5",
            "dt": "2025-11-15T10:00:00",
            "y": base64.b64encode(b"\x00\xff").decode(),
            "b": True,
            "l": ["a", "b"],
            "r": [{"k": "x", "v": ["1.5"]}, {"k": None}],
        },
        {"l": None},
        {},
    ]
    _load(client, _lines(*rows), f"{dataset}.t", JSON_FORMAT, schema=schema)
    streamed = client.create_table(bigquery.Table(f"{dataset}.streamed", schema))
    assert client.insert_rows_json(streamed, rows) == []
    loaded = _rows(client, f"{dataset}.t")
    assert loaded == _rows(client, f"{dataset}.streamed")
    assert loaded[0]["n"] == Decimal("12345678901234567890123456789.123456789")
    assert loaded[0]["r"] == [{"k": "x", "v": [Decimal("1.5")]}, {"k": None, "v": []}]
    assert loaded[1] == {**dict.fromkeys(loaded[0]), "l": [], "r": []}


def test_json_values_that_need_the_row_reader(client: bigquery.Client, dataset: str) -> None:
    schema = [SchemaField("x", "INTEGER"), SchemaField("s", "STRING"), SchemaField("j", "JSON")]
    content = _lines({"X": "5", "s": 7, "j": {"a": 1}}, {"x": 6.0})
    _load(client, content, f"{dataset}.t", JSON_FORMAT, schema=schema)
    assert _rows(client, f"{dataset}.t") == [
        {"x": 5, "s": "7", "j": {"a": 1}},
        {"x": 6, "s": None, "j": None},
    ]


def test_bad_json_row_fails_the_job_and_writes_nothing(
    client: bigquery.Client, dataset: str
) -> None:
    content = _lines({"x": 1}, {"x": "abc"}, {"x": 3})
    config = LoadJobConfig(source_format=JSON_FORMAT, schema=X)
    job = client.load_table_from_file(io.BytesIO(content), f"{dataset}.t", job_config=config)
    with pytest.raises(exceptions.BadRequest, match="too many errors"):
        job.result()
    assert job.error_result["reason"] == "invalid"
    assert any("row 2" in error["message"] and "abc" in error["message"] for error in job.errors)
    with pytest.raises(exceptions.NotFound):
        client.get_table(f"{dataset}.t")


def test_bad_records_are_allowed_up_to_the_limit(client: bigquery.Client, dataset: str) -> None:
    content = _lines({"x": 1}, {"x": "abc"}, {"nope": 1}, {"x": 4}) + b"{broken\n"
    job = _load(client, content, f"{dataset}.t", JSON_FORMAT, schema=X, max_bad_records=3)
    assert job.output_rows == 2
    assert [row["x"] for row in _rows(client, f"{dataset}.t")] == [1, 4]
    with pytest.raises(exceptions.BadRequest):
        _load(client, content, f"{dataset}.t", JSON_FORMAT, schema=X, max_bad_records=2)
    assert client.get_table(f"{dataset}.t").num_rows == 2


def test_unknown_json_values_are_ignored_when_asked(client: bigquery.Client, dataset: str) -> None:
    content = _lines({"x": 1, "nope": {"a": 1}})
    _load(client, content, f"{dataset}.t", JSON_FORMAT, schema=X, ignore_unknown_values=True)
    assert _rows(client, f"{dataset}.t") == [{"x": 1, "s": None}]


def test_json_schema_is_detected(client: bigquery.Client, dataset: str) -> None:
    content = _lines(
        {"i": 1, "f": 1.5, "s": "text", "b": True, "l": [1, 2]},
        {"i": 2, "f": 2, "day": "2025-11-15", "ts": "2025-11-15 10:00:00 UTC", "r": {"k": "v"}},
    )
    _load(client, content, f"{dataset}.t", JSON_FORMAT, autodetect=True)
    schema = {field.name: field for field in client.get_table(f"{dataset}.t").schema}
    assert {name: field.field_type for name, field in schema.items()} == {
        "i": "INTEGER", "f": "FLOAT", "s": "STRING", "b": "BOOLEAN", "day": "DATE",
        "ts": "TIMESTAMP", "l": "INTEGER", "r": "RECORD",
    }  # fmt: skip
    assert schema["l"].mode == "REPEATED"


def test_gzipped_content_is_read(client: bigquery.Client, dataset: str) -> None:
    content = gzip.compress(_lines({"x": 1}))
    _load(client, content, f"{dataset}.t", JSON_FORMAT, schema=X)
    assert client.get_table(f"{dataset}.t").num_rows == 1


# --- CSV


def test_csv_with_its_options(client: bigquery.Client, dataset: str) -> None:
    content = b"x;s\n1;'a;b'\n2;''\n3;NULL\n;'line\nbreak'\n"
    _load(
        client,
        content,
        f"{dataset}.t",
        SourceFormat.CSV,
        schema=X,
        skip_leading_rows=1,
        field_delimiter=";",
        quote_character="'",
        null_marker="NULL",
        allow_quoted_newlines=True,
    )
    assert _rows(client, f"{dataset}.t") == [
        {"x": 1, "s": "a;b"},
        {"x": 2, "s": ""},
        {"x": 3, "s": None},
        {"x": None, "s": "line\nbreak"},
    ]


def test_csv_schema_and_header_are_detected(client: bigquery.Client, dataset: str) -> None:
    content = b"Day,Net Cost,service\n2025-11-15,1.5,a\n2025-11-16,2,b\n"
    _load(client, content, f"{dataset}.t", SourceFormat.CSV, autodetect=True)
    schema = client.get_table(f"{dataset}.t").schema
    assert [(field.name, field.field_type) for field in schema] == [
        ("Day", "DATE"),
        ("Net_Cost", "FLOAT"),
        ("service", "STRING"),
    ]
    assert client.get_table(f"{dataset}.t").num_rows == 2


def test_jagged_csv_rows(client: bigquery.Client, dataset: str) -> None:
    content = b"1,a\n2\n"
    with pytest.raises(exceptions.BadRequest, match="CSV table encountered too many errors"):
        _load(client, content, f"{dataset}.t", SourceFormat.CSV, schema=X)
    _load(client, content, f"{dataset}.t", SourceFormat.CSV, schema=X, allow_jagged_rows=True)
    assert _rows(client, f"{dataset}.t") == [{"x": 1, "s": "a"}, {"x": 2, "s": None}]


def test_bad_csv_value_is_named(client: bigquery.Client, dataset: str) -> None:
    config = LoadJobConfig(source_format=SourceFormat.CSV, schema=X)
    content = io.BytesIO(b"1,a\nabc,b\n")
    job = client.load_table_from_file(content, f"{dataset}.t", job_config=config)
    with pytest.raises(exceptions.BadRequest):
        job.result()
    assert any("abc" in error["message"] for error in job.errors)


# --- Parquet


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


NESTED_ARROW = pa.table(
    {
        "n": pa.array([Decimal("1.5"), None], pa.decimal128(38, 9)),
        "ts": pa.array([1_763_164_800_000_000_000, None], pa.timestamp("ns", "UTC")),
        "l": pa.array([["a"], None], pa.list_(pa.string())),
        "r": pa.array(
            [[{"k": "x", "m": {"v": 1}}], None],
            pa.list_(pa.struct([("k", pa.string()), ("m", pa.struct([("v", pa.int32())]))])),
        ),
    }
)


def test_parquet_brings_its_schema(client: bigquery.Client, dataset: str) -> None:
    _load(client, _parquet(NESTED_ARROW), f"{dataset}.t", SourceFormat.PARQUET)
    table = client.get_table(f"{dataset}.t")
    assert [(f.name, f.field_type, f.mode) for f in table.schema] == [
        ("n", "NUMERIC", "NULLABLE"),
        ("ts", "TIMESTAMP", "NULLABLE"),
        ("l", "STRING", "REPEATED"),
        ("r", "RECORD", "REPEATED"),
    ]
    rows = _rows(client, f"{dataset}.t")
    assert rows[0]["n"] == Decimal("1.5")
    assert rows[0]["r"] == [{"k": "x", "m": {"v": 1}}]
    assert rows[1] == {"n": None, "ts": None, "l": [], "r": []}


def test_parquet_columns_are_matched_by_name(client: bigquery.Client, dataset: str) -> None:
    schema = [
        SchemaField("s", "STRING"),
        SchemaField(
            "r", "RECORD", fields=[SchemaField("b", "STRING"), SchemaField("a", "INTEGER")]
        ),
        SchemaField("l", "STRING", "REPEATED"),
    ]
    client.create_table(bigquery.Table(f"{dataset}.t", schema))
    content = _parquet(pa.table({"r": [{"a": 1, "b": "x"}], "s": ["y"]}))
    _load(client, content, f"{dataset}.t", SourceFormat.PARQUET)
    assert _rows(client, f"{dataset}.t") == [{"s": "y", "r": {"b": "x", "a": 1}, "l": []}]


def test_parquet_of_other_types_is_refused(client: bigquery.Client, dataset: str) -> None:
    client.create_table(bigquery.Table(f"{dataset}.t", X))
    with pytest.raises(exceptions.BadRequest, match="does not match the target type"):
        _load(client, _parquet(pa.table({"x": ["text"]})), f"{dataset}.t", SourceFormat.PARQUET)
    with pytest.raises(exceptions.BadRequest, match="not in Parquet format"):
        _load(client, b"nonsense", f"{dataset}.t", SourceFormat.PARQUET)


# --- dispositions


def test_append_truncate_and_empty(client: bigquery.Client, dataset: str) -> None:
    table = f"{dataset}.t"
    for number in (1, 2):
        _load(client, _lines({"x": number}), table, JSON_FORMAT, schema=X)
    assert [row["x"] for row in _rows(client, table)] == [1, 2]

    with pytest.raises(exceptions.Conflict) as refused:
        _load(
            client,
            _lines({"x": 3}),
            table,
            JSON_FORMAT,
            write_disposition=WriteDisposition.WRITE_EMPTY,
        )
    assert refused.value.errors[0]["reason"] == "duplicate"

    _load(
        client,
        _lines({"y": "new"}),
        table,
        JSON_FORMAT,
        schema=[SchemaField("y", "STRING")],
        write_disposition=WriteDisposition.WRITE_TRUNCATE,
    )
    assert _rows(client, table) == [{"y": "new"}]
    assert [field.name for field in client.get_table(table).schema] == ["y"]


def test_create_never_wants_the_table(client: bigquery.Client, dataset: str) -> None:
    with pytest.raises(exceptions.NotFound, match="Not found: Table"):
        _load(
            client,
            _lines({"x": 1}),
            f"{dataset}.t",
            JSON_FORMAT,
            schema=X,
            create_disposition="CREATE_NEVER",
        )


def test_new_columns_need_the_option(client: bigquery.Client, dataset: str) -> None:
    table = f"{dataset}.t"
    _load(client, _lines({"x": 1, "s": "a"}), table, JSON_FORMAT, schema=X)
    wider = [*X, SchemaField("y", "STRING")]
    with pytest.raises(exceptions.BadRequest, match="Cannot add fields"):
        _load(client, _lines({"x": 2, "y": "b"}), table, JSON_FORMAT, schema=wider)
    _load(
        client,
        _lines({"x": 2, "y": "b"}),
        table,
        JSON_FORMAT,
        schema=wider,
        schema_update_options=["ALLOW_FIELD_ADDITION"],
    )
    assert _rows(client, table) == [
        {"x": 1, "s": "a", "y": None},
        {"x": 2, "s": None, "y": "b"},
    ]


def test_load_without_any_schema_is_refused(client: bigquery.Client, dataset: str) -> None:
    with pytest.raises(exceptions.BadRequest, match="No schema specified"):
        _load(client, _lines({"x": 1}), f"{dataset}.t", JSON_FORMAT)


def test_load_into_a_missing_dataset_is_not_found(client: bigquery.Client, fresh: Fresh) -> None:
    with pytest.raises(exceptions.NotFound, match="Not found: Dataset"):
        _load(client, _lines({"x": 1}), f"{client.project}.{fresh('no')}.t", JSON_FORMAT, schema=X)


# --- partitions


def test_partition_is_replaced_alone(client: bigquery.Client, dataset: str) -> None:
    table = bigquery.Table(f"{dataset}.t", X)
    table.time_partitioning = bigquery.TimePartitioning()
    client.create_table(table)
    for day, values in (("20251114", [1]), ("20251115", [2]), ("20251115", [3, 4])):
        _load(
            client,
            _lines(*({"x": value} for value in values)),
            f"{dataset}.t${day}",
            JSON_FORMAT,
            write_disposition=WriteDisposition.WRITE_TRUNCATE,
        )
    rows = client.query_and_wait(
        f"SELECT x, FORMAT_DATE('%Y%m%d', _PARTITIONDATE) AS day FROM `{dataset}.t` ORDER BY x"
    )
    assert [tuple(row) for row in rows] == [(1, "20251114"), (3, "20251115"), (4, "20251115")]


def test_rows_of_another_partition_are_refused(client: bigquery.Client, dataset: str) -> None:
    table = bigquery.Table(f"{dataset}.t", [SchemaField("day", "DATE")])
    table.time_partitioning = bigquery.TimePartitioning(field="day")
    client.create_table(table)
    good, bad = _lines({"day": "2025-11-15"}), _lines({"day": "2025-11-16"})
    _load(client, good, f"{dataset}.t$20251115", JSON_FORMAT)
    with pytest.raises(exceptions.BadRequest):
        _load(client, good + bad, f"{dataset}.t$20251115", JSON_FORMAT)
    assert client.get_table(table).num_rows == 1


def test_load_creates_a_partitioned_table(client: bigquery.Client, dataset: str) -> None:
    schema = [SchemaField("day", "DATE"), SchemaField("k", "STRING")]
    _load(
        client,
        _lines({"day": "2025-11-15", "k": "a"}),
        f"{dataset}.t",
        JSON_FORMAT,
        schema=schema,
        time_partitioning=bigquery.TimePartitioning(field="day"),
        clustering_fields=["k"],
    )
    table = client.get_table(f"{dataset}.t")
    assert (table.time_partitioning.field, table.clustering_fields) == ("day", ["k"])


# --- uploads and IDs


def test_large_file_goes_up_in_pieces(client: bigquery.Client, dataset: str) -> None:
    text = "z" * 1000
    content = _lines(*({"x": number, "s": text} for number in range(8000)))
    assert len(content) > 5 * 1024 * 1024  # above the client's multipart limit
    config = LoadJobConfig(source_format=JSON_FORMAT, schema=X)
    job = client.load_table_from_file(
        io.BytesIO(content), f"{dataset}.t", size=len(content), job_config=config
    )
    job.result()
    assert job.output_rows == 8000
    assert job.input_file_bytes == len(content)


def test_stream_of_unknown_size_goes_up(client: bigquery.Client, dataset: str) -> None:
    config = LoadJobConfig(source_format=JSON_FORMAT, schema=X)
    job = client.load_table_from_file(
        io.BytesIO(_lines({"x": 1})), f"{dataset}.t", size=None, job_config=config
    )
    job.result()
    assert client.get_table(f"{dataset}.t").num_rows == 1


def test_used_id_loads_nothing(client: bigquery.Client, dataset: str) -> None:
    job_id = f"load-{uuid.uuid4().hex}"
    config = LoadJobConfig(source_format=JSON_FORMAT, schema=X)

    def load(value: int) -> bigquery.LoadJob:
        content = io.BytesIO(_lines({"x": value}))
        return client.load_table_from_file(
            content, f"{dataset}.t", job_id=job_id, job_config=config, size=len(content.getvalue())
        )

    load(1).result()
    with pytest.raises(exceptions.Conflict):
        load(2)
    assert [row["x"] for row in _rows(client, f"{dataset}.t")] == [1]
    job = client.get_job(job_id)
    assert (job.job_type, job.output_rows) == ("load", 1)


def test_other_sources_are_refused_in_words(client: bigquery.Client, dataset: str) -> None:
    with pytest.raises(exceptions.BadRequest, match="Cloud Storage"):
        client.load_table_from_uri("gs://bucket/file", f"{dataset}.t")
    with pytest.raises(exceptions.BadRequest, match="does not load AVRO"):
        _load(client, b"x", f"{dataset}.t", SourceFormat.AVRO)
