"""One job while it runs: its parameters, variables, temporary tables, open transaction."""

import contextlib
import datetime as dt
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import duckdb

from infra.local.bigquery.catalog import Catalog, Table
from infra.local.bigquery.dml_queues import Caller, Turn
from infra.local.bigquery.enforcement import Enforcement
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql.bytes_estimate import Sizes
from infra.local.bigquery.sql.compiled import Cache
from infra.local.bigquery.sql.context import Environment
from infra.local.bigquery.sql.parameters import Parameters
from infra.local.bigquery.sql.plan import QueryRequest
from infra.local.bigquery.sql.typesystem import SqlType
from infra.local.bigquery.sql.udfs import SqlFunction
from infra.local.bigquery.storage import Storage, Transaction

_PATIENCE_SECONDS = 1.0  # how long a transaction waits for another one's table


@dataclass
class Session:
    """What the statements of one job share.

    Attributes:
        variables: type and value of the script's variables by folded name.
        temporary: the script's temporary tables by folded name.
        functions: the script's SQL functions by folded name.
        transaction: the one that BEGIN TRANSACTION opened, or None.
        row_count: rows that the last DML statement changed.
        error: text of the error that an EXCEPTION block handles.
        script: whether the job has several statements.
        literals: type and value of the literals taken out of the text (literals.py).
        created: DuckDB tables that the open transaction made.
        jobs: rows of INFORMATION_SCHEMA.JOBS of a project.
    """

    storage: Storage
    catalog: Catalog
    cache: Cache
    sizes: Sizes
    request: QueryRequest
    parameters: Parameters
    cancelled: threading.Event
    dry: bool
    enforcement: Enforcement
    caller: Caller
    variables: dict[str, tuple[SqlType, Any]] = field(default_factory=dict)
    temporary: dict[str, Table] = field(default_factory=dict)
    transaction: Transaction | None = None
    functions: dict[str, SqlFunction] = field(default_factory=dict)
    row_count: int | None = None
    error: str | None = None
    script: bool = False
    literals: dict[str, tuple[SqlType, Any]] = field(default_factory=dict)
    created: set[str] = field(default_factory=set)
    default_dataset: tuple[str, str] | None = None
    jobs: Callable[[str], Iterable[tuple[Any, ...]]] = lambda _: ()
    _open: contextlib.ExitStack | None = None

    def __post_init__(self) -> None:
        self.default_dataset = self.request.default_dataset

    def environment(self) -> Environment:
        """What a statement is translated against at this moment."""
        parameters = self.parameters
        return Environment(
            catalog=self.catalog,
            project=self.request.project,
            default_dataset=self.default_dataset,
            parameters={
                name: kind for name, (kind, _) in (parameters.named | self.literals).items()
            },
            positional=tuple(kind for kind, _ in parameters.positional),
            mode=parameters.mode,
            variables={name: kind for name, (kind, _) in self.variables.items()},
            temporary=self.temporary,
            functions=self.functions,
            declared_only=not self.dry,
            jobs=self.jobs,
        )

    def key(self, sql: str) -> Any:
        """What a translation of `sql` depends on, apart from the tables."""
        return (
            sql,
            self.request.project,
            self.default_dataset,
            self.parameters.types,
            self.dry,
            tuple((name, kind) for name, (kind, _) in self.variables.items()),
        )

    def values(self, slots: dict[str, tuple[str, Any]]) -> dict[str, Any]:
        """The values that a translated statement binds."""
        return {name: self._value(source, key) for name, (source, key) in slots.items()}

    def _value(self, source: str, key: Any) -> Any:
        if source == "variable":
            return self.variables[key][1]
        if source == "system":
            return {"row_count": self.row_count, "error.message": self.error}.get(key)
        known = self.parameters
        if source == "named":
            return (known.named.get(key) or self.literals.get(key) or (None, None))[1]
        return known.positional[key][1] if key < len(known.positional) else None

    @contextlib.contextmanager
    def dml_turn(self, kind: str, table: Table) -> Iterator[Turn | None]:
        """The right of a DML statement to change a table; None for one that conflicts with nothing.

        Raises:
            ApiError: too many statements are outstanding.
        """
        held = self.enforcement.active and self.transaction is None
        if not held or table in self.temporary.values():
            yield None
            return
        self.enforcement.tables.statement_runs(table.ref)
        if kind == "INSERT":
            with self.enforcement.dml.inserting(table.ref, self.caller):
                yield None
            return
        with self.enforcement.dml.mutating(table.ref, self.caller) as turn:
            yield turn

    # --- cursors and transactions

    @contextlib.contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor to read with: the open transaction's, or one of its own."""
        if self.transaction is not None:
            yield self.transaction.cursor
            return
        with self.storage.cursor() as cursor:
            yield cursor

    @contextlib.contextmanager
    def writing(self, tables: Iterable[Table] = ()) -> Iterator[Transaction]:
        """The open transaction, or one for this statement alone, with the tables locked.

        Raises:
            ApiError: another transaction has changed one of them and is not over yet.
        """
        locked = [table for table in tables if not table.is_view]
        if self.transaction is not None:
            for table in locked:
                if not self.transaction.lock(table.physical, _PATIENCE_SECONDS):
                    raise ApiError.invalid_query(
                        f"Transaction is aborted due to concurrent update against table {table.ref}"
                    )
            yield self.transaction
            return
        with self.storage.transaction(table.physical for table in locked) as transaction:
            yield transaction
            if not self.script:
                self.catalog.mark_job(transaction, self.request.job_id, {})

    def begin(self) -> None:
        """BEGIN TRANSACTION.

        Raises:
            ApiError: one is open already.
        """
        if self.transaction is not None:
            raise ApiError.invalid_query("Transactions cannot be nested: a transaction is active")
        self._open = contextlib.ExitStack()
        self.transaction = self._open.enter_context(self.storage.transaction())

    def commit(self) -> None:
        """COMMIT TRANSACTION.

        Raises:
            ApiError: none is open, or another writer was first.
        """
        stack = self._taken("COMMIT")
        try:
            stack.close()
        except duckdb.Error as error:
            raise ApiError.invalid_query(
                "Transaction is aborted due to concurrent update"
            ) from error

    def roll_back(self) -> None:
        """ROLLBACK TRANSACTION.

        Raises:
            ApiError: none is open.
        """
        stack = self._taken("ROLLBACK")
        with contextlib.suppress(_RolledBackError), stack:
            raise _RolledBackError

    def _taken(self, word: str) -> contextlib.ExitStack:
        if self._open is None:
            raise ApiError.invalid_query(
                f"{word} TRANSACTION failed: there is no active transaction"
            )
        stack, self._open, self.transaction = self._open, None, None
        self.created.clear()
        return stack

    def close(self) -> None:
        """Roll back what is open and drop the temporary tables."""
        if self.transaction is not None:
            self.roll_back()
        for table in self.temporary.values():
            with self.storage.transaction([table.physical]) as transaction:
                transaction.cursor.execute(f"DROP TABLE IF EXISTS {table.physical}")
        self.temporary.clear()


class _RolledBackError(Exception):
    """Makes a storage transaction end with a rollback."""


def bindable(value: Any) -> Any:
    """A Python value out of Arrow as DuckDB binds it to a cast parameter."""
    if isinstance(value, dict):
        return {name: bindable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [bindable(inner) for inner in value]
    if isinstance(value, dt.datetime):
        if value.tzinfo is not None:
            text = value.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
            return text.zfill(29)
        return value.isoformat(sep=" ", timespec="microseconds")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return value
