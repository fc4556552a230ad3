"""Table names in FROM and DML: project, dataset, table, decorator, wildcard, INFORMATION_SCHEMA."""

import re
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from infra.local.bigquery.catalog import TableRef
from infra.local.bigquery.sql.context import Context
from infra.local.bigquery.sql.failures import invalid

_DECORATOR = re.compile(r"(.+)\$(\d{4}(?:\d{2}){0,3}|__NULL__|__UNPARTITIONED__)")
_INFORMATION = "INFORMATION_SCHEMA"


@dataclass(frozen=True, slots=True)
class TablePath:
    """A table name as the query writes it.

    Attributes:
        parts: its dotted parts.
        node: for positions.
    """

    parts: tuple[str, ...]
    node: Any

    @property
    def single(self) -> bool:
        """Whether it is a bare name, which a CTE or a temporary table may take."""
        return len(self.parts) == 1


@dataclass(frozen=True, slots=True)
class InformationView:
    """A view of INFORMATION_SCHEMA: of a dataset, of a region or of the job's project."""

    project: str
    dataset: str | None
    view: str


@dataclass(frozen=True, slots=True)
class Target:
    """A resolved table name.

    Attributes:
        partition: what follows `$`, or None.
        wildcard: whether the name ends in `*`.
    """

    ref: TableRef
    partition: str | None = None
    wildcard: bool = False


def read_path(table: exp.Table) -> TablePath:
    """The dotted parts of a table node; a name in one pair of backticks is split at its dots."""
    parts: list[str] = []
    for key in ("catalog", "db", "this"):
        part = table.args.get(key)
        if part is None:
            continue
        for piece in part.flatten() if isinstance(part, exp.Dot) else [part]:
            parts.extend(_pieces(piece.name))
    return TablePath(tuple(parts), table)


def _pieces(name: str) -> list[str]:
    head, colon, tail = name.partition(":")
    if colon:  # project:dataset.table of legacy names, domain-scoped projects included
        return [head, *tail.split(".")] if "." in tail else [head, tail]
    return name.split(".")


def information_view(context: Context, path: TablePath) -> InformationView | None:
    """The INFORMATION_SCHEMA view that the path names, or None."""
    folded = [part.upper() for part in path.parts]
    if len(folded) < 2 or _INFORMATION not in folded[:-1]:
        return None
    at = folded.index(_INFORMATION)
    before, view = path.parts[:at], folded[at + 1]
    if len(before) == 2:
        project, second = before
        return InformationView(project, None if _is_region(second) else second, view)
    if len(before) == 1:
        if _is_region(before[0]):
            return InformationView(context.project, None, view)
        return InformationView(context.project, before[0], view)
    default = context.default_dataset
    if default is not None and view not in {"SCHEMATA", "JOBS", "JOBS_BY_PROJECT"}:
        return InformationView(default[0], default[1], view)
    return InformationView(context.project, None, view)


def _is_region(name: str) -> bool:
    return name.lower().startswith("region-")


def resolve(context: Context, path: TablePath) -> Target:
    """The table that a path means in this job.

    Raises:
        ApiError: a bare name without a default dataset, or too many parts.
    """
    parts = path.parts
    name, partition = split_decorator(parts[-1])
    wildcard = name.endswith("*")
    if len(parts) == 1:
        if context.default_dataset is None:
            raise invalid(f'Table "{name}" must be qualified with a dataset (e.g. dataset.table).')
        project, dataset = context.default_dataset
    elif len(parts) == 2:
        project, dataset = context.project, parts[0]
    elif len(parts) == 3:
        project, dataset = parts[0], parts[1]
    else:
        raise invalid(f"Invalid table name: `{'.'.join(parts)}`", path.node)
    return Target(TableRef(project, dataset, name), partition, wildcard)


def split_decorator(name: str) -> tuple[str, str | None]:
    """A table name and the partition after its `$`."""
    match = _DECORATOR.fullmatch(name)
    return (match.group(1), match.group(2)) if match else (name, None)


def dataset_path(context: Context, node: exp.Expr) -> tuple[str, str]:
    """Project and dataset of a schema statement's name."""
    parts: list[str] = []
    for key in ("catalog", "db", "this"):
        part = node.args.get(key)
        if part is not None:
            parts.extend(_pieces(part.name))
    if len(parts) == 1:
        return context.project, parts[0]
    if len(parts) == 2:
        return parts[0], parts[1]
    raise invalid(f"Invalid dataset name: `{'.'.join(parts)}`", node)
