"""Datasets, tables and views: what exists, by name.

Everything is in memory (a lookup is one dictionary access, whatever the number of datasets) and,
where the storage is persistent, in the metadata log. Empty tables have no DuckDB table yet:
`ensure_physical` makes it before the first read or write.
"""

import contextlib
import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from infra.local.bigquery.entities import (
    PARTITION_COLUMN,
    Dataset,
    Table,
    TableRef,
    now_ms,
)
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.storage import Storage, Transaction

__all__ = ["PARTITION_COLUMN", "Catalog", "Dataset", "Table", "TableRef", "now_ms"]

GARBAGE_MS = 30_000
SHARED_SCHEMAS = 1_000


class Catalog:
    """All datasets and tables of a storage; safe to use from any thread."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._lock = threading.RLock()
        self._datasets: dict[tuple[str, str], Dataset] = {}
        self._tables: dict[tuple[str, str], dict[str, Table]] = {}
        self._schemas: dict[str, list[dict[str, Any]]] = {}
        self._reserved: set[TableRef] = set()
        self._ready: set[str] = set()
        self._garbage: list[tuple[int, str]] = []
        self.marks: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self._load()

    # --- loading

    def _load(self) -> None:
        if not self.storage.persistent:
            return
        entries = self.storage.load_log()
        for key, body in entries.items():
            kind, _, name = key.partition("/")
            if kind == "dataset":
                dataset = Dataset(**body)
                self._datasets[dataset.project, dataset.name] = dataset
            elif kind == "table":
                self._publish(Table(**{**body, "ref": TableRef(**body["ref"])}))
            elif kind == "mark":
                self.marks[name] = body
        self._reconcile_physical()
        self.storage.compact_log(entries)

    def _reconcile_physical(self) -> None:
        with self.storage.cursor() as cursor:
            rows = cursor.execute(
                "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'data'"
            ).fetchall()
            present = {f"data.{name}" for (name,) in rows}
            known = {
                table.physical
                for tables in self._tables.values()
                for table in tables.values()
                if not table.is_view
            }
            for orphan in present - known:
                cursor.execute(f"DROP TABLE {orphan}")
        self._ready = present & known
        highest = max((int(name.removeprefix("data.t")) for name in present | known), default=0)
        self._numbers = itertools.count(highest + 1)

    def forget_marks(self) -> None:
        """Drop the marks of earlier processes once the job journal has taken them over."""
        if self.marks:
            self.storage.forget("mark/")
            self.marks.clear()

    def mark_job(self, tx: Transaction, job_id: str, stats: dict[str, Any]) -> None:
        """Note in `tx` that the job's effect is final, for a restart right after the commit."""
        tx.record(f"mark/{job_id}", stats)

    # --- datasets

    def find_dataset(self, project: str, name: str) -> Dataset | None:
        """The dataset, or None."""
        return self._datasets.get((project, name))

    def dataset(self, project: str, name: str) -> Dataset:
        """The dataset.

        Raises:
            ApiError: 404 notFound.
        """
        found = self._datasets.get((project, name))
        if found is None:
            raise ApiError.not_found("Dataset", f"{project}:{name}")
        return found

    def datasets(self, project: str) -> list[Dataset]:
        """All datasets of a project by name."""
        with self._lock:
            mine = [d for (owner, _), d in self._datasets.items() if owner == project]
        return sorted(mine, key=lambda dataset: dataset.name)

    def projects(self) -> list[str]:
        """Every project that has a dataset."""
        with self._lock:
            return sorted({project for project, _ in self._datasets})

    def create_dataset(self, dataset: Dataset) -> Dataset:
        """Add a dataset.

        Raises:
            ApiError: 409 duplicate.
        """
        key = (dataset.project, dataset.name)
        with self._lock:
            if key in self._datasets:
                raise ApiError.duplicate("Dataset", str(dataset))
            self._persist(f"dataset/{dataset}", asdict(dataset))
            self._datasets[key] = dataset
            self._tables.setdefault(key, {})
        return dataset

    def replace_dataset(self, dataset: Dataset) -> Dataset:
        """Store changed metadata of an existing dataset."""
        with self._lock:
            self.dataset(dataset.project, dataset.name)
            self._persist(f"dataset/{dataset}", asdict(dataset))
            self._datasets[dataset.project, dataset.name] = dataset
        return dataset

    def delete_dataset(self, project: str, name: str, *, delete_contents: bool) -> None:
        """Remove a dataset, with its tables if `delete_contents`.

        Raises:
            ApiError: 404 notFound; 400 resourceInUse while it has tables.
        """
        dataset = self.dataset(project, name)
        tables = self.tables(project, name)
        if tables and not delete_contents:
            raise ApiError.resource_in_use(f"Dataset {dataset} is still in use")
        physical = [table.physical for table in tables if not table.is_view]
        with self.storage.transaction(physical) as transaction:
            for table in tables:
                self._drop_in(transaction, table)
            transaction.record(f"dataset/{dataset}", None)

            def forget() -> None:
                with self._lock:
                    self._datasets.pop((project, name), None)
                    self._tables.pop((project, name), None)

            transaction.on_commit(forget)

    # --- tables

    def find_table(self, ref: TableRef) -> Table | None:
        """The table or view, or None when there is none or it has expired."""
        table = self._tables.get((ref.project, ref.dataset), {}).get(ref.table)
        if table is not None and table.expires is not None and table.expires <= now_ms():
            self._expire(table)
            return None
        return table

    def table(self, ref: TableRef) -> Table:
        """The table or view.

        Raises:
            ApiError: 404 notFound of the dataset or of the table.
        """
        table = self.find_table(ref)
        if table is None:
            self.dataset(ref.project, ref.dataset)
            raise ApiError.not_found("Table", str(ref))
        return table

    def tables(self, project: str, dataset: str) -> list[Table]:
        """All tables and views of a dataset by name.

        Raises:
            ApiError: 404 notFound of the dataset.
        """
        self.dataset(project, dataset)
        with self._lock:
            names = sorted(self._tables.get((project, dataset), {}))
        found = (self.find_table(TableRef(project, dataset, name)) for name in names)
        return [table for table in found if table is not None]

    def new_physical(self) -> str:
        """An unused DuckDB table name."""
        return f"data.t{next(self._numbers)}"

    def create_table(self, table: Table, *, tx: Transaction | None = None) -> Table:
        """Add a table or view; in `tx`, it appears on commit and its name is held till then.

        The dataset's default expirations are applied when the table brings none.

        Raises:
            ApiError: 404 notFound of the dataset, 409 duplicate.
        """
        dataset = self.dataset(table.ref.project, table.ref.dataset)
        table = _with_defaults(replace(table, schema=self._shared(table.schema)), dataset)
        with self._reserve(table.ref), self._maybe(tx) as transaction:
            transaction.record(f"table/{table.ref}", asdict(table))
            self._release_at_end(transaction, table.ref)
            transaction.on_commit(lambda: self._publish(table))
        return table

    def _shared(self, schema: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One list for tables that are alike, as the logs of ten thousand tenants are."""
        if len(self._schemas) >= SHARED_SCHEMAS:
            self._schemas.clear()
        return self._schemas.setdefault(json.dumps(schema), schema)

    @contextlib.contextmanager
    def _reserve(self, ref: TableRef) -> Iterator[None]:
        taken = self.find_table(ref) is not None
        with self._lock:
            present = self._tables.get((ref.project, ref.dataset), {})
            if taken or ref in self._reserved or ref.table in present:
                raise ApiError.duplicate("Table", str(ref))
            self._reserved.add(ref)
        try:
            yield
        except BaseException:
            self._reserved.discard(ref)
            raise

    def _release_at_end(self, transaction: Transaction, ref: TableRef) -> None:
        transaction.on_commit(lambda: self._reserved.discard(ref))
        transaction.on_rollback(lambda: self._reserved.discard(ref))

    def replace_table(self, table: Table, *, tx: Transaction | None = None) -> Table:
        """Store a changed table; with another `physical`, the old rows go a while after the commit.

        A reader that has looked up the old table may still read it.
        """
        table = replace(table, modified=now_ms())
        with self._maybe(tx) as transaction:
            old = self.table(table.ref)
            if old.physical != table.physical:
                self._drop_garbage(transaction)
                transaction.on_commit(lambda: self._garbage.append((now_ms(), old.physical)))
            transaction.record(f"table/{table.ref}", asdict(table))
            transaction.on_commit(lambda: self._publish(table))
        return table

    def _drop_garbage(self, transaction: Transaction) -> None:
        with self._lock:
            while self._garbage and self._garbage[0][0] < now_ms() - GARBAGE_MS:
                _, physical = self._garbage.pop(0)
                if physical in self._ready:
                    transaction.cursor.execute(f"DROP TABLE IF EXISTS {physical}")
                    self._ready.discard(physical)

    def add_columns(self, table: Table, schema: list[dict[str, Any]]) -> Table:
        """Give a table its changed schema (see schemas.changed_schema), rows included."""
        changed = replace(table, schema=schema)
        with self.storage.transaction([table.physical]) as transaction:
            self.alter_physical(transaction, table, changed)
            return self.replace_table(changed, tx=transaction)

    def alter_physical(self, tx: Transaction, old: Table, new: Table) -> None:
        """Bring the physical table from the schema of `old` to that of `new`, which only adds."""
        if old.physical not in self._ready or old.physical_columns() == new.physical_columns():
            return
        present = {name.casefold() for name, _ in old.physical_columns()}
        selected = []
        for name, kind in new.physical_columns():
            quoted = _quoted(name)
            absent = "[]" if kind.endswith("[]") else "NULL"
            value = quoted if name.casefold() in present else absent
            selected.append(f"CAST({value} AS {kind}) AS {quoted}")
        copy = f"{old.physical}_new"
        tx.cursor.execute(
            f"CREATE TABLE {copy} AS SELECT {', '.join(selected)} FROM {old.physical}"  # noqa: S608
        )
        tx.cursor.execute(f"DROP TABLE {old.physical}")
        tx.cursor.execute(f"ALTER TABLE {copy} RENAME TO {old.physical.removeprefix('data.')}")

    def delete_table(self, ref: TableRef, *, tx: Transaction | None = None) -> None:
        """Remove a table or view with its rows.

        Raises:
            ApiError: 404 notFound.
        """
        table = self.table(ref)
        with self._maybe(tx, [] if table.is_view else [table.physical]) as transaction:
            self._drop_in(transaction, table)

    def _drop_in(self, transaction: Transaction, table: Table) -> None:
        if not table.is_view and table.physical in self._ready:
            transaction.cursor.execute(f"DROP TABLE IF EXISTS {table.physical}")
        transaction.record(f"table/{table.ref}", None)

        def forget() -> None:
            with self._lock:
                tables = self._tables.get((table.ref.project, table.ref.dataset), {})
                if tables.get(table.ref.table) is not None:
                    del tables[table.ref.table]
            self._ready.discard(table.physical)

        transaction.on_commit(forget)

    def _expire(self, table: Table) -> None:
        with contextlib.suppress(ApiError), self.storage.transaction([table.physical]) as tx:
            self._drop_in(tx, table)

    def ensure_physical(self, table: Table) -> None:
        """Create the table's DuckDB table if it has none yet, in a transaction of its own."""
        if table.is_view or table.physical in self._ready:
            return
        with self.storage.transaction([table.physical]) as transaction:
            if table.physical in self._ready:
                return
            self.create_physical(transaction, table)
            transaction.on_commit(lambda: self._ready.add(table.physical))

    def create_physical(self, tx: Transaction, table: Table) -> None:
        """Create the DuckDB table of `table.physical` in `tx`."""
        columns = ", ".join(f"{_quoted(name)} {kind}" for name, kind in table.physical_columns())
        tx.cursor.execute(f"CREATE TABLE {table.physical} ({columns})")
        tx.on_commit(lambda: self._ready.add(table.physical))

    def has_rows_table(self, table: Table) -> bool:
        """Whether the DuckDB table exists; without it the table is empty."""
        return table.physical in self._ready

    # --- in common

    def _publish(self, table: Table) -> None:
        with self._lock:
            key = (table.ref.project, table.ref.dataset)
            self._tables.setdefault(key, {})[table.ref.table] = table

    @contextlib.contextmanager
    def _maybe(
        self, tx: Transaction | None, physical: list[str] | None = None
    ) -> Iterator[Transaction]:
        if tx is not None:
            for name in physical or []:
                tx.lock(name)
            yield tx
            return
        with self.storage.transaction(physical or []) as transaction:
            yield transaction

    def _persist(self, key: str, body: dict[str, Any]) -> None:
        if self.storage.persistent:
            with self.storage.transaction() as transaction:
                transaction.record(key, body)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _with_defaults(table: Table, dataset: Dataset) -> Table:
    """A new table with the expirations that its dataset gives."""
    if table.is_view:
        return table
    partitions = dataset.body.get("defaultPartitionExpirationMs")
    if table.time_partitioning is not None and partitions:
        spec = {"expirationMs": partitions, **table.time_partitioning}
        return replace(table, time_partitioning=spec)
    lifetime = dataset.default_table_expiration_ms
    if table.expires is None and lifetime:
        return replace(table, expires=table.created + lifetime)
    return table
