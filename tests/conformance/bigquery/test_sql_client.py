"""GoogleSQL through Google's client: values, parameters, statements and errors as it shows them."""

# ruff: noqa: DTZ001 - DATETIME has no time zone

import datetime as dt
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound
from google.cloud import bigquery
from google.cloud.bigquery import (
    ArrayQueryParameter,
    QueryJobConfig,
    ScalarQueryParameter,
    SchemaField,
    StructQueryParameter,
    TimePartitioning,
)

UTC = dt.UTC


def rows(client: bigquery.Client, sql: str, **config: Any) -> list[tuple[Any, ...]]:
    job = client.query(sql, job_config=QueryJobConfig(**config))
    return [tuple(row.values()) for row in job.result()]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("9223372036854775807", 2**63 - 1),
        ("0.1", 0.1),
        ("CAST('inf' AS FLOAT64)", math.inf),
        ("NUMERIC '99999999999999999999999999999.999999999'",
         Decimal("99999999999999999999999999999.999999999")),
        ("BIGNUMERIC '1.000000000000000001'", Decimal("1.000000000000000001")),
        ("TRUE", True),
        ("'é\\n'", "é\n"),
        ("b'\\x00\\xff'", b"\x00\xff"),
        ("DATE '0001-01-01'", dt.date(1, 1, 1)),
        ("TIME '23:59:59.999999'", dt.time(23, 59, 59, 999999)),
        ("DATETIME '2025-01-02 03:04:05.5'", dt.datetime(2025, 1, 2, 3, 4, 5, 500000)),
        ("TIMESTAMP '9999-12-31 23:59:59.999999+00'",
         dt.datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
        ("TIMESTAMP '1969-12-31 23:59:59.5+00'",
         dt.datetime(1969, 12, 31, 23, 59, 59, 500000, UTC)),
        ("JSON '{\"a\": [1, null]}'", {"a": [1, None]}),
        ("[1, 2]", [1, 2]),
        ("STRUCT(1 AS a, [STRUCT('x' AS b)] AS c)", {"a": 1, "c": [{"b": "x"}]}),
        ("CAST(NULL AS DATE)", None),
    ],
)  # fmt: skip
def test_value_as_the_client_returns_it(
    client: bigquery.Client, expression: str, value: Any
) -> None:
    assert rows(client, f"SELECT {expression} AS x") == [(value,)]
    # twice: a repeated query takes another way through the engine
    assert rows(client, f"SELECT {expression} AS x") == [(value,)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("INT64", -(2**63)),
        ("FLOAT64", 1.5e300),
        ("NUMERIC", Decimal("-1.000000001")),
        ("BIGNUMERIC", Decimal("0.000000000000000001")),
        ("BOOL", False),
        ("STRING", 'it\'s "quoted" \\ `x`; --'),
        ("BYTES", bytes(range(256))),
        ("DATE", dt.date(2025, 1, 2)),
        ("TIME", dt.time(1, 2, 3, 4)),
        ("DATETIME", dt.datetime(2025, 1, 2, 3, 4, 5, 6)),
        ("TIMESTAMP", dt.datetime(2025, 1, 2, 3, 4, 5, 6, UTC)),
        ("STRING", None),
        ("DATE", None),
    ],
)
def test_parameter_comes_back(client: bigquery.Client, kind: str, value: Any) -> None:
    named = [ScalarQueryParameter("x", kind, value)]
    assert rows(client, "SELECT @x", query_parameters=named) == [(value,)]
    positional = [ScalarQueryParameter(None, kind, value)]
    assert rows(client, "SELECT ?", query_parameters=positional) == [(value,)]


