"""The state of one statement's translation: environment, parameters, tables, bytes."""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from infra.local.bigquery.catalog import Catalog, Table, TableRef
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql.scope import Uses
from infra.local.bigquery.sql.typesystem import SqlType

MAX_VIEW_DEPTH = 16  # BigQuery quotas, views: nesting depth


@dataclass(frozen=True)
class Environment:
    """What a statement is read against.

    Attributes:
        parameters: types of the named query parameters by folded name.
        positional: types of the positional ones, in order.
        variables: types of the script's variables by folded name.
        temporary: the script's temporary tables by folded name.
        functions: the script's SQL functions (udfs.SqlFunction) by folded name.
        declared_only: refuse parameters without a value; a dry run reports them instead.
        session_user: what SESSION_USER() answers.
        jobs: rows of INFORMATION_SCHEMA.JOBS of a project.
    """

    catalog: Catalog
    project: str
    default_dataset: tuple[str, str] | None = None
    parameters: dict[str, SqlType] = field(default_factory=dict)
    positional: tuple[SqlType, ...] = ()
    mode: str | None = None
    variables: dict[str, SqlType] = field(default_factory=dict)
    temporary: dict[str, Table] = field(default_factory=dict)
    functions: dict[str, Any] = field(default_factory=dict)
    declared_only: bool = True
    session_user: str = "local@convergence-local.iam.gserviceaccount.com"
    jobs: Callable[[str], Iterable[tuple[Any, ...]]] = lambda _: ()


@dataclass
class Scan:
    """One reading of a base table; bytes are estimated per scan.

    Attributes:
        pruning: DuckDB conditions over the partitioning column alone, of all WHERE conjuncts.
    """

    number: int
    table: Table
    alias: str
    columns: set[str] = field(default_factory=set)
    pruning: list[str] = field(default_factory=list)
    partition: str | None = None


class Context:
    """Mutable state while a statement is translated."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.project = environment.project
        self.default_dataset = environment.default_dataset
        self.tables: dict[TableRef, Table | None] = {}
        self.scans: list[Scan] = []
        self.slots: dict[str, tuple[str, Any]] = {}
        self.undeclared: dict[str, SqlType | None] = {}
        self.positions = 0
        self.views: list[TableRef] = []
        self._numbers = 0
        self._recorders: list[set[tuple[int, str]]] = [set()]
        self.cacheable = True
        self.safe = 0

    def unique(self, prefix: str = "t") -> str:
        """A DuckDB alias that no other part of the statement uses."""
        self._numbers += 1
        return f"{prefix}{self._numbers}"

    # --- which base columns are read

    def use(self, uses: Uses) -> None:
        """Note that these base columns are read."""
        if uses:
            self._recorders[-1].update(uses)

    @contextlib.contextmanager
    def recording(self) -> Iterator[set[tuple[int, str]]]:
        """Collect the base columns read inside, instead of noting them as read."""
        recorder: set[tuple[int, str]] = set()
        self._recorders.append(recorder)
        try:
            yield recorder
        finally:
            self._recorders.pop()

    def finish(self) -> None:
        """Hand the noted columns to their scans."""
        for number, column in self._recorders[0]:
            self.scans[number].columns.add(column)

    # --- tables

    def reference(self, ref: TableRef, table: Table | None) -> None:
        """Note that the statement names this table."""
        self.tables.setdefault(ref, table)

    def scan(self, table: Table, alias: str, partition: str | None = None) -> Scan:
        """Register one reading of a base table."""
        scan = Scan(len(self.scans), table, alias, partition=partition)
        self.scans.append(scan)
        return scan

    @contextlib.contextmanager
    def inside_view(self, view: Table) -> Iterator[None]:
        """Names inside a view are read with the view's own project and no default dataset."""
        if len(self.views) >= MAX_VIEW_DEPTH:
            raise ApiError.invalid_query(
                f"Exceeded maximum view nesting depth of {MAX_VIEW_DEPTH}: view {view.ref}"
            )
        if view.ref in self.views:
            raise ApiError.invalid_query(f"View {view.ref} references itself")
        saved = (self.project, self.default_dataset)
        self.project, self.default_dataset = view.ref.project, None
        self.views.append(view.ref)
        try:
            yield
        finally:
            self.views.pop()
            self.project, self.default_dataset = saved

    # --- values bound at execution

    def slot(self, source: str, key: Any) -> str:
        """The DuckDB parameter that carries a query parameter, variable or system variable."""
        for name, known in self.slots.items():
            if known == (source, key):
                return name
        name = f"p{len(self.slots) + 1}"
        self.slots[name] = (source, key)
        return name


def used_values(text: str, values: dict[str, Any]) -> dict[str, Any]:
    """The values whose DuckDB parameters occur in a text; DuckDB refuses any other."""
    return {name: values[name] for name in dict.fromkeys(_SLOT.findall(text)) if name in values}


_SLOT = re.compile(r"\$(p\d+)\b")
