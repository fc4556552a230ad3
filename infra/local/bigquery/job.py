"""One job: its state, and the REST resource that shows it."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from infra.local.bigquery.api import PREFIX
from infra.local.bigquery.catalog import TableRef, now_ms
from infra.local.bigquery.datasets import etag_of
from infra.local.bigquery.errors import ApiError

USER = "local@convergence-local.iam.gserviceaccount.com"


_INSIST_SECONDS = 0.02


class Cancellation(threading.Event):
    """An event that also calls back, so that a query is interrupted without anybody polling."""

    def __init__(self) -> None:
        super().__init__()
        self._callbacks: list[Callable[[], object]] = []
        self._guard = threading.Lock()

    def set(self) -> None:
        """Ask to stop, and go on asking until nobody is called back any more.

        An interrupt that meets a statement before DuckDB has begun it is lost.
        """
        super().set()
        if self._call_back():
            threading.Thread(target=self._insist, name="cancellation", daemon=True).start()

    def _insist(self) -> None:
        pause = threading.Event()
        while not pause.wait(_INSIST_SECONDS) and self._call_back():
            pass

    def _call_back(self) -> bool:
        with self._guard:
            for callback in self._callbacks:
                callback()
            return bool(self._callbacks)

    def on_set(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call back once set, at once if it is; the returned function takes that back."""
        with self._guard:
            if not self.is_set():
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def _forget(self, callback: Callable[[], object]) -> None:
        with self._guard:
            if callback in self._callbacks:
                self._callbacks.remove(callback)


def _completion() -> Future[None]:
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()  # a waiter that gives up must not cancel the job's future
    return future


@dataclass(slots=True)
class Job:
    """A job from its insertion on.

    Attributes:
        configuration: as the caller sent it, with the server's additions.
        statistics: what the kind of job adds to the common ones, such as {"query": {...}}.
        schema: of the result, REST field dicts; None for jobs without one.
        result: the table that holds the result's rows, anonymous or the destination.
        result_partition: the decorator of the destination, without `$`.
        errors: ErrorProtos, the leading one first; empty unless it failed.
        upload: the content of a load job's upload, until the job has read it.
        completed: done once the job has ended and the journal knows.
        cancelled: set when somebody asked the job to stop.
        pending: what the job spends a wait in that takes no worker.
    """

    project: str
    job_id: str
    location: str
    configuration: dict[str, Any]
    created: int = field(default_factory=now_ms)
    parent_id: str | None = None
    state: str = "PENDING"
    started: int | None = None
    ended: int | None = None
    statistics: dict[str, Any] = field(default_factory=dict)
    schema: list[dict[str, Any]] | None = None
    total_rows: int | None = None
    result: TableRef | None = None
    result_partition: str | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    upload: bytes | None = None
    completed: Future[None] = field(default_factory=_completion)
    cancelled: Cancellation = field(default_factory=Cancellation)
    pending: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def key(self) -> str:
        """Unique on this server; names the job in messages as Google does."""
        return f"{self.project}:{self.location}.{self.job_id}"

    @property
    def done(self) -> bool:
        """Whether the job has ended, well or not."""
        return self.state == "DONE"

    @property
    def kind(self) -> str:
        """The kind of work: "query", "load", "copy" or "extract"."""
        return str(self.configuration.get("jobType", "")).lower()

    def error(self) -> ApiError | None:
        """The error that ended the job."""
        if not self.errors:
            return None
        first, *others = self.errors
        return ApiError(
            first["reason"], first["message"], location=first.get("location"), errors=others
        )

    def to_entry(self) -> dict[str, Any]:
        """What the journal keeps."""
        return {
            "location": self.location,
            "configuration": self.configuration,
            "created": self.created,
            "parent_id": self.parent_id,
            "state": self.state,
            "started": self.started,
            "ended": self.ended,
            "statistics": self.statistics,
            "schema": self.schema,
            "total_rows": self.total_rows,
            "result_partition": self.result_partition,
            "result": None if self.result is None else self.result.to_api(),
            "errors": self.errors,
        }

    @classmethod
    def from_entry(cls, project: str, job_id: str, entry: dict[str, Any]) -> "Job":
        """The job of a journal entry."""
        fields = dict(entry)
        result = fields.pop("result")
        job = cls(project=project, job_id=job_id, **fields)
        if result is not None:
            job.result = TableRef(result["projectId"], result["datasetId"], result["tableId"])
        if job.done:
            job.completed.set_result(None)
        return job

    def reference(self) -> dict[str, str]:
        """The JobReference."""
        return {"projectId": self.project, "jobId": self.job_id, "location": self.location}

    def status(self) -> dict[str, Any]:
        """The JobStatus."""
        status: dict[str, Any] = {"state": self.state}
        if self.errors:
            status |= {"errorResult": self.errors[0], "errors": self.errors}
        return status

    def common_statistics(self) -> dict[str, Any]:
        """The JobStatistics."""
        statistics: dict[str, Any] = {"creationTime": str(self.created)}
        if self.started is not None:
            statistics["startTime"] = str(self.started)
        if self.ended is not None:
            statistics["endTime"] = str(self.ended)
            elapsed = self.ended - (self.started or self.ended)
            statistics["finalExecutionDurationMs"] = str(elapsed)
            statistics["totalSlotMs"] = str(elapsed)
        if self.parent_id is not None:
            statistics["parentJobId"] = self.parent_id
        statistics |= self.statistics
        if "query" in statistics:
            slots = {"totalSlotMs": statistics.get("totalSlotMs", "0")}
            statistics["query"] = slots | statistics["query"]
        return statistics

    def to_api(self, base_url: str) -> dict[str, Any]:
        """The Job resource."""
        return {
            "kind": "bigquery#job",
            "etag": etag_of(self.key, self.state, self.ended),
            "id": self.key,
            "selfLink": (
                f"{base_url}{PREFIX}/projects/{self.project}/jobs/{self.job_id}"
                f"?location={self.location}"
            ),
            "user_email": USER,
            "principal_subject": f"serviceAccount:{USER}",
            "jobReference": self.reference(),
            "configuration": self.configuration,
            "status": self.status(),
            "statistics": self.common_statistics(),
        }

    def to_item(self, base_url: str) -> dict[str, Any]:
        """The form of `jobs.list`."""
        item = self.to_api(base_url)
        del item["etag"], item["selfLink"]
        item["state"] = self.state
        if self.errors:
            item["errorResult"] = self.errors[0]
        return item