def test_array_and_struct_parameters(client: bigquery.Client) -> None:
    parameters = [
        ArrayQueryParameter("ids", "INT64", [1, 3]),
        ArrayQueryParameter("none", "STRING", []),
        StructQueryParameter(
            "range",
            ScalarQueryParameter("low", "DATE", dt.date(2025, 1, 1)),
            ArrayQueryParameter("tags", "STRING", ["a", "b"]),
        ),
    ]
    found = rows(
        client,
        "SELECT ARRAY_LENGTH(@none), @range.low, ARRAY_LENGTH(@range.tags),"
        " ARRAY(SELECT x FROM UNNEST([1, 2, 3]) AS x WHERE x IN UNNEST(@ids) ORDER BY x)",
        query_parameters=parameters,
    )
    assert found == [(0, dt.date(2025, 1, 1), 2, [1, 3])]


def test_rows_written_and_read_back_are_equal(
    client: bigquery.Client, dataset: str, fresh: Callable[[str], str]
) -> None:
    table = f"{dataset}.{fresh('t')}"
    schema = [
        SchemaField("n", "NUMERIC"),
        SchemaField("at", "TIMESTAMP"),
        SchemaField("raw", "BYTES"),
        SchemaField("j", "JSON"),
        SchemaField(
            "r",
            "RECORD",
            "REPEATED",
            fields=[SchemaField("k", "STRING"), SchemaField("v", "FLOAT", "REPEATED")],
        ),
    ]
    client.create_table(bigquery.Table(table, schema))
    row = {
        "n": Decimal("0.1"),
        "at": dt.datetime(2025, 1, 2, 3, 4, 5, 678901, UTC),
        "raw": b"\x00\x01",
        "j": {"a": 1},
        "r": [{"k": "x", "v": [0.1, 1e300]}, {"k": None, "v": []}],
    }
    assert client.insert_rows(client.get_table(table), [row]) == []
    client.query(f"INSERT `{table}` SELECT * FROM `{table}`").result()
    found = [dict(item) for item in client.query(f"SELECT * FROM `{table}`").result()]
    assert found == [row, row]


def test_dml_counts(client: bigquery.Client, dataset: str) -> None:
    client.query(f"CREATE TABLE `{dataset}.m` AS SELECT 1 AS id, 'a' AS s").result()
    job = client.query(
        f"MERGE `{dataset}.m` t USING (SELECT 1 AS id UNION ALL SELECT 2) s ON t.id = s.id"
        " WHEN MATCHED THEN UPDATE SET s = 'b' WHEN NOT MATCHED THEN INSERT (id) VALUES (id)"
    )
    job.result()
    assert job.statement_type == "MERGE"
    assert job.num_dml_affected_rows == 2
    assert job.dml_stats is not None
    assert (job.dml_stats.inserted_row_count, job.dml_stats.updated_row_count) == (1, 1)
    assert rows(client, f"SELECT * FROM `{dataset}.m` ORDER BY id") == [(1, "b"), (2, None)]


def test_script_shows_its_statements(client: bigquery.Client, dataset: str) -> None:
    job = client.query(
        "DECLARE x INT64 DEFAULT 2;"
        f" CREATE TABLE `{dataset}.s` AS SELECT x AS id; SELECT id + 1 AS y FROM `{dataset}.s`"
    )
    assert [row["y"] for row in job.result()] == [3]
    assert job.statement_type == "SCRIPT"
    assert job.num_child_jobs == 2
    children = {child.statement_type for child in client.list_jobs(parent_job=job)}
    assert children == {"CREATE_TABLE_AS_SELECT", "SELECT"}


