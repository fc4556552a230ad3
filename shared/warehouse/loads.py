"""Fetched rows into a partition: streamed as Parquet into a load job under a deterministic ID.

The rows flow from their source through a Parquet writer into a resumable upload; what is in memory
is a batch and a chunk of the upload, however large the partition. BigQuery begins the job when the
last chunk has arrived, so a source that fails half-way leaves no job, and a job replaces its
partition in one atomic update (BigQuery documentation, "Loading data"; REST, Job).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from shared.clients import bigquery_client
from shared.settings import settings
from shared.warehouse.failures import translated
from shared.warehouse.jobs import FinishedJob, attach, settle, wait_for

if TYPE_CHECKING:
    import pyarrow as pa

Mode: TypeAlias = Literal["replace_partition", "append"]
Batches: TypeAlias = "Iterable[pa.RecordBatch]"

_CHUNK_BYTES = 8 * 1024 * 1024
"""A chunk is kept until BigQuery has it; a multiple of 256 KiB (resumable uploads)."""
_CALL_TIMEOUT_SECONDS = 60.0
_RETRY_SECONDS = 30.0
_SESSION_OVER = frozenset({404, 410})
"""What a chunk meets that is sent again after the upload was finished."""
_BYTES = "application/octet-stream"
_GOOGLE = "https://bigquery.googleapis.com"


@dataclass(frozen=True)
class Load:
    """The rows of one partition and the name under which they are written once."""

    work_id: str
    """Letters, digits, `_` and `-`, at most 1,000."""
    table: str
    """`project.dataset.table`; it exists."""
    partition: str
    """`YYYYMMDD`, or `YYYYMM` of a table that is partitioned by month."""
    schema: "pa.Schema"
    batches: Callable[[], Batches] = field(repr=False)
    """The rows, from the beginning whenever it is called. What it raises ends the load."""
    version: str = ""
    """Identifies the rows where another version of them may come under the same `work_id`.

    For `replace_partition` only: a newer version then replaces the older one. What is appended must
    come once, whatever its version.
    """
    mode: Mode = "replace_partition"
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def job_prefix(self) -> str:
        """The job's ID without the number of its try."""
        version = f"--{self.version}" if self.version and self.mode == "replace_partition" else ""
        return f"{self.work_id}--{self.partition}{version}"


def load(wanted: Load, deadline: datetime) -> FinishedJob:
    """Write the rows into their partition once, however often and concurrently this is called.

    The first caller's job does it; the others find its ID taken, wait for it and answer the same.

    Raises:
        WarehouseBusyError: not done by `deadline`, or not now; call again.
        WarehouseError: BigQuery refused; the partition is as it was.
        Exception: whatever `wanted.batches` raises; the partition is as it was.
    """
    job = settle(
        wanted.job_prefix,
        lambda job_id: _upload(wanted, job_id),
        lambda begun: wait_for(begun, deadline),
    )
    return FinishedJob(
        job_id=str(job.job_id),
        rows_written=int(job.output_rows or 0),
        bytes_processed=int(job.output_bytes or 0),
    )


def _upload(wanted: Load, job_id: str) -> Any:
    """Begin the job with the rows.

    The client's own upload keeps 100 MB in memory, a fifth of a function's.

    Raises:
        google.api_core.exceptions.Conflict: the ID is used.
    """
    from google.api_core.exceptions import Conflict, from_http_response
    from google.resumable_media import InvalidResponse, RetryStrategy
    from google.resumable_media.requests import ResumableUpload

    client = bigquery_client()
    http, timeout = client._http, _CALL_TIMEOUT_SECONDS
    host = settings().BIGQUERY_EMULATOR_HOST or _GOOGLE
    url = f"{host}/upload/bigquery/v2/projects/{client.project}/jobs?uploadType=resumable"
    upload: Any = ResumableUpload(url, _CHUNK_BYTES)  # type: ignore[no-untyped-call]
    retry: Any = RetryStrategy(max_cumulative_retry=_RETRY_SECONDS)  # type: ignore[no-untyped-call]
    upload._retry_strategy = retry
    stream = _ParquetStream(wanted.schema, wanted.batches)
    with translated(Conflict):
        try:
            upload.initiate(
                http, stream, _job(wanted, job_id), _BYTES, stream_final=False, timeout=timeout
            )
            while not upload.finished:
                answer = upload.transmit_next_chunk(http, timeout=timeout)
        except InvalidResponse as error:
            if stream.tell() and error.response.status_code in _SESSION_OVER:
                return attach(job_id)  # the answer to the last chunk was lost
            raise from_http_response(error.response) from error  # type: ignore[no-untyped-call]
    return client.job_from_resource(json.loads(answer.content))


def _job(wanted: Load, job_id: str) -> dict[str, Any]:
    """The job as the API takes it (BigQuery REST, Job)."""
    client = bigquery_client()
    project, dataset, table = wanted.table.split(".")
    replaces = wanted.mode == "replace_partition"
    return {
        "jobReference": {
            "projectId": client.project,
            "jobId": job_id,
            "location": client.location,
        },
        "configuration": {
            "labels": dict(wanted.labels),
            "load": {
                "destinationTable": {
                    "projectId": project,
                    "datasetId": dataset,
                    "tableId": f"{table}${wanted.partition}",
                },
                "sourceFormat": "PARQUET",
                "parquetOptions": {"enableListInference": True},
                "writeDisposition": "WRITE_TRUNCATE_DATA" if replaces else "WRITE_APPEND",
                "createDisposition": "CREATE_NEVER",
            },
        },
    }


class _ParquetStream:
    """A Parquet file that comes into being while it is read, from the first byte to the last.

    `read` gives as many bytes as are asked for, fewer only at the end, as uploads expect.
    """

    def __init__(self, schema: "pa.Schema", batches: Callable[[], Batches]) -> None:
        self._pieces = _written(schema, batches)
        self._buffer = bytearray()
        self._position = 0

    def read(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self._buffer) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._buffer += piece
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._position += len(taken)
        return taken

    def tell(self) -> int:
        """How many bytes have been read."""
        return self._position


def _written(schema: "pa.Schema", batches: Callable[[], Batches]) -> Iterator[bytes]:
    """The bytes of the Parquet file, in pieces, as the rows come."""
    import pyarrow.parquet as pq

    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for batch in batches():
            writer.write_batch(batch)
            yield from sink.taken()
    yield from sink.taken()


class _Sink:
    """What the writer writes to."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: Any) -> int:
        """Keep the bytes."""
        self._pieces.append(bytes(data))
        return len(self._pieces[-1])

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The end is written by then."""

    def taken(self) -> list[bytes]:
        """What has been written since the last call."""
        pieces, self._pieces = self._pieces, []
        return pieces
