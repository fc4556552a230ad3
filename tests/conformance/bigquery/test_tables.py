"""Tables and views through Google's client."""

import datetime as dt
from collections.abc import Callable

import httpx
import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField

Fresh = Callable[[str], str]

NESTED = [
    SchemaField("id", "INTEGER", "REQUIRED", description="the key"),
    SchemaField("name", "STRING"),
    SchemaField("price", "NUMERIC"),
    SchemaField("big", "BIGNUMERIC"),
    SchemaField("ratio", "FLOAT"),
    SchemaField("ok", "BOOLEAN"),
    SchemaField("raw", "BYTES"),
    SchemaField("at", "TIMESTAMP"),
    SchemaField("day", "DATE"),
    SchemaField("clock", "TIME"),
    SchemaField("local", "DATETIME"),
    SchemaField("doc", "JSON"),
    SchemaField("tags", "STRING", "REPEATED"),
    SchemaField(
        "owner",
        "RECORD",
        fields=[
            SchemaField("mail", "STRING", "REQUIRED"),
            SchemaField("phones", "RECORD", "REPEATED", fields=[SchemaField("number", "STRING")]),
        ],
    ),
]


def _table(dataset: str, *fields: SchemaField, name: str = "t") -> bigquery.Table:
    return bigquery.Table(f"{dataset}.{name}", list(fields) or [SchemaField("x", "INTEGER")])


def test_schema_comes_back_as_given(client: bigquery.Client, dataset: str) -> None:
    client.create_table(_table(dataset, *NESTED))
    assert client.get_table(f"{dataset}.t").schema == NESTED


def test_standard_type_names_become_legacy_ones(client: bigquery.Client, dataset: str) -> None:
    table = client.create_table(
        _table(
            dataset,
            SchemaField("i", "INT64"),
            SchemaField("f", "FLOAT64"),
            SchemaField("b", "BOOL"),
            SchemaField("s", "STRUCT", fields=[SchemaField("x", "INT64")]),
        )
    )
    assert [field.field_type for field in table.schema] == ["INTEGER", "FLOAT", "BOOLEAN", "RECORD"]
    assert table.schema[3].fields[0].field_type == "INTEGER"


def test_properties_come_back(client: bigquery.Client, dataset: str) -> None:
    table = _table(dataset, SchemaField("day", "DATE"), SchemaField("k", "STRING"))
    table.description, table.friendly_name = "what it is", "its name"
    table.labels = {"team": "cost"}
    table.time_partitioning = bigquery.TimePartitioning(field="day", expiration_ms=86_400_000)
    table.require_partition_filter = True
    table.clustering_fields = ["k"]
    table.expires = dt.datetime(2099, 1, 1, tzinfo=dt.UTC)
    client.create_table(table)

    found = client.get_table(table)

    assert (found.description, found.friendly_name) == ("what it is", "its name")
    assert found.labels == {"team": "cost"}
    assert found.time_partitioning.type_ == "DAY"
    assert found.time_partitioning.field == "day"
    assert found.time_partitioning.expiration_ms == 86_400_000
    assert found.require_partition_filter is True
    assert found.clustering_fields == ["k"]
    assert found.expires == dt.datetime(2099, 1, 1, tzinfo=dt.UTC)
    assert found.table_type == "TABLE"
    assert found.location == "US"
    assert (found.num_rows, found.num_bytes) == (0, 0)
    assert found.full_table_id == f"{dataset.replace('.', ':')}.t"


def test_ingestion_time_partitioning_has_no_field(client: bigquery.Client, dataset: str) -> None:
    table = _table(dataset)
    table.time_partitioning = bigquery.TimePartitioning(type_="HOUR")
    client.create_table(table)
    found = client.get_table(table).time_partitioning
    assert (found.type_, found.field) == ("HOUR", None)


def test_second_creation_conflicts(client: bigquery.Client, dataset: str) -> None:
    client.create_table(_table(dataset))
    with pytest.raises(exceptions.Conflict) as refused:
        client.create_table(_table(dataset, SchemaField("other", "STRING")))
    expected = f"Already Exists: Table {dataset.replace('.', ':')}.t"
    assert refused.value.message.endswith(expected)
    kept = client.create_table(_table(dataset, SchemaField("other", "STRING")), exists_ok=True)
    assert [field.name for field in client.get_table(kept).schema] == ["x"]


