"""Query jobs under deterministic IDs: however often one is asked for, it runs once.

`jobs.insert` with a client-chosen ID is atomic: the first insert wins, every other gets 409 and
attaches to the winner's job. An ID is burned even when its job failed, so tries are numbered; a
client that names its job switches Google's own recovery off, therefore all of it is here
(BigQuery documentation, "Reliability", and "Troubleshoot: duplicate").
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING, Any

from shared.clients import bigquery_client
from shared.warehouse.failures import (
    WarehouseBusyError,
    WarehouseError,
    failure,
    from_exception,
    is_transient,
    translated,
)
from shared.warehouse.queries import Query

if TYPE_CHECKING:
    from google.cloud.bigquery import QueryJob, QueryJobConfig

_CALL_TIMEOUT_SECONDS = 30.0
_VISIBLE_WITHIN_SECONDS = 10.0
"""How long a job may answer notFound after its ID was refused as a duplicate."""
_MAX_TRIES = 20
_SHORTEST_WAIT_SECONDS = 1.0
"""For one look at the job when the deadline is past; a timeout of zero is an error of requests."""


@dataclass(frozen=True)
class Destination:
    """Where a job writes: `project.dataset.table`, optionally one partition of it."""

    table: str
    partition: str | None = None
    """`YYYYMMDD` of a daily partition."""
    disposition: str = "WRITE_EMPTY"

    @property
    def path(self) -> str:
        """The table as the API writes it."""
        return f"{self.table}${self.partition}" if self.partition else self.table


@dataclass(frozen=True)
class JobSpec:
    """A piece of work with a name: the same name always means the same work."""

    work_id: str
    """Letters, digits, `_` and `-`, at most 1,000 (BigQuery, JobReference)."""
    query: Query
    destination: Destination | None = None
    maximum_bytes_billed: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FinishedJob:
    """What a job did."""

    job_id: str
    rows_written: int
    bytes_processed: int


def run(spec: JobSpec, deadline: datetime) -> FinishedJob:
    """Run `spec` once, or attach to the run that somebody else began.

    Safe to call twice, concurrently and after a crash: the job's ID decides. A job that fails for
    a passing reason ends this call; the next one finds its ID burned and tries the next number.

    Raises:
        WarehouseBusyError: still running at `deadline`, or BigQuery failed for now; call again.
        WarehouseError: the work cannot succeed.
    """
    for number in range(1, _MAX_TRIES + 1):
        job, ours = _insert_or_attach(spec, f"{spec.work_id}--{number}")
        error = _wait(job, deadline)
        if error is None:
            return _finished(job, spec)
        if ours or not is_transient(error["reason"], error["message"]):
            raise failure(error["reason"], error["message"])
    raise WarehouseError(f"{spec.work_id} failed {_MAX_TRIES} times", "jobRateLimitExceeded")


def _insert_or_attach(spec: JobSpec, job_id: str) -> "tuple[QueryJob, bool]":
    """The job, and whether this call inserted it."""
    from google.api_core.exceptions import Conflict

    try:
        return insert(spec.query, job_id, _config(spec)), True
    except Conflict:
        return attach(job_id), False


def insert(query: Query, job_id: str, config: "QueryJobConfig") -> "QueryJob":
    """Insert a query job under an ID of ours.

    Raises:
        google.api_core.exceptions.Conflict: the ID is used.
        WarehouseBusyError: not now; whether the job exists is not known.
        WarehouseError: BigQuery refused the job.
    """
    from google.api_core.exceptions import Conflict
    from google.cloud.bigquery import DEFAULT_RETRY

    with translated(Conflict):
        return bigquery_client().query(
            query.sql,
            job_id=job_id,
            job_config=config,
            retry=DEFAULT_RETRY.with_timeout(_CALL_TIMEOUT_SECONDS),
            job_retry=None,
            timeout=_CALL_TIMEOUT_SECONDS,
        )


def attach(job_id: str) -> Any:
    """The job of this ID, whoever inserted it.

    `jobs.get` may answer notFound for a moment after the ID was refused as a duplicate
    (googleapis/python-bigquery#2134).

    Raises:
        WarehouseBusyError: the job does not show within ten seconds.
    """
    from google.api_core.exceptions import NotFound
    from google.cloud.bigquery import DEFAULT_RETRY

    retry = DEFAULT_RETRY.with_timeout(_CALL_TIMEOUT_SECONDS)
    give_up = datetime.now(UTC).timestamp() + _VISIBLE_WITHIN_SECONDS
    pause = Event()
    while True:
        try:
            with translated(NotFound):
                return bigquery_client().get_job(job_id, retry=retry, timeout=_CALL_TIMEOUT_SECONDS)
        except NotFound as error:
            if datetime.now(UTC).timestamp() > give_up:
                raise WarehouseBusyError(f"job {job_id} does not show", "notFound") from error
            pause.wait(0.2)


def cancel(work_id: str) -> bool:
    """Stop the job that does `work_id`, or keep it from beginning; whether there was any to stop.

    The ID of the next try is burned with a query that fails, so that a caller of `run` who is just
    about to insert meets that failure instead of beginning. May be called again.

    Raises:
        WarehouseBusyError: not now.
        WarehouseError: BigQuery refused.
    """
    for number in range(1, _MAX_TRIES + 1):
        job_id = f"{work_id}--{number}"
        job = _find(job_id)
        if job is None:
            if _burn(job_id):
                return False
            job = attach(job_id)
        if job.state != "DONE":
            _stop(job_id)
            return True
        error = job.error_result
        if not error or not is_transient(str(error.get("reason")), str(error.get("message"))):
            return False
    return False


def _find(job_id: str) -> Any | None:
    from google.api_core.exceptions import NotFound
    from google.cloud.bigquery import DEFAULT_RETRY

    retry = DEFAULT_RETRY.with_timeout(_CALL_TIMEOUT_SECONDS)
    try:
        with translated(NotFound):
            return bigquery_client().get_job(job_id, retry=retry, timeout=_CALL_TIMEOUT_SECONDS)
    except NotFound:
        return None


def _burn(job_id: str) -> bool:
    """Take the ID for a query that reads nothing and fails; whether it was free."""
    from google.api_core.exceptions import Conflict
    from google.cloud.bigquery import QueryJobConfig

    try:
        insert(Query(sql="SELECT ERROR('The run was cancelled.')"), job_id, QueryJobConfig())
    except Conflict:
        return False
    return True


def _stop(job_id: str) -> None:
    from google.api_core.exceptions import NotFound
    from google.cloud.bigquery import DEFAULT_RETRY

    retry = DEFAULT_RETRY.with_timeout(_CALL_TIMEOUT_SECONDS)
    with suppress(NotFound), translated(NotFound):
        bigquery_client().cancel_job(job_id, retry=retry, timeout=_CALL_TIMEOUT_SECONDS)


def _config(spec: JobSpec) -> "QueryJobConfig":
    from google.cloud import bigquery

    config = bigquery.QueryJobConfig(
        query_parameters=spec.query.bigquery_parameters(),
        labels=dict(spec.labels),
        use_legacy_sql=False,
    )
    if spec.maximum_bytes_billed is not None:
        config.maximum_bytes_billed = spec.maximum_bytes_billed
    if spec.destination:
        config.destination = spec.destination.path
        config.write_disposition = spec.destination.disposition
        config.create_disposition = bigquery.CreateDisposition.CREATE_NEVER
    return config


def _wait(job: "QueryJob", deadline: datetime) -> dict[str, str] | None:
    """None when the job succeeded, else Google's reason and message."""
    from google.api_core.exceptions import GoogleAPICallError
    from google.cloud.bigquery import DEFAULT_RETRY

    left = max((deadline - datetime.now(UTC)).total_seconds(), _SHORTEST_WAIT_SECONDS)
    try:
        with translated(GoogleAPICallError, TimeoutError):
            job.result(
                timeout=left,
                retry=DEFAULT_RETRY.with_timeout(left),
                job_retry=None,
                max_results=1,
            )
    except TimeoutError as error:
        raise WarehouseBusyError(f"job {job.job_id} is still running", "running") from error
    except GoogleAPICallError as error:
        result = job.error_result
        if result is None:
            raise from_exception(error) from error
        return {"reason": str(result.get("reason", "")), "message": str(result.get("message", ""))}
    return None


def _finished(job: "QueryJob", spec: JobSpec) -> FinishedJob:
    written = job.num_dml_affected_rows
    if written is None and spec.destination:
        written = _output_rows(job)
    return FinishedJob(
        job_id=str(job.job_id),
        rows_written=int(written or 0),
        bytes_processed=int(job.total_bytes_processed or 0),
    )


def _output_rows(job: "QueryJob") -> int:
    """Rows that a query job wrote to its destination, from its own statistics.

    The last stage of the plan that wrote says it (BigQuery REST, ExplainQueryStage.recordsWritten).
    """
    from google.cloud.bigquery import DEFAULT_RETRY

    if not job.query_plan:
        with translated():
            job.reload(
                retry=DEFAULT_RETRY.with_timeout(_CALL_TIMEOUT_SECONDS),
                timeout=_CALL_TIMEOUT_SECONDS,
            )
    return int(job.query_plan[-1].records_written or 0) if job.query_plan else 0
