"""The DuckDB database behind the local BigQuery: cursors, transactions, write locks, durability.

All data and all metadata live in one database, so that a change of both is one transaction:
tables of users in the schema `data` (named by number, never by user text), metadata in the
append-only table `meta.log`, of which the last entry per key counts. Committed transactions
survive `kill -9` through DuckDB's write-ahead log, not a power cut. In memory nothing is logged.
"""

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb

from infra.local.service import StartupError

DATABASE_FILE = "bigquery.duckdb"
POOLED_CURSORS = 32
LOCK_SECONDS = 600.0
_LOG_INSERT = "INSERT INTO meta.log VALUES (?, ?, ?)"

_SETTINGS: dict[str, Any] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,
    "enable_external_access": False,
    "ieee_floating_point_ops": False,  # a division by zero is an error in BigQuery
    "memory_limit": "3GB",
    # Of a table in memory, what each column takes at first; many tables are small (tidying.py).
    "initial_column_segment_size": 512,
    # A statement runs on the thread that asks: handing a small one to workers doubles its time,
    # and concurrent statements use the other cores anyway.
    "threads": 1,
    # What is written is the operating system's at once, so `kill -9` loses nothing. Waiting for the
    # disk on every commit would guard against a power cut, at several times the cost of an insert.
    "fsync_mode": "NONE",
}


class Transaction:
    """One DuckDB transaction with the write locks of the tables that it changes.

    DuckDB's transaction begins when `cursor` is first asked for; lock before that, since a
    snapshot is fixed then.
    """

    def __init__(self, storage: "Storage") -> None:
        self._storage = storage
        self._stack = contextlib.ExitStack()
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._locks: dict[str, threading.RLock] = {}
        self._on_commit: list[Callable[[], None]] = []
        self._on_rollback: list[Callable[[], None]] = []

    @property
    def cursor(self) -> duckdb.DuckDBPyConnection:
        """The connection that the transaction runs on; of one thread at a time."""
        if self._cursor is None:
            self._cursor = self._stack.enter_context(self._storage.cursor())
            self._cursor.begin()
        return self._cursor

    def lock(self, physical: str, seconds: float = LOCK_SECONDS) -> bool:
        """Take a table's write lock until the end; false when it stays taken for `seconds`."""
        if physical in self._locks:
            return True
        lock = self._storage.table_lock(physical)
        if not lock.acquire(timeout=seconds):
            return False
        self._locks[physical] = lock
        return True

    def record(self, key: str, body: dict[str, Any] | None) -> None:
        """Write metadata in this transaction; None forgets the key."""
        if self._storage.persistent:
            self._storage.log(self.cursor, key, body)

    def on_commit(self, action: Callable[[], None]) -> None:
        """Run after the commit, while the locks are still held."""
        self._on_commit.append(action)

    def on_rollback(self, action: Callable[[], None]) -> None:
        """Run after a rollback, while the locks are still held."""
        self._on_rollback.append(action)

    def finish(self, *, commit: bool) -> None:
        """End the transaction; `Storage.transaction` calls it."""
        try:
            if commit:
                self._commit()
            else:
                self._roll_back()
        finally:
            self._stack.close()
            for lock in self._locks.values():
                lock.release()
            self._locks.clear()

    def _commit(self) -> None:
        try:
            if self._cursor is not None:
                self._cursor.commit()
        except duckdb.Error:
            self._roll_back()
            raise
        self._storage.touch(*self._locks)
        for action in self._on_commit:
            action()

    def _roll_back(self) -> None:
        if self._cursor is not None:
            with contextlib.suppress(duckdb.Error):
                self._cursor.rollback()
        for action in self._on_rollback:
            action()