def test_missing_tables_and_datasets_are_not_found(
    client: bigquery.Client, dataset: str, fresh: Fresh
) -> None:
    with pytest.raises(exceptions.NotFound) as refused:
        client.get_table(f"{dataset}.absent")
    assert refused.value.message.endswith(f"Not found: Table {dataset.replace('.', ':')}.absent")
    absent = fresh("absent")
    with pytest.raises(exceptions.NotFound) as refused:
        client.create_table(_table(f"{client.project}.{absent}"))
    assert refused.value.message.endswith(f"Not found: Dataset {client.project}:{absent}")
    with pytest.raises(exceptions.NotFound):
        list(client.list_tables(absent))
    with pytest.raises(exceptions.NotFound):
        client.delete_table(f"{dataset}.absent")
    client.delete_table(f"{dataset}.absent", not_found_ok=True)


@pytest.mark.parametrize("name", ["with.dot", "with/slash", "a$b$c", "x" * 1025])
def test_names_that_bigquery_refuses(client: bigquery.Client, dataset: str, name: str) -> None:
    project, dataset_id = dataset.split(".")
    reference = bigquery.DatasetReference(project, dataset_id).table(name)
    with pytest.raises(exceptions.BadRequest, match="Invalid table ID"):
        client.create_table(bigquery.Table(reference, [SchemaField("x", "INTEGER")]))


@pytest.mark.parametrize("name", ["with-dash", "mit leer", "größe", "表", "_x"])
def test_names_that_bigquery_takes(client: bigquery.Client, dataset: str, name: str) -> None:
    project, dataset_id = dataset.split(".")
    reference = bigquery.DatasetReference(project, dataset_id).table(name)
    client.create_table(bigquery.Table(reference, [SchemaField("x", "INTEGER")]))
    assert client.insert_rows_json(reference, [{"x": 1}]) == []
    assert client.get_table(reference).num_rows == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([SchemaField("a", "INTEGER"), SchemaField("A", "STRING")], "Duplicate field names"),
        ([SchemaField("a b!", "INTEGER")], "Invalid field name"),
        ([SchemaField("_PARTITIONTIME", "TIMESTAMP")], "not allowed to start with"),
        ([SchemaField("a", "NONSENSE")], "not a valid value"),
        ([SchemaField("a", "RECORD")], "has no schema"),
    ],
)
def test_schemas_that_bigquery_refuses(
    client: bigquery.Client, dataset: str, fields: list[SchemaField], message: str
) -> None:
    with pytest.raises(exceptions.BadRequest, match=message):
        client.create_table(_table(dataset, *fields))


@pytest.mark.parametrize(
    ("partitioning", "clustering", "message"),
    [
        (bigquery.TimePartitioning(field="absent"), None, "partitioning cannot be found"),
        (bigquery.TimePartitioning(field="name"), None, "can only be of type"),
        (bigquery.TimePartitioning(type_="WEEK"), None, "timePartitioning.type"),
        (None, ["absent"], "clustering cannot be found"),
        (None, ["a", "b", "c", "d", "e"], "Too many clustering fields"),
    ],
)
def test_partitioning_and_clustering_that_bigquery_refuses(
    client: bigquery.Client,
    dataset: str,
    partitioning: bigquery.TimePartitioning | None,
    clustering: list[str] | None,
    message: str,
) -> None:
    table = _table(dataset, SchemaField("name", "STRING"))
    table.time_partitioning = partitioning
    table.clustering_fields = clustering
    with pytest.raises(exceptions.BadRequest, match=message):
        client.create_table(table)


def test_listing_pages(client: bigquery.Client, dataset: str) -> None:
    names = [f"t{index}" for index in range(5)]
    for name in names:
        client.create_table(_table(dataset, name=name))
    listed = list(client.list_tables(dataset, page_size=2))
    assert [item.table_id for item in listed] == names
    assert {item.table_type for item in listed} == {"TABLE"}
    assert len(list(client.list_tables(dataset, max_results=3))) == 3


# --- changes


