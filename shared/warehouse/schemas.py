"""Schema files: what every table and view of the product looks like.

`schemas/<folder>/<name>.json` describes a table, its fields in the form of BigQuery's API.
`schemas/<folder>/<name>.sql` is the text of a view, with `{project}` and `{dataset}` where the
names go and its description in the leading comment. A path is `<folder>/<name>`, with or without
the suffix: `gcp/billing_cost_daily`, `tenant/x_meta_pipeline_runs.sql`.
"""

import json
import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import Field, ValidationError

from shared.errors import NotFoundError, Permanent
from shared.models import Model

if TYPE_CHECKING:
    from google.cloud.bigquery import SchemaField

ROOT = Path(__file__).resolve().parents[2] / "schemas"

ColumnType: TypeAlias = Literal[
    "STRING", "INTEGER", "FLOAT", "NUMERIC", "BIGNUMERIC", "BOOLEAN", "TIMESTAMP", "DATE",
    "DATETIME", "TIME", "BYTES", "JSON", "RECORD",
]  # fmt: skip

_PATH = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)*")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_REFERENCE = re.compile(r"\{dataset\}\.(\w+)")
_PROJECT = re.compile(r"[a-z][a-z0-9.:-]*[a-z0-9]")
_DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}")


class SchemaFileError(Permanent):
    """A file below `schemas/` is not a valid table or view."""

    code = "invalid-schema-file"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"schemas/{path}: {problem}")
        self.path = path
        self.problem = problem


class Column(Model):
    """One column, nested ones in `fields`."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Column name.")
    type: ColumnType = Field(description="BigQuery's type, by the name that its API answers with.")
    mode: Literal["NULLABLE", "REQUIRED", "REPEATED"] = Field(description="BigQuery's mode.")
    description: str = Field(min_length=1, description="What the column holds, with its unit.")
    fields: tuple["Column", ...] = Field(default=(), description="Columns of a RECORD.")

    def as_field(self) -> "SchemaField":
        """The column as Google's client wants it."""
        from google.cloud.bigquery import SchemaField

        return SchemaField(
            self.name,
            self.type,
            mode=self.mode,
            description=self.description,
            fields=[column.as_field() for column in self.fields],
        )


class TimePartitioning(Model):
    """How a table is partitioned by time."""

    type: Literal["DAY", "HOUR", "MONTH", "YEAR"] = Field(description="Length of a partition.")
    field: str | None = Field(default=None, description="Column; none means time of ingestion.")
    expiration_days: int | None = Field(
        default=None, gt=0, description="Age at which BigQuery drops a partition; the retention."
    )


class TableSchema(Model):
    """One table."""

    name: str = Field(description="Table name, from the name of the file.")
    description: str = Field(min_length=1, description="What a row is and where it comes from.")
    time_partitioning: TimePartitioning | None = Field(default=None, description="Partitioning.")
    clustering: tuple[str, ...] = Field(default=(), max_length=4, description="At most four.")
    require_partition_filter: bool = Field(default=False, description="Refuse full scans.")
    fields: tuple[Column, ...] = Field(min_length=1, description="The columns, in order.")


class ViewSchema(Model):
    """One view, with the names of its project and dataset left open."""

    name: str = Field(description="View name, from the name of the file.")
    description: str = Field(min_length=1, description="What a row is; the leading comment.")
    sql: str = Field(description="GoogleSQL text with `{project}` and `{dataset}`.")

    @property
    def references(self) -> frozenset[str]:
        """Tables and views of the same dataset that the view reads."""
        return frozenset(_REFERENCE.findall(self.sql))

    def query(self, *, project: str, dataset: str) -> str:
        """The view's text for one dataset.

        Raises:
            SchemaFileError: `project` or `dataset` is not an identifier that may go into SQL text.
        """
        for name, pattern in ((project, _PROJECT), (dataset, _DATASET)):
            if not pattern.fullmatch(name):
                raise SchemaFileError(self.name, f"{name!r} cannot stand in the view's text.")
        return self.sql.replace("{project}", project).replace("{dataset}", dataset)


Relation: TypeAlias = TableSchema | ViewSchema


