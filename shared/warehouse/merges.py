"""Merging a query's result into a table by keys: rows of a known key are updated, others inserted.

One script under one job ID: it keeps the result, refuses it where two of its rows have the same
key, and ends with one MERGE, which is atomic. Two NULLs are the same key, as in GROUP BY. Where the
key holds the column that the table is partitioned by, the MERGE reads only the partitions that lie
between the first and the last of the result; with a NULL among them, all.
"""

# ruff: noqa: S608 - names of columns are checked, the query is one SELECT as BigQuery says

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from shared.clients import bigquery_client
from shared.errors import FieldProblem, InvalidInputError, Permanent, nearest
from shared.warehouse.evolution import Field, type_text
from shared.warehouse.failures import WarehouseError, translated
from shared.warehouse.jobs import FinishedJob, JobSpec, cancel, run
from shared.warehouse.partitions import Target, Work
from shared.warehouse.queries import Query

if TYPE_CHECKING:
    from google.cloud.bigquery import Table

COLUMN_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,299}$"
_COLUMN = re.compile(COLUMN_PATTERN, re.ASCII)
_TIMEOUT_SECONDS = 30.0
_KEY_TYPES = frozenset(
    {"STRING", "BYTES", "INT64", "NUMERIC", "BIGNUMERIC", "BOOL"}
    | {"DATE", "DATETIME", "TIME", "TIMESTAMP"}
)
_DUPLICATE = "merge: duplicate key "
_SAMPLE = re.compile(rf"{_DUPLICATE}(.{{0,300}}?)(?: at \[\d+:\d+\])?$", re.DOTALL)


class DuplicateKeyError(Permanent):
    """Two rows of the result have the same key; which of them should win is not said."""

    code = "duplicate-key"

    def __init__(self, table: str, keys: Sequence[str], sample: str) -> None:
        self.sample = sample
        super().__init__(
            f"{table}: several rows of the query's result have the same {', '.join(keys)}, such as"
            f" {sample}. Nothing was written. Let the query give one row a key, with GROUP BY or"
            " QUALIFY ROW_NUMBER() OVER (...) = 1."
        )


@dataclass(frozen=True)
class Merge:
    """What is merged: the keys, and the columns of the result.

    Raises:
        InvalidInputError: a key is no column of the result, or cannot be one.
    """

    keys: tuple[str, ...]
    result: tuple[Field, ...]
    """As a dry run gives them."""

    def __post_init__(self) -> None:
        """Refuse what cannot be merged before anything is touched."""
        _check(self)

    @property
    def key_columns(self) -> list[Field]:
        """The keys as columns of the result."""
        columns = {str(column["name"]): column for column in self.result}
        return [columns[key] for key in self.keys]


def merge(target: Target, what: Merge, work: Work, deadline: datetime) -> FinishedJob:
    """Merge the result of `work.query` into `target`, once per `work.work_id`.

    Raises:
        DuplicateKeyError: two rows of the result have the same key; nothing is written.
        WarehouseBusyError: not done yet, or not now; call again with the same work.
        WarehouseError: BigQuery refused; the table is as it was.
    """
    keys = what.key_columns
    sql = script(target, keys, what.result, work.query, _partitioning(target, keys))
    spec = JobSpec(
        work_id=_work_of_merge(work.work_id),
        query=work.query.model_copy(update={"sql": sql}),
        maximum_bytes_billed=work.maximum_bytes_billed,
        labels=work.labels,
        is_script=True,
    )
    try:
        return run(spec, deadline)
    except WarehouseError as error:
        found = _SAMPLE.search(str(error))
        if found is None:
            raise
        names = [str(key["name"]) for key in keys]
        raise DuplicateKeyError(target.path, names, found[1].strip()) from error


def cancel_merge(work_id: str) -> bool:
    """Stop the job by which `merge` does `work_id`, or keep it from beginning.

    Raises:
        WarehouseBusyError: not now.
        WarehouseError: BigQuery refused.
    """
    return cancel(_work_of_merge(work_id))


def _work_of_merge(work_id: str) -> str:
    return f"{work_id}--merge"


