"""A query engine over an empty catalog in memory, and results as plain values."""

import threading
import uuid
from typing import Any

from infra.local.bigquery.catalog import Catalog, Dataset, Table, TableRef, now_ms
from infra.local.bigquery.schemas import canonical_schema
from infra.local.bigquery.sql.engine import QueryEngine, QueryPlan, QueryRequest, QueryResult
from infra.local.bigquery.storage import Storage
from infra.local.bigquery.types import encode_rows

PROJECT = "test-project"
DATASET = "d"


class World:
    """One project `test-project` with a dataset `d`, which is the default dataset."""

    def __init__(self) -> None:
        self.storage = Storage(None)
        self.catalog = Catalog(self.storage)
        self.engine = QueryEngine(self.storage, self.catalog)
        self.add_dataset(DATASET)

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_error: object) -> None:
        self.storage.close()

    def add_dataset(self, name: str, project: str = PROJECT) -> None:
        self.catalog.create_dataset(Dataset(project, name, "US", now_ms(), now_ms()))

    def ref(self, table: str, dataset: str = DATASET) -> TableRef:
        return TableRef(PROJECT, dataset, table)

    def table(self, name: str, *columns: str | dict[str, Any], **more: Any) -> Table:
        """A table; a column is a REST field or text such as "x INTEGER REQUIRED"."""
        fields = [_field(column) if isinstance(column, str) else column for column in columns]
        dataset = more.pop("dataset", DATASET)
        return self.catalog.create_table(
            Table(
                ref=self.ref(name, dataset),
                kind="TABLE",
                schema=canonical_schema(fields),
                physical=self.catalog.new_physical(),
                created=now_ms(),
                modified=now_ms(),
                **more,
            )
        )

    def request(self, sql: str, **more: Any) -> QueryRequest:
        more.setdefault("default_dataset", (PROJECT, DATASET))
        more.setdefault("job_id", uuid.uuid4().hex)
        return QueryRequest(project=PROJECT, sql=sql, **more)

    def run(self, sql: str, **more: Any) -> QueryResult:
        return self.engine.run(self.request(sql, **more), threading.Event())

    def dry_run(self, sql: str, **more: Any) -> QueryPlan:
        return self.engine.dry_run(self.request(sql, **more))

    def rows(self, sql: str, **more: Any) -> list[tuple[Any, ...]]:
        """The result's rows: REST text of scalars, lists of arrays, dicts of records."""
        return rows_of(self.run(sql, **more))

    def value(self, sql: str, **more: Any) -> Any:
        """The only value of a result."""
        ((value,),) = self.rows(sql, **more)
        return value

    def types(self, sql: str, **more: Any) -> list[str]:
        """Names, types and modes of the result, such as "x INTEGER"."""
        return types_of(self.run(sql, **more).schema)


def rows_of(result: QueryResult) -> list[tuple[Any, ...]]:
    assert result.rows is not None
    encoded = encode_rows(result.rows, result.schema)
    return [
        tuple(_plain(cell["v"], field) for cell, field in zip(row["f"], result.schema, strict=True))
        for row in encoded
    ]


def types_of(schema: list[dict[str, Any]]) -> list[str]:
    return [
        f"{field['name']} {field['type']}{' REPEATED' * (field['mode'] == 'REPEATED')}"
        for field in schema
    ]


def _plain(value: Any, field: dict[str, Any]) -> Any:
    if field["mode"] == "REPEATED":
        return [_plain(item["v"], {**field, "mode": "NULLABLE"}) for item in value]
    if field["type"] == "RECORD" and value is not None:
        return {
            inner["name"]: _plain(cell["v"], inner)
            for cell, inner in zip(value["f"], field["fields"], strict=True)
        }
    return value


def _field(text: str) -> dict[str, Any]:
    name, kind, *mode = text.split()
    return {"name": name, "type": kind, "mode": mode[0] if mode else "NULLABLE"}


def scalar(name: str, kind: str, value: Any) -> dict[str, Any]:
    """A REST query parameter."""
    return {"name": name, "parameterType": {"type": kind}, "parameterValue": {"value": value}}


def array(name: str, kind: str, values: list[Any]) -> dict[str, Any]:
    """A REST query parameter of type ARRAY."""
    return {
        "name": name,
        "parameterType": {"type": "ARRAY", "arrayType": {"type": kind}},
        "parameterValue": {"arrayValues": [{"value": value} for value in values]},
    }
