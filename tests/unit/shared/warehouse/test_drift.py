"""Differences between a table and its schema file: additions, or drift that names the column."""

from collections.abc import Sequence
from typing import Any

import pytest
from google.cloud.bigquery import SchemaField, Table, TimePartitioning

from shared.warehouse.drift import Difference, difference
from shared.warehouse.schemas import Column, TableSchema

_DAY_MS = 86_400_000
BASE = [
    ("id", "STRING", "REQUIRED"),
    ("amount", "NUMERIC", "NULLABLE"),
    ("labels", "RECORD", "REPEATED"),
]


def _column(name: str, kind: str, mode: str) -> Column:
    inner = (_column("key", "STRING", "NULLABLE"),) if kind == "RECORD" else ()
    return Column.model_validate(
        {"name": name, "type": kind, "mode": mode, "description": f"The {name}.", "fields": inner}
    )


def _schema(columns: Sequence[tuple[str, str, str]] = BASE, **more: Any) -> TableSchema:
    fields = [_column(*column).model_dump() for column in columns]
    values = {"name": "things", "description": "Things.", "fields": fields, **more}
    return TableSchema.model_validate(values)


def _table(schema: TableSchema, fields: Sequence[SchemaField] | None = None) -> Table:
    table = Table("p.d.things", schema=fields or [c.as_field() for c in schema.fields])
    table.description = schema.description
    return table


def test_a_table_made_from_its_file_differs_in_nothing() -> None:
    schema = _schema()
    assert not difference(_table(schema), schema)


def test_standard_type_names_are_the_same_types() -> None:
    schema = _schema([("n", "INTEGER", "NULLABLE"), ("yes", "BOOLEAN", "NULLABLE")])
    fields = [
        SchemaField("n", "INT64", description="The n."),
        SchemaField("yes", "BOOL", description="The yes."),
    ]
    assert not difference(_table(schema, fields), schema)


def test_columns_differ_by_name_whatever_the_case() -> None:
    fields = [c.as_field() for c in _schema([("ID", "STRING", "REQUIRED"), *BASE[1:]]).fields]
    assert not difference(_table(_schema(), fields), _schema()).problems


def test_new_nullable_columns_are_additions_also_nested_ones() -> None:
    schema = _schema([*BASE, ("note", "STRING", "NULLABLE"), ("tags", "STRING", "REPEATED")])
    record = SchemaField("labels", "RECORD", mode="REPEATED", description="The labels.")
    have = [*(c.as_field() for c in _schema(BASE[:2]).fields), record]
    assert difference(_table(schema, have), schema) == Difference(
        new_columns=("labels.key", "note", "tags")
    )


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (("amount", "FLOAT", "NULLABLE"), "column amount is FLOAT, the schema says NUMERIC"),
        (("amount", "NUMERIC", "REPEATED"), "column amount is REPEATED, the schema says NULLABLE"),
        (("other", "NUMERIC", "NULLABLE"), "column other is not in the schema"),
    ],
)
def test_everything_else_is_a_problem(changed: tuple[str, str, str], problem: str) -> None:
    have = _schema([BASE[0], changed, BASE[2]])
    assert problem in difference(_table(have), _schema()).problems


def test_a_required_column_cannot_be_added() -> None:
    (problem,) = difference(_table(_schema(BASE[1:])), _schema()).problems
    assert problem == "column id is missing and cannot be added, as it is REQUIRED"


def test_changed_descriptions_are_brought_up_to_date() -> None:
    table = _table(_schema())
    table.description = "Other."
    assert difference(table, _schema()).outdated == ("descriptions",)


@pytest.mark.parametrize(
    ("have", "want", "outdated", "problem"),
    [
        (90, 400, ("retention",), None),
        (90, None, ("retention",), None),
        (90, 90, (), None),
        (None, None, (), None),
        (400, 90, (), "keeps 400 days, the schema only 90"),
        (None, 90, (), "keeps rows for ever, the schema would drop old ones"),
    ],
)
def test_retention_is_made_longer_never_shorter(
    have: int | None, want: int | None, outdated: tuple[str, ...], problem: str | None
) -> None:
    schema = _schema(time_partitioning={"type": "DAY", "field": "id", "expiration_days": want})
    table = _table(schema)
    table.time_partitioning = TimePartitioning(
        field="id", expiration_ms=have * _DAY_MS if have else None
    )
    found = difference(table, schema)
    assert (found.outdated, found.problems) == (outdated, (problem,) if problem else ())


def test_another_partitioning_or_clustering_is_a_problem() -> None:
    schema = _schema(time_partitioning={"type": "DAY", "field": "id"}, clustering=["amount", "id"])
    table = _table(schema)
    assert difference(table, schema).problems == (
        "is partitioned otherwise than the schema says",
        "is clustered by nothing, the schema says amount, id",
    )
    table.time_partitioning = TimePartitioning()
    assert "is partitioned by time of ingestion (DAY), the schema says id (DAY)" in (
        difference(table, schema).problems
    )