def script(
    target: Target,
    keys: Sequence[Field],
    result: Sequence[Field],
    query: Query,
    pruned: Field | None,
) -> str:
    """The statements; names are checked, the query is one SELECT as BigQuery says.

    Args:
        target: the table to merge into.
        keys: columns of the result.
        result: all columns of the result.
        query: gives the rows.
        pruned: the key that the table is partitioned by.
    """
    grouped = ", ".join(f"`{key['name']}`" for key in keys)
    return (
        "DECLARE duplicate STRING;\n"
        f"{_declarations(pruned)}"
        f"CREATE TEMP TABLE incoming AS ({query.nested});\n"
        "SET duplicate = (\n"
        f"  SELECT TO_JSON_STRING(STRUCT({grouped})) FROM incoming\n"
        f"  GROUP BY {grouped} HAVING COUNT(*) > 1 LIMIT 1\n"
        ");\n"
        "IF duplicate IS NOT NULL THEN\n"
        f"  RAISE USING MESSAGE = CONCAT('{_DUPLICATE}', SUBSTR(duplicate, 1, 200));\n"
        "END IF;\n"
        f"{_merging(target, keys, result, pruned)}"
    )


def _declarations(pruned: Field | None) -> str:
    if pruned is None:
        return ""
    return (
        "DECLARE without_partition INT64;\n"
        f"DECLARE first_partition, last_partition {type_text(pruned)};\n"
    )


def _merging(
    target: Target, keys: Sequence[Field], result: Sequence[Field], pruned: Field | None
) -> str:
    """The MERGE; a variable is a constant to it, which partitions can be pruned by."""
    conditions = [_same(str(key["name"])) for key in keys]
    whole = _merge_statement(target, keys, result, conditions)
    if pruned is None:
        return whole
    column = f"`{pruned['name']}`"
    between = f"target.{column} BETWEEN first_partition AND last_partition"
    return (
        f"SET without_partition = (SELECT COUNTIF({column} IS NULL) FROM incoming);\n"
        f"SET first_partition = (SELECT MIN({column}) FROM incoming);\n"
        f"SET last_partition = (SELECT MAX({column}) FROM incoming);\n"
        "IF without_partition = 0 THEN\n"
        f"{_merge_statement(target, keys, result, [between, *conditions])}"
        "ELSE\n"
        f"{whole}"
        "END IF;\n"
    )


def _merge_statement(
    target: Target, keys: Sequence[Field], result: Sequence[Field], conditions: Sequence[str]
) -> str:
    names = [str(column["name"]) for column in result]
    key_names = {str(key["name"]) for key in keys}
    updates = [f"`{name}` = incoming.`{name}`" for name in names if name not in key_names]
    matched = f"WHEN MATCHED THEN UPDATE SET {', '.join(updates)}\n" if updates else ""
    listed = ", ".join(f"`{name}`" for name in names)
    values = ", ".join(f"incoming.`{name}`" for name in names)
    return (
        f"MERGE `{target.path}` AS target\n"
        "USING incoming\n"
        f"ON {' AND '.join(conditions)}\n"
        f"{matched}"
        f"WHEN NOT MATCHED THEN INSERT ({listed}) VALUES ({values});\n"
    )


def _same(name: str) -> str:
    """Equal or both NULL, as an equality of two sides, which a join can be hashed by."""
    return f"TO_JSON_STRING(target.`{name}`) = TO_JSON_STRING(incoming.`{name}`)"


def _check(what: Merge) -> None:
    columns = {str(column["name"]): column for column in what.result}
    problems = [
        FieldProblem("/source/query", f"column {name!r} needs a name of letters, digits and _")
        for name in columns
        if not _COLUMN.fullmatch(name)
    ]
    for index, key in enumerate(what.keys):
        pointer = f"/destination/keys/{index}"
        if key not in columns:
            near = nearest(key, list(columns)) or list(columns)[:5]
            text = f"is no column of the query's result; it has {', '.join(near)}"
            problems.append(FieldProblem(pointer, text, key))
        elif type_text(columns[key]) not in _KEY_TYPES:
            text = f"{key} is {type_text(columns[key])}, which cannot be a key"
            problems.append(FieldProblem(pointer, text, key))
    if problems:
        raise InvalidInputError(problems)


def _partitioning(target: Target, keys: Sequence[Field]) -> Field | None:
    """The key that the table is partitioned by, if one is."""
    from google.cloud.bigquery import DEFAULT_RETRY

    with translated():
        table: Table = bigquery_client().get_table(
            target.path,
            retry=DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS),
            timeout=_TIMEOUT_SECONDS,
        )
    partitioning = table.time_partitioning
    field = partitioning.field if partitioning else None
    return next((key for key in keys if str(key["name"]).lower() == (field or "").lower()), None)
