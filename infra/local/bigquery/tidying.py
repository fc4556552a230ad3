"""Small tables of a database in memory, rewritten once they have been quiet for some seconds.

DuckDB keeps 256 KiB of row versions with every table that was appended to more than once, and in
memory nothing ever frees them: ten thousand tenants with four small tables each would need 10 GB.
A table that is written in one transaction has none. The physical table keeps its name, so nobody
notices; whoever writes to it meanwhile waits for a millisecond.
"""

import contextlib
import logging
import threading
import time

import duckdb

from infra.local.bigquery.storage import Storage

QUIET_SECONDS = 5.0
MAX_ROWS = 2_000
"""From about one DuckDB vector on, the versions are small beside the rows."""
_PAUSE_SECONDS = 1.0

LOG = logging.getLogger(__name__)


class Tidying:
    """Runs on a thread of its own until `close`; does nothing where state is on disk."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidying", daemon=True)
        if not storage.persistent:
            self._thread.start()

    def close(self) -> None:
        """Stop; a second call does nothing."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1)

    def _run(self) -> None:
        while not self._closing.wait(_PAUSE_SECONDS):
            until = int((time.time() - QUIET_SECONDS) * 1000)
            for physical in self._storage.written_until(until):
                if self._closing.is_set():
                    return
                self._tidy(physical)

    def _tidy(self, physical: str) -> None:
        if self._storage.version(physical) < 2:  # one write is as good as rewritten
            return
        lock = self._storage.table_lock(physical)
        if not lock.acquire(blocking=False):
            return
        try:
            rewrite(self._storage, physical)
        except duckdb.Error:  # it was dropped, or a reader was in the way: it stays as it is
            LOG.debug("%s was not tidied", physical, exc_info=True)
        finally:
            lock.release()


def rewrite(storage: Storage, physical: str) -> bool:
    """Copy a small table into one transaction's rows; whether it was done.

    Rows keep their numbers, by which the streaming buffer knows them: a table with gaps is left.
    With the table's write lock.
    """
    name = physical.removeprefix("data.")
    with storage.cursor() as cursor, contextlib.ExitStack() as undo:
        cursor.begin()
        undo.callback(_roll_back, cursor)
        counted = f"SELECT count(*), max(rowid) FROM {physical}"  # noqa: S608 - a number of ours
        rows, last = cursor.execute(counted).fetchall()[0]
        if not 0 < rows <= MAX_ROWS or last != rows - 1:
            return False
        cursor.execute(f"CREATE TABLE {physical}_tidy AS SELECT * FROM {physical}")  # noqa: S608
        cursor.execute(f"DROP TABLE {physical}")
        cursor.execute(f"ALTER TABLE {physical}_tidy RENAME TO {name}")
        cursor.commit()
        undo.pop_all()
    return True


def _roll_back(cursor: duckdb.DuckDBPyConnection) -> None:
    with contextlib.suppress(duckdb.Error):
        cursor.rollback()
