"""The small services' storage: named protobuf messages in SQLite, on disk or in memory."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.service import StartupError

_TABLES = """
CREATE TABLE IF NOT EXISTS records (
    name TEXT PRIMARY KEY,
    parent TEXT NOT NULL,
    body BLOB NOT NULL,
    hidden BLOB,
    sequence INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_parent ON records (parent, sequence);
"""


class Records:
    """Named bodies below parents, in the order they were made. Safe for threads.

    `hidden` is what no answer may hold: key material, payloads.
    """

    def __init__(self, state: Path | None) -> None:
        """Open `records.sqlite` in `state`, or a database in memory.

        Raises:
            StartupError: the file is not a database, or another process has it open.
        """
        self._lock = threading.RLock()
        self._depth = 0
        self._connection = _open(state)
        highest = self._connection.execute("SELECT MAX(sequence) FROM records").fetchone()[0]
        self._sequence: int = highest or 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is written together, or nothing; others wait. May be nested."""
        with self._lock:
            self._depth += 1
            try:
                yield
            except BaseException:
                self._connection.rollback()
                raise
            finally:
                self._depth -= 1
                if not self._depth:
                    self._connection.commit()

    def get(self, name: str) -> bytes | None:
        """The body of that name."""
        with self._lock:
            row = self._connection.execute(
                "SELECT body FROM records WHERE name = ?", (name,)
            ).fetchone()
        return row[0] if row else None

    def hidden(self, name: str) -> bytes | None:
        """The hidden part of that name."""
        with self._lock:
            row = self._connection.execute(
                "SELECT hidden FROM records WHERE name = ?", (name,)
            ).fetchone()
        return row[0] if row else None

    def put(self, name: str, parent: str, body: bytes, hidden: bytes | None = None) -> None:
        """Make or replace a record; a replaced one keeps its place in the order."""
        with self.transaction():
            self._sequence += 1
            self._connection.execute(
                "INSERT INTO records VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET body = excluded.body, hidden = excluded.hidden",
                (name, parent, body, hidden, self._sequence),
            )

    def children(self, parent: str) -> list[bytes]:
        """Bodies below `parent`, oldest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT body FROM records WHERE parent = ? ORDER BY sequence", (parent,)
            ).fetchall()
        return [row[0] for row in rows]

    def count(self, parent: str) -> int:
        """How many records stand below `parent`."""
        with self._lock:
            row = self._connection.execute(
                "SELECT COUNT(*) FROM records WHERE parent = ?", (parent,)
            ).fetchone()
        return int(row[0])

    def delete(self, name: str) -> None:
        """Forget the record and everything directly below it."""
        with self.transaction():
            self._connection.execute(
                "DELETE FROM records WHERE name = ? OR parent = ?", (name, name)
            )

    def close(self) -> None:
        """Flush and release the file."""
        with self._lock:
            self._connection.close()


def _open(state: Path | None) -> sqlite3.Connection:
    if state is None:
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.executescript(_TABLES)
        return connection
    file = state / "records.sqlite"
    try:
        state.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(file, check_same_thread=False, timeout=0.2)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_TABLES)
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except (sqlite3.Error, OSError) as error:
        raise StartupError(_reason(file, str(error))) from error
    if verdict != "ok":
        raise StartupError(_reason(file, verdict))
    return connection


def _reason(file: Path, error: str) -> str:
    if "locked" in error:
        return f"state file {file} is in use by another process: stop that one first"
    return f"state file {file} cannot be used ({error}): delete it to start empty"