def test_partition_write_and_pruned_read(client: bigquery.Client, dataset: str) -> None:
    table = bigquery.Table(f"{dataset}.p", [SchemaField("id", "INT64"), SchemaField("d", "DATE")])
    table.time_partitioning = TimePartitioning(field="d")
    client.create_table(table)
    for day in (1, 2):
        for _ in range(2):
            rows(
                client,
                f"SELECT x AS id, DATE '2025-01-0{day}' AS d"
                " FROM UNNEST(GENERATE_ARRAY(1, 10)) AS x",
                destination=f"{dataset}.p$2025010{day}",
                write_disposition="WRITE_TRUNCATE",
            )
    sql = f"SELECT COUNT(id) FROM `{dataset}.p` WHERE d = '2025-01-02'"
    job = client.query(sql)
    assert [tuple(row.values()) for row in job.result()] == [(10,)]
    assert job.total_bytes_processed == 160
    dry = client.query(sql, job_config=QueryJobConfig(dry_run=True))
    assert dry.total_bytes_processed == 160
    assert [str(name) for name in dry.referenced_tables] == [f"{dataset}.p"]
    with pytest.raises(BadRequest, match="different partitions"):
        rows(
            client,
            "SELECT 1 AS id, DATE '2025-01-03' AS d",
            destination=f"{dataset}.p$20250102",
            write_disposition="WRITE_APPEND",
        )


def test_dry_run_schema_and_undeclared_parameters(client: bigquery.Client, dataset: str) -> None:
    client.query(f"CREATE TABLE `{dataset}.t` (id INT64, d DATE, n NUMERIC)").result()
    client.query(f"CREATE VIEW `{dataset}.v` AS SELECT * FROM `{dataset}.t`").result()
    job = client.query(
        f"SELECT id, SUM(n) AS total FROM `{dataset}.v` WHERE d = @day GROUP BY id",
        job_config=QueryJobConfig(dry_run=True),
    )
    assert [(field.name, field.field_type) for field in job.schema or []] == [
        ("id", "INTEGER"),
        ("total", "NUMERIC"),
    ]
    names = [str(name) for name in job.referenced_tables]
    assert names == [f"{dataset}.v", f"{dataset}.t"]
    (undeclared,) = job.undeclared_query_parameters
    assert (undeclared.name, undeclared.type_) == ("day", "DATE")


@pytest.mark.parametrize(
    ("sql", "error", "message"),
    [
        ("SELECT foo", BadRequest, "Unrecognized name: foo at [1:8]"),
        ("SELECT 1 FRM x", BadRequest, 'Syntax error: Unexpected identifier "x" at [1:14]'),
        ("SELECT * FROM `{d}.nope`", NotFound, "was not found in location US"),
        ("SELECT * FROM nowhere.nope", NotFound,
         "Not found: Dataset convergence-local:nowhere was not found in location US"),
        ("SELECT @x", BadRequest, "Query parameter 'x' not found at [1:8]"),
        ("SELECT 1 / 0", BadRequest, "division by zero: 1 / 0"),
        ("SELECT CAST(CONCAT('a') AS INT64)", BadRequest, "Bad int64 value: a"),
        ("SELECT ERROR('custom')", BadRequest, "custom"),
        ("CREATE TABLE `{d}.twice` (x INT64); CREATE TABLE `{d}.twice` (x INT64)", Conflict,
         "Already Exists: Table"),
        ("SELECT * FROM read_csv('/etc/passwd')", BadRequest,
         "Table-valued function not found: read_csv"),
    ],
)  # fmt: skip
def test_error_class_and_text(
    client: bigquery.Client, dataset: str, sql: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        client.query(sql.replace("{d}", dataset)).result()
    assert message in str(caught.value)


def test_default_dataset(client: bigquery.Client, dataset: str) -> None:
    client.query(f"CREATE TABLE `{dataset}.t` AS SELECT 1 AS id").result()
    assert rows(client, "SELECT id FROM t", default_dataset=dataset) == [(1,)]
    with pytest.raises(BadRequest, match='Table "t" must be qualified with a dataset'):
        rows(client, "SELECT id FROM t")


def test_a_result_of_many_pages_is_complete_and_in_order(client: bigquery.Client) -> None:
    job = client.query(
        "SELECT n, CAST(n AS STRING) AS s, [n, n + 1] AS a"
        " FROM UNNEST(GENERATE_ARRAY(1, 30000)) AS n ORDER BY n"
    )
    found = [row["n"] for row in job.result(page_size=7000)]
    assert found == list(range(1, 30001))
