"""The durable half of the service: SQLite on a thread of its own, commits in batches.

A write is answered once it is committed (WAL, `synchronous=NORMAL`): it survives the death of
this process at any point, not a power cut. Without a directory SQLite keeps everything in a
private temporary database that it spills to disk as needed and that vanishes with the process,
so memory stays bounded either way.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from infra.local.service import StartupError

T = TypeVar("T")

_log = logging.getLogger(__name__)

FORMAT = 1
_LARGEST_BATCH = 512
_SCHEMA = """
CREATE TABLE topics (name TEXT PRIMARY KEY, config BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE subscriptions (id INTEGER PRIMARY KEY, name TEXT UNIQUE, config BLOB NOT NULL);
CREATE TABLE messages (
  id INTEGER PRIMARY KEY, published_at REAL NOT NULL, ordering_key TEXT NOT NULL,
  size INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE deliveries (
  subscription INTEGER NOT NULL, message INTEGER NOT NULL, failures INTEGER NOT NULL,
  PRIMARY KEY (subscription, message)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement, run for each row of parameters."""

    sql: str
    rows: Sequence[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _Task:
    run: Callable[[sqlite3.Connection], Any]
    done: asyncio.Future[Any] | None


class Store:
    """All access to the database; every method but `close` belongs to the event loop's thread."""

    def __init__(self, directory: Path | None) -> None:
        self._connection = _opened(directory)
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Read before `start`."""
        return self._connection.execute(sql).fetchall()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.Thread(target=self._serve, name="pubsub-store", daemon=True)
        self._thread.start()

    async def write(self, *statements: Statement) -> None:
        """Commit all of the statements or none; returns once they are committed."""
        await self._submit(lambda connection: _execute(connection, statements))

    def post(self, *statements: Statement) -> None:
        """Like `write`, in order with it, without waiting: what may be repeated after a crash."""
        self._tasks.put(_Task(lambda connection: _execute(connection, statements), None))

    async def bodies(self, message_ids: Iterable[int]) -> list[tuple[int, bytes]]:
        """The stored messages among these ids."""
        marks = ",".join(str(int(message_id)) for message_id in message_ids)
        sql = f"SELECT id, body FROM messages WHERE id IN ({marks})"  # noqa: S608 - integers only
        return await self._submit(lambda connection: connection.execute(sql).fetchall())

    def close(self) -> None:
        """Finish what was submitted and close the file."""
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join()
        self._connection.close()

    async def _submit(self, run: Callable[[sqlite3.Connection], T]) -> T:
        done: asyncio.Future[T] = self._loop.create_future()
        self._tasks.put(_Task(run, done))
        return await done

    def _serve(self) -> None:
        while (batch := self._next_batch())[0] is not None:
            self._commit([task for task in batch if task is not None])
            if batch[-1] is None:
                return

    def _next_batch(self) -> list[_Task | None]:
        batch = [self._tasks.get()]
        while batch[-1] is not None and len(batch) < _LARGEST_BATCH and not self._tasks.empty():
            batch.append(self._tasks.get())
        return batch

    def _commit(self, tasks: list[_Task]) -> None:
        outcomes: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        try:
            self._connection.execute("BEGIN")
            for task in tasks:
                result = task.run(self._connection)
                if task.done is not None:
                    outcomes.append((task.done, result, None))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            _log.exception("a batch of %d writes failed and was rolled back", len(tasks))
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            outcomes = [(task.done, None, error) for task in tasks if task.done is not None]
        if outcomes:
            self._loop.call_soon_threadsafe(_resolve, outcomes)


def _execute(connection: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    for statement in statements:
        connection.executemany(statement.sql, statement.rows)


def _resolve(outcomes: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for future, result, error in outcomes:
        if future.done():  # the caller went away
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def _opened(directory: Path | None) -> sqlite3.Connection:
    path = directory / "pubsub.sqlite" if directory else None
    try:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path or "", isolation_level=None, check_same_thread=False, timeout=0.2
        )
        _prepare(connection, durable=path is not None)
    except sqlite3.OperationalError as error:
        raise StartupError(
            f"cannot open {path}: {error}: is another local Pub/Sub running on this state?"
        ) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        raise StartupError(f"cannot use the state directory {directory}: {error}") from error
    return connection


def _prepare(connection: sqlite3.Connection, *, durable: bool) -> None:
    # One process owns the file: no shared memory, and a second server is refused at once.
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    connection.execute(f"PRAGMA journal_mode={'WAL' if durable else 'MEMORY'}")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA cache_size=-16384")
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("COMMIT")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={FORMAT}; COMMIT;")
    elif version != FORMAT:
        raise sqlite3.DatabaseError(f"written in format {version}, this server reads {FORMAT}")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(" ".join(str(verdict).split()))


def _damaged(path: Path | None, problem: str) -> StartupError:
    return StartupError(
        f"the Pub/Sub state {path} cannot be read ({problem}): "
        "move the file away or delete it to start empty"
    )