def load_table(path: str) -> TableSchema:
    """The table described by `schemas/<path>.json`; `path` may carry the suffix.

    Raises:
        NotFoundError: there is no such file.
        SchemaFileError: the file does not describe a table.
    """
    return _read_table(_existing(path, ".json"))


def load_view(path: str) -> ViewSchema:
    """The view in `schemas/<path>.sql`; `path` may carry the suffix.

    Raises:
        NotFoundError: there is no such file.
        SchemaFileError: the file is not the text of a view.
    """
    return _read_view(_existing(path, ".sql"))


def load_folder(folder: str) -> tuple[Relation, ...]:
    """Every table and view of `schemas/<folder>/`: tables first, views after what they read.

    Raises:
        NotFoundError: there is no such folder, or it is empty.
        SchemaFileError: a file is not valid, or a view reads what the folder does not have.
    """
    names = [path.rpartition("/")[2] for path in known_paths() if path.startswith(f"{folder}/")]
    if not names:
        known = sorted({path.rpartition("/")[0] for path in known_paths()})
        raise NotFoundError("Schema folder", folder, known=known)
    return load_relations(folder, tuple(names))


@cache
def load_relations(folder: str, names: tuple[str, ...]) -> tuple[Relation, ...]:
    """The named tables and views of a folder and whatever the views read, in creation order.

    A name that both a table and a view have means both; names may carry the suffix of their file.

    Raises:
        NotFoundError: a name has neither a table nor a view.
        SchemaFileError: a file is not valid, or a view reads what the folder does not have.
    """
    found: dict[str, Relation] = {}
    waiting = [_existing(f"{folder}/{name}", ".sql", ".json") for name in names]
    while waiting:
        path = waiting.pop()
        relation: Relation = _read_view(path) if path.endswith(".sql") else _read_table(path)
        found[relation.name] = relation
        if isinstance(relation, ViewSchema):
            unread = relation.references - found.keys()
            waiting.extend(_referenced(path, f"{folder}/{name}") for name in unread)
    graph = {
        name: sorted(relation.references) if isinstance(relation, ViewSchema) else []
        for name, relation in sorted(found.items())
    }
    return tuple(found[name] for name in TopologicalSorter(graph).static_order())


@cache
def known_paths() -> tuple[str, ...]:
    """Every path that `load_table` or `load_view` accepts, without suffix."""
    files = (file for suffix in ("json", "sql") for file in ROOT.glob(f"*/**/*.{suffix}"))
    return tuple(sorted(file.relative_to(ROOT).with_suffix("").as_posix() for file in files))


def _existing(path: str, *suffixes: str) -> str:
    """The file of `path` with the first of `suffixes` that exists, relative to `ROOT`."""
    for suffix in suffixes:
        bare = path.removesuffix(suffix)
        if _PATH.fullmatch(bare) and (ROOT / f"{bare}{suffix}").is_file():
            return f"{bare}{suffix}"
    raise NotFoundError("Schema file", path, known=known_paths())


def _referenced(view: str, path: str) -> str:
    try:
        return _existing(path, ".sql", ".json")
    except NotFoundError as error:
        raise SchemaFileError(view, f"reads {path.rpartition('/')[2]}, {error}") from None


@cache
def _read_table(path: str) -> TableSchema:
    file = ROOT / path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return TableSchema.model_validate({"name": file.stem, **content})
    except (ValueError, TypeError, ValidationError) as error:
        raise SchemaFileError(path, str(error)) from error


@cache
def _read_view(path: str) -> ViewSchema:
    file = ROOT / path
    lines = file.read_text(encoding="utf-8").splitlines()
    comment = [line for line in lines if line.startswith("-- ")]
    body = "\n".join(line for line in lines if not line.startswith("-- ")).strip()
    unknown = set(_PLACEHOLDER.findall(body)) - {"project", "dataset"}
    if unknown:
        raise SchemaFileError(path, f"{{{min(unknown)}}} is unknown; use {{project}}, {{dataset}}.")
    if not comment or not body:
        raise SchemaFileError(path, "a view is a leading `-- ` comment (its description) and SQL.")
    description = " ".join(line.removeprefix("-- ").strip() for line in comment)
    return ViewSchema(name=file.stem, description=description, sql=body)