def test_nullable_columns_are_added_and_old_rows_read_null(
    client: bigquery.Client, dataset: str
) -> None:
    table = client.create_table(
        _table(
            dataset,
            SchemaField("x", "INTEGER", "REQUIRED"),
            SchemaField("r", "RECORD", fields=[SchemaField("a", "INTEGER")]),
        )
    )
    client.insert_rows_json(table, [{"x": 1, "r": {"a": 7}}])
    table.schema = [
        SchemaField("x", "INTEGER", "NULLABLE"),
        SchemaField(
            "r", "RECORD", fields=[SchemaField("a", "INTEGER"), SchemaField("b", "STRING")]
        ),
        SchemaField("y", "STRING", description="new"),
        SchemaField("z", "INTEGER", "REPEATED"),
    ]
    changed = client.update_table(table, ["schema"])

    assert [field.name for field in changed.schema] == ["x", "r", "y", "z"]
    assert changed.schema[0].mode == "NULLABLE"
    row = {"r": {"a": 8, "b": "n"}, "y": "v", "z": [1]}
    assert client.insert_rows_json(changed, [row]) == []
    rows = sorted(client.list_rows(changed), key=lambda found: found["r"]["a"])
    assert [dict(found.items()) for found in rows] == [
        {"x": 1, "r": {"a": 7, "b": None}, "y": None, "z": []},
        {"x": None, **row},
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([SchemaField("x", "STRING")], "has changed type from INTEGER to STRING"),
        ([SchemaField("y", "INTEGER")], "is missing in new schema"),
        (
            [SchemaField("x", "INTEGER"), SchemaField("y", "STRING", "REQUIRED")],
            "Cannot add required fields",
        ),
        ([SchemaField("x", "INTEGER", "REQUIRED")], "has changed mode from NULLABLE to REQUIRED"),
        ([SchemaField("x", "INTEGER", "REPEATED")], "has changed mode"),
    ],
)
def test_other_schema_changes_are_refused(
    client: bigquery.Client, dataset: str, change: list[SchemaField], message: str
) -> None:
    table = client.create_table(_table(dataset, SchemaField("x", "INTEGER")))
    table.schema = change
    with pytest.raises(exceptions.BadRequest, match=message):
        client.update_table(table, ["schema"])
    assert client.get_table(table).schema == [SchemaField("x", "INTEGER")]


def test_metadata_changes_alone(client: bigquery.Client, dataset: str) -> None:
    table = client.create_table(_table(dataset, SchemaField("day", "DATE")))
    table.description = "d"
    table.labels = {"a": "1", "b": "2"}
    table.expires = dt.datetime(2099, 1, 1, tzinfo=dt.UTC)
    client.update_table(table, ["description", "labels", "expires"])
    table = client.get_table(table)
    table.labels = {"b": None, "c": "3"}
    table.expires = None
    client.update_table(table, ["labels", "expires"])
    found = client.get_table(table)
    assert found.labels == {"a": "1", "c": "3"}
    assert found.expires is None
    assert found.description == "d"


def test_stale_update_fails(client: bigquery.Client, dataset: str) -> None:
    stale = client.create_table(_table(dataset))
    other = client.get_table(stale)
    other.description = "first"
    client.update_table(other, ["description"])
    stale.description = "second"
    with pytest.raises(exceptions.PreconditionFailed):
        client.update_table(stale, ["description"])


def test_partitioning_cannot_be_changed(client: bigquery.Client, dataset: str) -> None:
    plain = client.create_table(_table(dataset, SchemaField("day", "DATE")))
    plain.time_partitioning = bigquery.TimePartitioning(field="day")
    with pytest.raises(exceptions.BadRequest, match="non partitioned table"):
        client.update_table(plain, ["time_partitioning"])

    partitioned = _table(dataset, SchemaField("day", "DATE"), name="p")
    partitioned.time_partitioning = bigquery.TimePartitioning(field="day")
    partitioned = client.create_table(partitioned)
    partitioned.time_partitioning = bigquery.TimePartitioning(field="day", expiration_ms=3_600_000)
    changed = client.update_table(partitioned, ["time_partitioning"])
    assert changed.time_partitioning.expiration_ms == 3_600_000
    partitioned = client.get_table(partitioned)
    partitioned.time_partitioning = bigquery.TimePartitioning(field="day", type_="MONTH")
    with pytest.raises(exceptions.BadRequest, match="Cannot change partitioning spec"):
        client.update_table(partitioned, ["time_partitioning"])


def test_expired_table_is_gone(client: bigquery.Client, dataset: str) -> None:
    table = _table(dataset)
    table.expires = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    with pytest.raises(exceptions.BadRequest, match="expirationTime"):
        client.create_table(table)


def test_deleted_table_leaves_no_rows_to_its_successor(
    client: bigquery.Client, dataset: str
) -> None:
    client.create_table(_table(dataset))
    client.insert_rows_json(f"{dataset}.t", [{"x": 1}], row_ids=["same"])
    client.delete_table(f"{dataset}.t")
    with pytest.raises(exceptions.NotFound):
        client.get_table(f"{dataset}.t")
    client.create_table(_table(dataset))
    assert client.get_table(f"{dataset}.t").num_rows == 0
    client.insert_rows_json(f"{dataset}.t", [{"x": 2}], row_ids=["same"])
    assert [row["x"] for row in client.list_rows(f"{dataset}.t")] == [2]


