"""Rows of finished queries, kept under the anonymous tables that BigQuery gives them.

The newest results stay in memory up to a bound; older ones are files, kept as long as Google keeps
anonymous tables (24 hours). A stop writes the newest to files too; a killed process loses them,
which no promise covers: jobs, their statistics and all tables are still there.
"""

import contextlib
import hashlib
import json
import tempfile
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from infra.local.bigquery.catalog import TableRef, now_ms
from infra.local.bigquery.datasets import etag_of

MEMORY_BYTES = 256 * 1024 * 1024
OBJECT_BYTES = 8 * 1024  # what a result takes beside its rows; most have one or two
CLOSING_BYTES = 32 * 1024 * 1024
FILE_BYTES = 1024 * 1024 * 1024
LIFETIME_SECONDS = 24 * 3600
_SCHEMA_KEY = b"bigquery-schema"


def anonymous_table(project: str, job_key: str) -> TableRef:
    """The table that holds the rows of a query without destination."""
    dataset = "_" + hashlib.blake2b(project.encode(), digest_size=20).hexdigest()
    table = "anon" + hashlib.blake2b(job_key.encode(), digest_size=20).hexdigest()
    return TableRef(project, dataset, table)


def is_anonymous(ref: TableRef) -> bool:
    """Whether the name is one of a query's result."""
    return ref.dataset.startswith("_") and ref.table.startswith("anon")


@dataclass(frozen=True, slots=True)
class StoredResult:
    """Rows with their schema as REST field dicts; `created` in milliseconds since 1970."""

    schema: list[dict[str, Any]]
    rows: pa.Table
    created: int


class Results:
    """Stored results by table name."""

    def __init__(self, state: Path | None) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if state is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="local-bigquery-")
            self._directory = Path(self._temporary.name)
        else:
            self._directory = state / "results"
            self._directory.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._memory: OrderedDict[str, StoredResult] = OrderedDict()
        self._bytes = 0
        self._drop_old_files()

    def put(self, ref: TableRef, schema: list[dict[str, Any]], rows: pa.Table) -> None:
        """Keep the rows of a finished query."""
        result = StoredResult(schema, rows, now_ms())
        with self._lock:
            self._memory[ref.table] = result
            self._bytes += rows.nbytes + OBJECT_BYTES
            evicted = self._over_bound()
        for name, old in evicted:
            self._write(name, old)

    def get(self, ref: TableRef) -> StoredResult | None:
        """The result, None when it was never there or is too old."""
        if not is_anonymous(ref):
            return None
        with self._lock:
            result = self._memory.get(ref.table)
            if result is not None:
                self._memory.move_to_end(ref.table)
                return result
        return self._read(ref.table)

    def table_resource(self, ref: TableRef) -> dict[str, Any] | None:
        """The Table resource of an anonymous table; None for any other name."""
        result = self.get(ref)
        if result is None:
            return None
        expires = result.created + LIFETIME_SECONDS * 1000
        return {
            "kind": "bigquery#table",
            "etag": etag_of(ref.table, result.created),
            "id": str(ref),
            "tableReference": ref.to_api(),
            "type": "TABLE",
            "schema": {"fields": result.schema},
            "numRows": str(result.rows.num_rows),
            "numBytes": str(result.rows.nbytes),
            "creationTime": str(result.created),
            "lastModifiedTime": str(result.created),
            "expirationTime": str(expires),
        }

    def close(self) -> None:
        """Write what is in memory, newest first, up to a bound; or remove temporary files."""
        if self._temporary is not None:
            self._temporary.cleanup()
            return
        written = 0
        while self._memory and written < CLOSING_BYTES:
            name, result = self._memory.popitem()
            written += result.rows.nbytes
            self._write(name, result)

    def _over_bound(self) -> list[tuple[str, StoredResult]]:
        evicted = []
        while self._bytes > MEMORY_BYTES and len(self._memory) > 1:
            name, result = self._memory.popitem(last=False)
            self._bytes -= result.rows.nbytes + OBJECT_BYTES
            evicted.append((name, result))
        return evicted

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.arrow"

    def _write(self, name: str, result: StoredResult) -> None:
        note = {"schema": result.schema, "created": result.created}
        metadata = {**(result.rows.schema.metadata or {}), _SCHEMA_KEY: json.dumps(note).encode()}
        rows = result.rows.replace_schema_metadata(metadata)
        partial = self._path(f"{name}.partial")
        with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        partial.rename(self._path(name))

    def _read(self, name: str) -> StoredResult | None:
        try:
            with pa.memory_map(str(self._path(name))) as source:
                rows = pa.ipc.open_file(source).read_all()
        except (OSError, pa.ArrowInvalid):
            return None
        note = json.loads(rows.schema.metadata[_SCHEMA_KEY])
        return StoredResult(note["schema"], rows, note["created"])

    def _drop_old_files(self) -> None:
        files = sorted(
            ((file.stat().st_mtime, file) for file in self._directory.glob("*.arrow")), reverse=True
        )
        oldest = time.time() - LIFETIME_SECONDS
        total = 0
        for modified, file in files:
            total += file.stat().st_size
            if modified < oldest or total > FILE_BYTES:
                with contextlib.suppress(OSError):
                    file.unlink()
