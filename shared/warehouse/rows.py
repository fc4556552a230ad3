"""Rows in and out: streaming appends into logs, parameterized reads of state."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import count
from threading import Lock
from typing import Any

from shared.clients import bigquery_client
from shared.errors import Retryable
from shared.settings import settings
from shared.warehouse.failures import failure, translated
from shared.warehouse.queries import Query

_MAX_ROWS = 500
_MAX_BYTES = 9_000_000
"""insertAll takes 10 MB and 50,000 rows a request, 500 rows recommended (BigQuery quotas)."""
AT_THE_LIMIT = 40_000
"""`batch_rows` of who writes thousands of rows and counts its calls: as many as 10 MB hold."""
_TIMEOUT_SECONDS = 30.0
_NEW_TABLE_WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class Row:
    """A row and the ID by which BigQuery drops a repetition within about a minute."""

    insert_id: str
    values: Mapping[str, Any]

    @cached_property
    def sent(self) -> dict[str, Any]:
        """The values as insertAll takes them."""
        return json_row(self.values)


def append(table: str, rows: Sequence[Row], *, batch_rows: int = _MAX_ROWS) -> None:
    """Stream `rows` into `dataset.table`; all of them are in it when this returns.

    May repeat rows when it is called again after a failure: every log has a view that shows the
    latest row of a key, so a repetition changes nothing.

    Raises:
        WarehouseBusyError: not now; nothing is known of the rows.
        WarehouseError: BigQuery refused a row; the message has its reason.
    """
    for batch in batches(rows, batch_rows):
        _insert(table, batch)


def batches(rows: Sequence[Row], batch_rows: int = _MAX_ROWS) -> Iterator[list[Row]]:
    """`rows` in portions that one insertAll request may carry."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        row_size = len(json.dumps(row.sent)) + len(json.dumps(row.insert_id)) + 32
        if batch and (len(batch) == batch_rows or size + row_size > _MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row_size
    if batch:
        yield batch


def _insert(table: str, batch: list[Row]) -> None:
    from google.api_core.exceptions import NotFound
    from google.cloud.bigquery import DEFAULT_RETRY

    path = f"{settings().GCP_PROJECT_ID}.{table}"
    try:
        with translated(NotFound):
            errors = bigquery_client().insert_rows_json(
                path,
                [row.sent for row in batch],
                row_ids=[row.insert_id for row in batch],
                retry=DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS),
                timeout=_TIMEOUT_SECONDS,
            )
    except NotFound:
        _load_instead(path, batch)
        return
    if errors:
        found = [problem for row in errors for problem in row["errors"]]
        first = next((e for e in found if e.get("reason") != "stopped"), found[0] if found else {})
        where = first.get("location") or "row"
        raise failure(str(first.get("reason")), f"{table}: {where}: {first.get('message')}")


def _load_instead(path: str, batch: list[Row]) -> None:
    """Load a batch that streaming refused because the table is seconds old.

    A table that exists and still answers notFound to insertAll was created a moment ago (BigQuery
    documentation, "Streaming: table creation"); a load job sees it at once.
    """
    from google.cloud import bigquery

    client = bigquery_client()
    with translated():
        retry = bigquery.DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS)
        table = client.get_table(path, retry=retry, timeout=_TIMEOUT_SECONDS)
        config = bigquery.LoadJobConfig(
            schema=table.schema,
            source_format=bigquery.SourceFormat.NEWLINE_DELIMITED_JSON,
            write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
        )
        rows = [json_row(row.values, json_as_text=False) for row in batch]
        job = client.load_table_from_json(rows, table, job_config=config, timeout=_TIMEOUT_SECONDS)
        job.result(retry=retry, timeout=_NEW_TABLE_WAIT_SECONDS)


def json_row(values: Mapping[str, Any], *, json_as_text: bool = True) -> dict[str, Any]:
    """A row as BigQuery takes it: times as ISO text, bytes as base64, NULL by absence.

    JSON columns are text for insertAll, and JSON itself in the lines of a load job, which would
    keep text as a JSON string (BigQuery documentation, "Working with JSON data").
    """
    return {
        name: _json(value, as_text=json_as_text) if isinstance(value, dict) else _plain(value)
        for name, value in values.items()
        if value is not None
    }


def _json(value: Mapping[str, Any], *, as_text: bool) -> Any:
    text = json.dumps(value, default=str)
    return text if as_text else json.loads(text)


_AS_IT_IS = frozenset({str, int, float, bool})


def _plain(value: Any) -> Any:
    if type(value) in _AS_IT_IS:  # most values, and this runs for each of a great many
        return value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def read(query: Query, *, max_results: int | None = None) -> list[dict[str, Any]]:
    """The rows of a query over the service's own tables, as dictionaries.

    Only reads: it runs without a job ID of its own, so it may run twice.

    Raises:
        WarehouseBusyError: not now.
        WarehouseError: BigQuery refused.
    """
    from google.cloud import bigquery

    config = bigquery.QueryJobConfig(query_parameters=query.bigquery_parameters())
    with translated():
        rows = bigquery_client().query_and_wait(
            query.sql,
            job_config=config,
            api_timeout=_TIMEOUT_SECONDS,
            wait_timeout=_TIMEOUT_SECONDS,
            retry=bigquery.DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS),
            job_retry=None,  # type: ignore[arg-type]  # None is taken: callers repeat
            max_results=max_results,
        )
        names = [field.name for field in rows.schema]
        return [dict(zip(names, row, strict=True)) for row in rows]  # row.items() copies deeply


def is_missing(error: Exception) -> bool:
    """Whether `error` says that a dataset or table does not exist."""
    return not isinstance(error, Retryable) and getattr(error, "reason", "") == "notFound"


_sequence = count(1)
_stamp_lock = Lock()
_last_stamp = datetime.min.replace(tzinfo=UTC)


def stamp() -> dict[str, Any]:
    """`recorded_at` and `sequence` of a new row; the time never stands still within a process."""
    global _last_stamp  # noqa: PLW0603 - one clock a process
    with _stamp_lock:
        _last_stamp = max(datetime.now(UTC), _last_stamp + timedelta(microseconds=1))
        return {"recorded_at": _last_stamp, "sequence": next(_sequence)}