def test_rows_and_bytes_follow_the_contents(client: bigquery.Client, dataset: str) -> None:
    table = client.create_table(
        _table(dataset, SchemaField("i", "INTEGER"), SchemaField("s", "STRING"))
    )
    client.insert_rows_json(table, [{"i": 1, "s": "abc"}, {"i": None, "s": None}])
    found = client.get_table(table)
    assert found.num_rows == 2
    assert found.num_bytes == 8 + (2 + 3)
    client.insert_rows_json(table, [{"i": 2}])
    assert client.get_table(table).num_rows == 3


def test_decorator_reads_and_deletes_one_partition(client: bigquery.Client, dataset: str) -> None:
    table = _table(dataset, SchemaField("day", "DATE"), SchemaField("x", "INTEGER"))
    table.time_partitioning = bigquery.TimePartitioning(field="day")
    client.create_table(table)
    days = ["2025-11-14", "2025-11-15", "2025-11-15", None]
    client.insert_rows_json(table, [{"day": day, "x": i} for i, day in enumerate(days)])

    assert client.get_table(f"{dataset}.t$20251115").num_rows == 2
    client.delete_table(f"{dataset}.t$20251115")

    assert client.get_table(table).num_rows == 2
    with pytest.raises(exceptions.BadRequest, match="partition decorator"):
        client.get_table(f"{dataset}.t$2025")


# --- views


def test_view_has_the_schema_of_its_query(client: bigquery.Client, dataset: str) -> None:
    client.create_table(_table(dataset, SchemaField("x", "INTEGER"), SchemaField("s", "STRING")))
    view = bigquery.Table(f"{dataset}.v")
    view.view_query = f"SELECT x AS id, UPPER(s) AS name FROM `{dataset}.t`"
    client.create_table(view)

    found = client.get_table(f"{dataset}.v")

    assert found.table_type == "VIEW"
    assert found.view_query == view.view_query
    assert found.view_use_legacy_sql is False
    assert [(f.name, f.field_type) for f in found.schema] == [("id", "INTEGER"), ("name", "STRING")]
    assert [item.table_type for item in client.list_tables(dataset)] == ["TABLE", "VIEW"]
    client.insert_rows_json(f"{dataset}.t", [{"x": 1, "s": "a"}])
    assert [tuple(row) for row in client.query_and_wait(f"SELECT * FROM `{dataset}.v`")] == [
        (1, "A")
    ]


def test_view_of_a_wrong_query_is_refused(client: bigquery.Client, dataset: str) -> None:
    view = bigquery.Table(f"{dataset}.v")
    view.view_query = f"SELECT nothing FROM `{dataset}.absent`"
    with pytest.raises(exceptions.NotFound, match=r"Not found: Table .*absent"):
        client.create_table(view)
    view.view_query = "SELEC 1"
    with pytest.raises(exceptions.BadRequest) as refused:
        client.create_table(view)
    assert refused.value.errors[0]["reason"] == "invalidQuery"
    with pytest.raises(exceptions.NotFound):
        client.get_table(f"{dataset}.v")


def test_view_query_is_replaced(client: bigquery.Client, dataset: str) -> None:
    view = bigquery.Table(f"{dataset}.v")
    view.view_query = "SELECT 1 AS one"
    view = client.create_table(view)
    view.view_query = "SELECT 'two' AS two"
    changed = client.update_table(view, ["view_query"])
    assert [(f.name, f.field_type) for f in changed.schema] == [("two", "STRING")]
    assert [tuple(row) for row in client.query_and_wait(f"SELECT * FROM `{dataset}.v`")] == [
        ("two",)
    ]


def test_views_take_no_rows(client: bigquery.Client, dataset: str) -> None:
    view = bigquery.Table(f"{dataset}.v")
    view.view_query = "SELECT 1 AS one"
    client.create_table(view)
    with pytest.raises(exceptions.BadRequest, match="VIEW"):
        client.insert_rows_json(f"{dataset}.v", [{"one": 2}])
    with pytest.raises(exceptions.BadRequest, match="VIEW"):
        list(client.list_rows(client.get_table(f"{dataset}.v")))


def test_what_the_local_server_lacks_is_said(http: httpx.Client, dataset: str) -> None:
    project, name = dataset.split(".")
    answer = http.post(
        f"/bigquery/v2/projects/{project}/datasets/{name}/tables",
        json={
            "tableReference": {"tableId": "m"},
            "materializedView": {"query": "SELECT 1"},
        },
    )
    assert answer.status_code == 400
    assert "materialized views" in answer.json()["error"]["message"]
