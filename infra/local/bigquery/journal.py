"""The journal of jobs: every used ID, and the last known state of each job, in SQLite.

SQLite rather than the DuckDB database, because a job is two single-row writes and a lookup by
key, which cost SQLite some thirty microseconds and DuckDB most of a millisecond. Its write-ahead
log survives `kill -9`; what a job did to data is marked in the data's own transaction.
"""

import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from infra.local.service import StartupError

JOURNAL_FILE = "jobs.sqlite"
KEPT_SECONDS = 180 * 24 * 3600  # as long as Google remembers jobs and their IDs
Entry = dict[str, Any]


class Journal:
    """Jobs by project and ID; safe to use from any thread.

    Raises:
        StartupError: the file cannot be read.
    """

    def __init__(self, state: Path | None) -> None:
        path = ":memory:" if state is None else str(state / JOURNAL_FILE)
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._prepare()
        except sqlite3.Error as error:
            raise StartupError(
                f"the state file {path} cannot be read ({error}):"
                " move its directory away to start empty, or restore it"
            ) from error

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode = wal")
        self._database.execute("PRAGMA synchronous = normal")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS jobs ("
            " project TEXT NOT NULL, job_id TEXT NOT NULL, created INTEGER NOT NULL,"
            " done INTEGER NOT NULL, parent TEXT, body TEXT,"
            " PRIMARY KEY (project, job_id)) WITHOUT ROWID"
        )
        self._database.execute(
            "CREATE INDEX IF NOT EXISTS jobs_by_time"
            " ON jobs (project, parent, created DESC, job_id)"
        )
        check = self._database.execute("PRAGMA quick_check(1)").fetchone()
        if check[0] != "ok":
            raise sqlite3.DatabaseError(check[0])
        oldest = int((time.time() - KEPT_SECONDS) * 1000)
        self._database.execute("DELETE FROM jobs WHERE created < ?", (oldest,))

    def claim(self, project: str, job_id: str, entry: Entry, *, done: bool = False) -> bool:
        """Use an ID for the first and only time; false when it was used before."""
        row = (project, job_id, entry["created"], int(done), entry.get("parent_id"), _text(entry))
        try:
            with self._lock:
                self._database.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            return False
        return True

    def finish(self, project: str, job_id: str, entry: Entry) -> None:
        """Store the final state of a job."""
        with self._lock:
            self._database.execute(
                "UPDATE jobs SET done = 1, body = ? WHERE project = ? AND job_id = ?",
                (_text(entry), project, job_id),
            )

    def read(self, project: str, job_id: str) -> Entry | None:
        """The entry, None when the ID was never used or its metadata was deleted."""
        with self._lock:
            row = self._database.execute(
                "SELECT body FROM jobs WHERE project = ? AND job_id = ?", (project, job_id)
            ).fetchone()
        return json.loads(row[0]) if row and row[0] else None

    def forget(self, project: str, job_ids: list[str]) -> None:
        """Drop the metadata of jobs; their IDs stay used."""
        with self._lock:
            self._database.executemany(
                "UPDATE jobs SET body = NULL WHERE project = ? AND job_id = ?",
                [(project, job_id) for job_id in job_ids],
            )

    def recent(
        self, project: str, parent: str | None, since: int, until: int
    ) -> list[tuple[str, bool]]:
        """IDs of jobs, newest first, with whether each is done; times in ms, bounds inclusive."""
        with self._lock:
            rows = self._database.execute(
                "SELECT job_id, done FROM jobs WHERE project = ? AND parent IS ?"
                " AND created BETWEEN ? AND ? AND body IS NOT NULL"
                " ORDER BY created DESC, job_id",
                (project, parent, since, until),
            ).fetchall()
        return [(job_id, bool(done)) for job_id, done in rows]

    def newest(self, project: str, limit: int) -> list[str]:
        """IDs of the jobs that were inserted last, newest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT job_id FROM jobs WHERE project = ? AND body IS NOT NULL"
                " ORDER BY created DESC, job_id LIMIT ?",
                (project, limit),
            ).fetchall()
        return [job_id for (job_id,) in rows]

    def unfinished(self) -> list[tuple[str, str, Entry]]:
        """Jobs of an earlier process that had not ended."""
        with self._lock:
            rows = self._database.execute(
                "SELECT project, job_id, body FROM jobs WHERE done = 0 AND body IS NOT NULL"
            ).fetchall()
        return [(project, job_id, json.loads(body)) for project, job_id, body in rows]

    def close(self) -> None:
        """Flush and close; a second call does nothing."""
        with self._lock:
            self._database.close()


def _text(entry: Entry) -> str:
    return json.dumps(entry, separators=(",", ":"))
