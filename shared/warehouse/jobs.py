"""Query jobs under deterministic IDs: however often one is asked for, it runs once.

`jobs.insert` with a client-chosen ID is atomic: the first insert wins, every other gets 409 and
attaches to the winner's job. An ID is burned even when its job failed, so tries are numbered; a
client that names its job switches Google's own recovery off, therefore all of it is here
(BigQuery documentation, "Reliability", and "Troubleshoot: duplicate").
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

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

J = TypeVar("J")

_CALL_TIMEOUT_SECONDS = 30.0
_VISIBLE_WITHIN_SECONDS = 10.0
"""How long a job may answer notFound after its ID was refused as a duplicate."""
_MAX_TRIES = 20
_SHORTEST_WAIT_SECONDS = 1.0
"""For one look at the job when the deadline is past; a timeout of zero is an error of requests."""
_LONG_POLL_SECONDS = 11.0
"""Google's client waits ten seconds for a result at a time, whatever its own timeout says."""
_SHORTEST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


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
    is_script: bool = False
    """Whether the query has several statements; what they changed is in their own jobs."""


@dataclass(frozen=True)
class FinishedJob:
    """What a job did, from its own statistics."""

    job_id: str
    rows_written: int
    bytes_processed: int
    bytes_billed: int = 0


def run(spec: JobSpec, deadline: datetime) -> FinishedJob:
    """Run `spec` once, or attach to the run that somebody else began.

    Safe to call twice, concurrently and after a crash: the job's ID decides. A job that fails for
    a passing reason ends this call; the next one finds its ID burned and tries the next number.

    Raises:
        WarehouseBusyError: still running at `deadline`, or BigQuery failed for now; call again.
        WarehouseError: the work cannot succeed.
    """
    return _finished(_succeeded(spec, deadline), spec)


def rows(spec: JobSpec, deadline: datetime) -> list[dict[str, Any]]:
    """The rows of `run_and_read` alone."""
    return run_and_read(spec, deadline)[1]


def run_and_read(spec: JobSpec, deadline: datetime) -> tuple[FinishedJob, list[dict[str, Any]]]:
    """Run `spec`, a query without a destination, once, and read its result.

    Every call gets the rows of the one job that ran: BigQuery keeps them for a day (BigQuery
    documentation, "Using cached query results").

    Raises:
        WarehouseBusyError: as `run`.
        WarehouseError: the work cannot succeed, or its result is gone.
    """
    job = _succeeded(spec, deadline)
    return _finished(job, spec), _rows(job)


def rows_of(work_id: str) -> list[dict[str, Any]]:
    """The rows that `rows` has read or will read for `work_id`; none while no job has succeeded.

    Raises:
        WarehouseBusyError: not now.
        WarehouseError: the result is gone.
    """
    for number in range(1, _MAX_TRIES + 1):
        job = _find(f"{work_id}--{number}")
        if job is None:
            return []
        if job.state == "DONE" and not job.error_result:
            return _rows(job)
    return []


def _rows(job: "QueryJob") -> list[dict[str, Any]]:
    from google.cloud.bigquery import DEFAULT_RETRY

    with translated():
        found = job.result(
            timeout=_CALL_TIMEOUT_SECONDS,
            retry=DEFAULT_RETRY.with_timeout(_CALL_TIMEOUT_SECONDS),
            job_retry=None,
        )
        return [dict(row.items()) for row in found]


def _succeeded(spec: JobSpec, deadline: datetime) -> "QueryJob":
    """The job that did the work; see `run`."""
    return settle(
        spec.work_id,
        lambda job_id: insert(spec.query, job_id, _config(spec)),
        lambda job: wait_for(job, deadline),
    )