class Storage:
    """A DuckDB database in a file of `state`, or in memory when `state` is None.

    Raises:
        StartupError: the file is corrupt or another process holds it.
    """

    def __init__(self, state: Path | None) -> None:
        self.state = state
        self._pool: list[duckdb.DuckDBPyConnection] = []
        self._pool_lock = threading.Lock()
        self._table_locks: dict[str, threading.RLock] = {}
        self._versions: dict[str, tuple[int, int]] = {}
        self._untidy: dict[str, int] = {}
        self._sequence = itertools.count(1)
        self._log_statement: duckdb.Statement | None = None
        self._database = self._connect(state)

    def _connect(self, state: Path | None) -> duckdb.DuckDBPyConnection:
        settings = dict(_SETTINGS)
        path = ":memory:"
        if state is not None:
            state.mkdir(parents=True, exist_ok=True)
            path = str(state / DATABASE_FILE)
            settings["temp_directory"] = str(state / "spill")
        try:
            database = duckdb.connect(path, config=settings)
            self._prepare(database)
        except duckdb.Error as error:
            raise StartupError(_refusal(path, error)) from error
        return database

    def _prepare(self, database: duckdb.DuckDBPyConnection) -> None:
        database.execute("CREATE SCHEMA IF NOT EXISTS data")
        database.execute("CREATE SCHEMA IF NOT EXISTS meta")
        database.execute(
            "CREATE TABLE IF NOT EXISTS meta.log (seq BIGINT, key VARCHAR, body VARCHAR)"
        )
        last = database.execute("SELECT max(seq) FROM meta.log").fetchall()[0][0]
        self._sequence = itertools.count((last or 0) + 1)

    @property
    def persistent(self) -> bool:
        """Whether anything outlives the process."""
        return self.state is not None

    def new_cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own (temporary tables are private to it); the caller closes it."""
        cursor = self._database.cursor()
        cursor.execute("SET TimeZone = 'UTC'")
        return cursor

    @contextlib.contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A pooled connection for one thread; an exception rolls back what it had begun."""
        with self._pool_lock:
            cursor = self._pool.pop() if self._pool else None
        if cursor is None:
            cursor = self.new_cursor()
        clean = False
        try:
            yield cursor
            clean = True
        finally:
            self._give_back(cursor, clean=clean)

    def _give_back(self, cursor: duckdb.DuckDBPyConnection, *, clean: bool) -> None:
        with contextlib.suppress(duckdb.Error):
            cursor.abort()  # rows that nobody fetched would block the next user
            if not clean:
                cursor.rollback()
        with self._pool_lock:
            if len(self._pool) < POOLED_CURSORS:
                self._pool.append(cursor)
                return
        cursor.close()

    def table_lock(self, physical: str) -> threading.RLock:
        """The lock that serialises writers of one physical table."""
        return self._table_locks.setdefault(physical, threading.RLock())

    @contextlib.contextmanager
    def write_lock(self, physical: Iterable[str]) -> Iterator[None]:
        """Hold the write locks of several tables, taken in one order to avoid deadlock."""
        with contextlib.ExitStack() as stack:
            for name in sorted(set(physical)):
                stack.enter_context(self.table_lock(name))
            yield

    @contextlib.contextmanager
    def transaction(self, physical: Iterable[str] = ()) -> Iterator[Transaction]:
        """One transaction over the tables named; commits at the end, rolls back on an exception.

        Writers of one physical table are serialised, so that DuckDB's optimistic concurrency
        never refuses one. The commit raises the version of every locked table.
        """
        transaction = Transaction(self)
        completed = False
        try:
            for name in sorted(set(physical)):
                if not transaction.lock(name):
                    raise TimeoutError(f"the write lock of {name} stayed taken")
            yield transaction
            completed = True
        finally:
            transaction.finish(commit=completed)

    def touch(self, *physical: str) -> None:
        """Note that the contents of these tables have changed."""
        now = int(time.time() * 1000)
        for name in physical:
            self._versions[name] = (self._versions.get(name, (0, 0))[0] + 1, now)
            self._untidy.pop(name, None)  # to the end: the order is that of the last writes
            self._untidy[name] = now

    def written_until(self, moment: int) -> list[str]:
        """Tables whose last write was up to `moment`; each is named once for its last write."""
        found = []
        for name, written in list(self._untidy.items()):
            if written > moment:
                break
            if self._untidy.pop(name, None) is not None:
                found.append(name)
        return found

    def version(self, physical: str) -> int:
        """Rises with every committed change of the table; caches of its contents key on it."""
        return self._versions.get(physical, (0, 0))[0]

    def last_write(self, physical: str) -> int:
        """Milliseconds since 1970 of the last write of this process, 0 when there was none."""
        return self._versions.get(physical, (0, 0))[1]

    def log(self, cursor: duckdb.DuckDBPyConnection, key: str, body: dict[str, Any] | None) -> None:
        """Append one metadata entry on the caller's cursor (its transaction decides)."""
        text = None if body is None else json.dumps(body, separators=(",", ":"))
        if self._log_statement is None:
            self._log_statement = cursor.extract_statements(_LOG_INSERT)[0]
        cursor.execute(self._log_statement, [next(self._sequence), key, text])

    def load_log(self) -> dict[str, dict[str, Any]]:
        """The last body of every key that is not forgotten, in the order of their writing.

        Raises:
            StartupError: an entry cannot be read.
        """
        query = (
            "SELECT key, body FROM (SELECT key, arg_max(body, seq) FILTER (true) AS body,"
            " max(seq) AS seq, arg_max(body IS NULL, seq) AS gone FROM meta.log GROUP BY key)"
            " WHERE NOT gone ORDER BY seq"
        )
        try:
            rows = self._database.execute(query).fetchall()
            return {key: json.loads(body) for key, body in rows}
        except (duckdb.Error, ValueError) as error:
            raise StartupError(_refusal(str(self.state), error)) from error

    def forget(self, prefix: str) -> None:
        """Drop every entry whose key begins so, history included."""
        if self.persistent:
            with self.transaction() as transaction:
                transaction.cursor.execute(
                    "DELETE FROM meta.log WHERE starts_with(key, ?)", [prefix]
                )

    def compact_log(self, live: dict[str, dict[str, Any]]) -> None:
        """Rewrite the log to the live entries once most of it is history; only before serving."""
        counted = self._database.execute("SELECT count(*) FROM meta.log").fetchall()[0][0]
        if counted <= 2 * len(live) + 1000:
            return
        with self.transaction() as transaction:
            transaction.cursor.execute(
                "DELETE FROM meta.log WHERE body IS NULL OR seq NOT IN"
                " (SELECT max(seq) FROM meta.log GROUP BY key)"
            )

    def close(self) -> None:
        """Write everything to the database file and let go of it; a second call does nothing."""
        with self._pool_lock:
            cursors, self._pool = self._pool, []
        for cursor in cursors:
            cursor.close()
        with contextlib.suppress(duckdb.Error):
            self._database.close()


def _refusal(path: str, error: Exception) -> str:
    reason = str(error).splitlines()[0]
    if "lock" in reason.lower():
        return f"the state file {path} is in use by another process: stop that one first"
    return (
        f"the state file {path} cannot be read ({reason}):"
        " move its directory away to start empty, or restore it"
    )
