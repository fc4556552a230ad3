"""What a table has against what its schema file says: additions to make, or drift to report.

Only additions are made by the product: new columns that may be null, a longer retention, changed
descriptions. Everything else is drift, an error that names the columns; a person settles it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shared.errors import Permanent
from shared.warehouse.schemas import Column, TableSchema, TimePartitioning

if TYPE_CHECKING:
    from google.cloud.bigquery import SchemaField, Table

_LEGACY_NAMES = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
_DAY_MS = 24 * 60 * 60 * 1000


DriftKind = Literal["column_added", "column_missing", "type_changed"]


@dataclass(frozen=True)
class DriftEvent:
    """Something about a column of a source is not as the table that it fills has it.

    `column_added`: new in the source, and from now on in the table. `column_missing`: no longer in
    the source, NULL in the rows written from now on. `type_changed`: the step stopped, and nothing
    was written.
    """

    kind: DriftKind
    table: str
    """`project.dataset.table` of the table that is written."""
    column: str
    """Dotted name; `labels.key` is a column inside of `labels`."""
    before: str | None
    """Type in the table, such as `STRING` or `ARRAY<INT64>`; None for a column it had not."""
    after: str | None
    """Type in the source; None for a column that it no longer has."""


class DriftError(Permanent):
    """Tables or views differ from their schema files in ways that are not additions."""

    code = "schema-drift"

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(
            "; ".join(problems)
            + ". Only nullable columns are added by themselves: copy the rows into a new table of"
            " the schema's form, or change the schema file."
        )
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Difference:
    """How a table differs from its schema file."""

    new_columns: tuple[str, ...] = ()
    """Dotted names of columns that can be added."""
    outdated: tuple[str, ...] = ()
    """What can be brought up to date without touching a row: `descriptions`, `retention`."""
    problems: tuple[str, ...] = ()
    """What only a person can settle, as clauses that name the column."""

    def __bool__(self) -> bool:
        """Whether there is anything to do or to report."""
        return bool(self.new_columns or self.outdated or self.problems)


def difference(table: "Table", schema: TableSchema, *, extra_columns: bool = False) -> Difference:
    """Compare a table as BigQuery describes it with its schema file.

    Args:
        table: as it is.
        schema: the file.
        extra_columns: whether the table may have columns beside those of the file.
    """
    new, problems, described = _compare_columns(
        table.schema, schema.fields, prefix="", extra_columns=extra_columns
    )
    outdated = []
    if not described or (table.description or "") != schema.description:
        outdated.append("descriptions")
    retention, partitioning = _compare_partitioning(table, schema.time_partitioning)
    if retention:
        outdated.append("retention")
    problems += partitioning
    if tuple(table.clustering_fields or ()) != schema.clustering:
        problems.append(
            f"is clustered by {_listed(table.clustering_fields or ())},"
            f" the schema says {_listed(schema.clustering)}"
        )
    if bool(table.require_partition_filter) != schema.require_partition_filter:
        outdated.append("partition filter")
    return Difference(tuple(new), tuple(outdated), tuple(problems))


def _compare_columns(
    have: Sequence["SchemaField"], want: Sequence[Column], *, prefix: str, extra_columns: bool
) -> tuple[list[str], list[str], bool]:
    """Columns to add, problems, and whether every description is as in the file."""
    existing = {field.name.lower(): field for field in have}
    new: list[str] = []
    problems: list[str] = []
    described = True
    for column in want:
        name = f"{prefix}{column.name}"
        field = existing.pop(column.name.lower(), None)
        if field is None and column.mode == "REQUIRED":
            problems.append(f"column {name} is missing and cannot be added, as it is REQUIRED")
        elif field is None:
            new.append(name)
        else:
            problems += _compare_column(field, column, name)
            inner = _compare_columns(
                field.fields, column.fields, prefix=f"{name}.", extra_columns=extra_columns
            )
            new += inner[0]
            problems += inner[1]
            described &= inner[2] and (field.description or "") == column.description
    if not extra_columns:
        problems += [f"column {prefix}{f.name} is not in the schema" for f in existing.values()]
    return new, problems, described


def _compare_column(field: "SchemaField", column: Column, name: str) -> list[str]:
    kind = _LEGACY_NAMES.get(field.field_type, field.field_type)
    problems = []
    if kind != column.type:
        problems.append(f"column {name} is {kind}, the schema says {column.type}")
    if (field.mode or "NULLABLE") != column.mode:
        problems.append(f"column {name} is {field.mode}, the schema says {column.mode}")
    return problems


def _compare_partitioning(table: "Table", want: TimePartitioning | None) -> tuple[bool, list[str]]:
    """Whether the retention is to be made longer, and problems."""
    have = table.time_partitioning
    if have is None or want is None:
        return False, [] if have is want else ["is partitioned otherwise than the schema says"]
    if (have.type_, have.field) != (want.type, want.field):
        problem = (
            f"is partitioned by {have.field or 'time of ingestion'} ({have.type_}),"
            f" the schema says {want.field or 'time of ingestion'} ({want.type})"
        )
        return False, [problem]
    kept_ms = int(have.expiration_ms) if have.expiration_ms else None
    wanted_ms = want.expiration_days * _DAY_MS if want.expiration_days else None
    if kept_ms == wanted_ms or kept_ms is None:
        shorter = kept_ms != wanted_ms
        return False, ["keeps rows for ever, the schema would drop old ones"] if shorter else []
    if wanted_ms is None or wanted_ms > kept_ms:
        return True, []
    have_days = kept_ms // _DAY_MS
    return False, [f"keeps {have_days} days, the schema only {want.expiration_days}"]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"