def settle(
    work_id: str, begin: Callable[[str], J], wait: Callable[[J], dict[str, str] | None]
) -> J:
    """The job that does `work_id`, whoever began it, once it has succeeded.

    Args:
        work_id: names the work; its jobs are numbered.
        begin: inserts a job under the ID it is given; may be called again for the next number.
        wait: None when the job has succeeded, else Google's reason and message.

    Raises:
        WarehouseBusyError: BigQuery failed for now; call again.
        WarehouseError: the work cannot succeed.
    """
    for number in range(1, _MAX_TRIES + 1):
        job, ours = _begin_or_attach(begin, f"{work_id}--{number}")
        error = wait(job)
        if error is None:
            return job
        if ours or not is_transient(error["reason"], error["message"]):
            raise failure(error["reason"], error["message"])
    raise WarehouseError(f"{work_id} failed {_MAX_TRIES} times", "jobRateLimitExceeded")


def _begin_or_attach(begin: Callable[[str], J], job_id: str) -> tuple[J, bool]:
    """The job, and whether this call inserted it."""
    from google.api_core.exceptions import Conflict

    try:
        return begin(job_id), True
    except Conflict:
        attached: J = attach(job_id)
        return attached, False


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


def wait_for(job: Any, deadline: datetime) -> dict[str, str] | None:
    """None when the job, of whatever kind, succeeded, else Google's reason and message.

    Raises:
        WarehouseBusyError: still running at `deadline`, or not now.
    """
    from google.api_core.exceptions import GoogleAPICallError
    from google.cloud.bigquery import DEFAULT_RETRY

    left = max(_seconds_to(deadline), _SHORTEST_WAIT_SECONDS)
    of_queries = {"job_retry": None, "max_results": 1} if job.job_type == "query" else {}
    try:
        with translated(GoogleAPICallError, TimeoutError):
            if left > _LONG_POLL_SECONDS:
                left -= _LONG_POLL_SECONDS
            else:
                _poll(job, left)
                left = _CALL_TIMEOUT_SECONDS  # it has ended: this is for its error's sake
            job.result(timeout=left, retry=DEFAULT_RETRY.with_timeout(left), **of_queries)
    except TimeoutError as error:
        if _seconds_to(deadline) > _SHORTEST_WAIT_SECONDS:
            return wait_for(job, deadline)
        raise WarehouseBusyError(f"job {job.job_id} is still running", "running") from error
    except GoogleAPICallError as error:
        result = job.error_result
        if result is None:
            raise from_exception(error) from error
        return {"reason": str(result.get("reason", "")), "message": str(result.get("message", ""))}
    return None


def _poll(job: Any, seconds: float) -> None:
    """Look at the job until it has ended.

    Raises:
        TimeoutError: it has not in so many seconds.
    """
    from google.cloud.bigquery import DEFAULT_RETRY

    retry = DEFAULT_RETRY.with_timeout(_CALL_TIMEOUT_SECONDS)
    give_up = monotonic() + seconds
    pause, pauses = _SHORTEST_PAUSE_SECONDS, Event()
    while job.state != "DONE":
        job.reload(retry=retry, timeout=_CALL_TIMEOUT_SECONDS)
        left = give_up - monotonic()
        if job.state != "DONE" and left <= 0:
            raise TimeoutError
        if job.state != "DONE":
            pauses.wait(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _seconds_to(deadline: datetime) -> float:
    return (deadline - datetime.now(UTC)).total_seconds()


def _finished(job: "QueryJob", spec: JobSpec) -> FinishedJob:
    written = _rows_of_script(job) if spec.is_script else job.num_dml_affected_rows
    if written is None and spec.destination:
        written = _output_rows(job)
    return FinishedJob(
        job_id=str(job.job_id),
        rows_written=int(written or 0),
        bytes_processed=int(job.total_bytes_processed or 0),
        bytes_billed=int(job.total_bytes_billed or 0),
    )


def _rows_of_script(job: "QueryJob") -> int:
    """Rows that the statements of a script changed; the script's own job does not say it."""
    from google.cloud.bigquery import DEFAULT_RETRY

    retry = DEFAULT_RETRY.with_timeout(_CALL_TIMEOUT_SECONDS)
    with translated():
        children = bigquery_client().list_jobs(
            parent_job=job.job_id, retry=retry, timeout=_CALL_TIMEOUT_SECONDS
        )
        return sum(int(child.num_dml_affected_rows or 0) for child in children)


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
