"""Rows that were streamed a short while ago: no mutating statement may change them.

BigQuery refuses UPDATE, DELETE, MERGE and TRUNCATE that touch rows written by `insertAll` in the
last thirty minutes (write-api-rest). They are told by DuckDB's row numbers, which grow with every
row appended. What a statement would change is found by doing it: the buffered rows are compared
before and after, and the transaction is rolled back.
"""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import duckdb

from infra.local.bigquery.catalog import Table
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.limits import Limits

Fingerprint = tuple[Any, ...]


@dataclass(slots=True)
class _Span:
    """Row numbers [first, last] that came in one request."""

    first: int
    last: int
    streamed: float


class StreamingBuffers:
    """The buffers of all tables, by physical name; safe to use from any thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._spans: dict[str, deque[_Span]] = {}

    def last_row(self, cursor: duckdb.DuckDBPyConnection, table: Table) -> int | None:
        """The highest row number; None where limits are not enforced. With the write lock."""
        if not self._limits.enforced:
            return None
        text = f"SELECT coalesce(max(rowid), -1) FROM {table.physical}"  # noqa: S608
        return int(cursor.execute(text).fetchall()[0][0])

    def streamed(self, cursor: duckdb.DuckDBPyConnection, table: Table, before: int | None) -> None:
        """Rows have come since `last_row` gave `before`; with the write lock still held."""
        last = self.last_row(cursor, table)
        if before is None or last is None or last <= before:
            return
        with self._lock:
            spans = self._spans.setdefault(table.physical, deque())
            spans.append(_Span(before + 1, last, time.time()))

    def fingerprint(self, cursor: duckdb.DuckDBPyConnection, table: Table) -> Fingerprint | None:
        """What the buffered rows hold, in the cursor's transaction; None without such rows."""
        spans = self._current(table)
        if not spans:
            return None
        ranges = " OR ".join(f"rowid BETWEEN {first} AND {last}" for first, last in _merged(spans))
        text = f"SELECT count(*), bit_xor(hash(t)) FROM {table.physical} AS t WHERE {ranges}"  # noqa: S608
        found: Fingerprint = cursor.execute(text).fetchall()[0]
        return found if found[0] else None

    def refuse_changes(
        self,
        cursor: duckdb.DuckDBPyConnection,
        table: Table,
        before: Fingerprint | None,
        statement: str,
    ) -> None:
        """Compare the buffered rows with what they were.

        Raises:
            ApiError: invalidQuery when they differ.
        """
        if before is None or self.fingerprint(cursor, table) == before:
            return
        words = "TRUNCATE DML" if statement == "TRUNCATE_TABLE" else "UPDATE or DELETE"
        raise ApiError.invalid_query(
            f"{words} statement over table {table.ref.dotted} would affect rows in the streaming"
            " buffer, which is not supported"
        )

    def resource(self, table: Table) -> dict[str, str] | None:
        """The `streamingBuffer` of a Table resource; None once it is empty."""
        spans = self._current(table)
        if not spans:
            return None
        rows = sum(span.last - span.first + 1 for span in spans)
        return {
            "estimatedRows": str(rows),
            "oldestEntryTime": str(int(spans[0].streamed * 1000)),
        }

    def _current(self, table: Table) -> list[_Span]:
        if not self._limits.enforced:
            return []
        oldest = time.time() - self._limits.number("streaming_buffer_seconds")
        with self._lock:
            spans = self._spans.get(table.physical, deque())
            while spans and spans[0].streamed <= oldest:
                spans.popleft()
            return list(spans)


def _merged(spans: list[_Span]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for span in spans:
        if merged and merged[-1][1] + 1 == span.first:
            merged[-1] = (merged[-1][0], span.last)
        else:
            merged.append((span.first, span.last))
    return merged
