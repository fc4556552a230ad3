"""The methods `jobs.*`."""

import asyncio
import contextlib
import time
import uuid
from collections import OrderedDict
from typing import Any, Protocol

from infra.local.bigquery.api import PREFIX, Call, Method, decode_token, encode_token, page
from infra.local.bigquery.datasets import DEFAULT_LOCATION, etag_of
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.job import Job
from infra.local.bigquery.jobs import Jobs
from infra.local.bigquery.limits import SIZES
from infra.local.bigquery.names import check_job_id, check_labels
from infra.local.bigquery.query_jobs import QueryJobs
from infra.local.bigquery.tabledata import fitting, page_limit
from infra.local.bigquery.types import encode_rows

INLINE_SECONDS = 0.1  # how long jobs.insert waits for a small job, to save the client a poll
DEFAULT_WAIT_MS = 10_000  # REST reference, jobs.query and jobs.getQueryResults: timeoutMs
MAX_WAIT_MS = 200_000
REQUEST_ID_SECONDS = 15 * 60  # REST reference, jobs.query: requestId
MAX_REQUEST_ID = 36
_PAGE = 1000
_KINDS = ("query", "load", "copy", "extract")
_QUERY_FIELDS = (
    "query",
    "defaultDataset",
    "parameterMode",
    "queryParameters",
    "maximumBytesBilled",
    "useLegacySql",
    "useQueryCache",
    "createSession",
    "connectionProperties",
    "destinationEncryptionConfiguration",
    "writeIncrementalResults",
)


class JobKind(Protocol):
    """What runs one kind of job."""

    def check(self, job: Job) -> None:
        """Refuse a configuration before the job's ID is used."""

    def location(self, project: str, configuration: dict[str, Any]) -> str | None:
        """Where the job's datasets are, None when it names none."""

    def run(self, job: Job) -> None:
        """Do the work; an ApiError fails the job."""


class JobMethods:
    """The methods of the REST resource `jobs`."""

    def __init__(self, jobs: Jobs, queries: QueryJobs, kinds: dict[str, JobKind]) -> None:
        self._jobs = jobs
        self._queries = queries
        self._kinds: dict[str, JobKind] = {"query": queries, **kinds}
        self._requests: OrderedDict[tuple[str, str], tuple[float, str, Job]] = OrderedDict()

    def methods(self) -> list[Method]:
        """Routes and handlers."""
        project = f"{PREFIX}/projects/{{project}}"
        return [
            Method("jobs.insert", "POST", f"{project}/jobs", self.insert, asynchronous=True),
            Method(
                "jobs.getQueryResults",
                "GET",
                f"{project}/queries/{{job}}",
                self.get_query_results,
                asynchronous=True,
            ),
            Method("jobs.query", "POST", f"{project}/queries", self.query, asynchronous=True),
            Method("jobs.get", "GET", f"{project}/jobs/{{job}}", self.get),
            Method("jobs.list", "GET", f"{project}/jobs", self.list_jobs, threaded=True),
            Method("jobs.cancel", "POST", f"{project}/jobs/{{job}}/cancel", self.cancel),
            Method("jobs.delete", "DELETE", f"{project}/jobs/{{job}}/delete", self.delete),
        ]

    # --- insert

    async def insert(self, call: Call) -> dict[str, Any]:
        _refuse_size(call)
        job = self.new_job(call.path["project"], call.body)
        if job.configuration.get("dryRun"):
            return await self._dry_run(job, call.base_url)
        self._jobs.start(job, self._kinds[job.kind].run)
        await until_done(job, INLINE_SECONDS)
        return job.to_api(call.base_url)

    def start_load(self, project: str, resource: dict[str, Any], content: bytes) -> Job:
        """Start the load job of an upload.

        Raises:
            ApiError: 400, 409; the ID is not used by a refused configuration.
        """
        job = self.new_job(project, resource)
        if job.kind != "load":
            raise ApiError.invalid("Only load jobs take an upload")
        job.upload = content
        self._jobs.start(job, self._kinds["load"].run)
        return job

    def new_job(self, project: str, resource: dict[str, Any]) -> Job:
        """The job of a Job resource, checked but not started.

        Raises:
            ApiError: 400.
        """
        configuration = resource.get("configuration")
        if not isinstance(configuration, dict):
            raise ApiError.required("configuration")
        kinds = [kind for kind in _KINDS if isinstance(configuration.get(kind), dict)]
        if len(kinds) != 1:
            raise ApiError.required("configuration.query, load, copy or extract (one of them)")
        if kinds[0] not in self._kinds:
            raise ApiError.not_implemented(
                f"{kinds[0]} jobs are not supported by the local BigQuery"
            )
        reference = resource.get("jobReference") or {}
        configuration = {**configuration, "jobType": kinds[0].upper()}
        check_labels(configuration.get("labels"))
        kind = self._kinds[kinds[0]]
        location = reference.get("location") or kind.location(project, configuration)
        job = Job(
            project=project,
            job_id=check_job_id(reference.get("jobId") or f"job_{uuid.uuid4().hex}"),
            location=location or DEFAULT_LOCATION,
            configuration=configuration,
        )
        kind.check(job)
        return job

    async def _dry_run(self, job: Job, base_url: str) -> dict[str, Any]:
        if job.kind != "query":
            raise ApiError.invalid("Only query jobs can be dry runs")
        await asyncio.get_running_loop().run_in_executor(None, self._queries.dry_run, job)
        resource = job.to_api(base_url)
        resource["id"] = f"{job.project}:{job.location}."
        return resource

    # --- query

    async def query(self, call: Call) -> dict[str, Any]:
        _refuse_size(call)
        body = call.body
        request_id = str(body.get("requestId") or "")
        if len(request_id) > MAX_REQUEST_ID:
            raise ApiError.invalid(
                f"Invalid value for requestId: at most {MAX_REQUEST_ID} characters are allowed"
            )
        project = call.path["project"]
        resource = _query_resource(project, body)
        if body.get("dryRun"):
            job = self.new_job(project, resource)
            await asyncio.get_running_loop().run_in_executor(None, self._queries.dry_run, job)
            return _dry_answer(job)
        job = self._known_request(project, request_id, body) or self._start_query(
            project, request_id, body, resource
        )
        await until_done(job, _wait_seconds(body.get("timeoutMs")))
        integers = bool((body.get("formatOptions") or {}).get("useInt64Timestamp"))
        limit = body.get("maxResults")
        return await self._results(
            job,
            kind="bigquery#queryResponse",
            start=0,
            limit=None if limit is None else int(limit),
            integers=integers,
        )

    def _known_request(self, project: str, request_id: str, body: dict[str, Any]) -> Job | None:
        oldest = time.monotonic() - REQUEST_ID_SECONDS
        while self._requests and next(iter(self._requests.values()))[0] < oldest:
            self._requests.popitem(last=False)
        known = self._requests.get((project, request_id)) if request_id else None
        return known[2] if known is not None and known[1] == etag_of(body) else None

    def _start_query(
        self, project: str, request_id: str, body: dict[str, Any], resource: dict[str, Any]
    ) -> Job:
        job = self.new_job(project, resource)
        self._jobs.start(job, self._queries.run)
        if request_id:
            self._requests[project, request_id] = (time.monotonic(), etag_of(body), job)
        return job

    # --- results

    async def get_query_results(self, call: Call) -> dict[str, Any]:
        job = self._jobs.get(call.path["project"], call.path["job"], call.query.get("location"))
        if job.kind != "query":
            raise ApiError.invalid(f"Job {job.key} is not a query job")
        start = decode_token(call.query.get("pageToken")) or call.integer("startIndex") or 0
        await until_done(job, _wait_seconds(call.query.get("timeoutMs")))
        return await self._results(
            job,
            kind="bigquery#getQueryResultsResponse",
            start=start,
            limit=call.integer("maxResults"),
            integers=call.flag("formatOptions.useInt64Timestamp"),
        )

    async def _results(
        self, job: Job, *, kind: str, start: int, limit: int | None, integers: bool
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "kind": kind,
            "etag": etag_of(job.key, start),
            "jobReference": job.reference(),
            "jobComplete": job.done,
        }
        if not job.done:
            return answer
        error = job.error()
        if error is not None:
            raise error
        answer |= _summary(job, kind)
        if job.result is None:
            return answer
        if limit == 0 and job.total_rows is not None and job.schema is not None:
            return answer | {
                "schema": {"fields": job.schema},
                "totalRows": str(job.total_rows),
                **({"pageToken": encode_token(start)} if job.total_rows > start else {}),
            }
        loop = asyncio.get_running_loop()
        return answer | await loop.run_in_executor(
            None, self._rows, job, start, page_limit(limit), integers
        )

    def _rows(self, job: Job, start: int, limit: int, integers: bool) -> dict[str, Any]:  # noqa: FBT001
        found = self._queries.rows(job, start=start, limit=limit)
        if found is None:
            return {}
        rows, total = found
        rows = fitting(rows)
        schema = job.schema or []
        answer: dict[str, Any] = {"schema": {"fields": schema}, "totalRows": str(total)}
        if rows.num_rows:
            answer["rows"] = encode_rows(rows, schema, int64_timestamps=integers)
        following = start + rows.num_rows
        if following < total:
            answer["pageToken"] = encode_token(following)
        return answer

    # --- state

    def get(self, call: Call) -> dict[str, Any]:
        return self._find(call).to_api(call.base_url)

    def cancel(self, call: Call) -> dict[str, Any]:
        job = self._find(call)
        self._jobs.cancel(job)
        return {"kind": "bigquery#jobCancelResponse", "job": job.to_api(call.base_url)}

    def delete(self, call: Call) -> None:
        self._jobs.delete(self._find(call))

    def _find(self, call: Call) -> Job:
        return self._jobs.get(call.path["project"], call.path["job"], call.query.get("location"))

    def list_jobs(self, call: Call) -> dict[str, Any]:
        project = call.path["project"]
        states = {state.upper() for state in call.every("stateFilter")}
        ids = self._jobs.recent(
            project,
            parent=call.query.get("parentJobId"),
            states=states,
            since=call.integer("minCreationTime") or 0,
            until=call.integer("maxCreationTime") or 1 << 62,
        )
        chosen, token = page(
            ids,
            token=call.query.get("pageToken"),
            size=call.integer("maxResults"),
            default=_PAGE,
        )
        found = (self._jobs.find(project, job_id) for job_id in chosen)
        answer: dict[str, Any] = {
            "kind": "bigquery#jobList",
            "etag": etag_of(project, len(ids)),
            "jobs": [job.to_item(call.base_url) for job in found if job is not None],
        }
        if token:
            answer["nextPageToken"] = token
        return answer


async def until_done(job: Job, seconds: float) -> None:
    """Wait for the job's end, at most `seconds`."""
    if job.completed.done():
        return
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def ended(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended with the server
            loop.call_soon_threadsafe(settle)

    job.completed.add_done_callback(ended)
    timer = loop.call_later(seconds, settle)
    await waiter
    timer.cancel()


def _refuse_size(call: Call) -> None:
    most = int(SIZES["job_request_bytes"].number)
    if len(call.raw) > most:
        text = f"Request payload size exceeds the limit: {most} bytes."
        raise ApiError("invalid", text, status=413)


def _wait_seconds(milliseconds: Any) -> float:
    if milliseconds is None or milliseconds == "":
        return DEFAULT_WAIT_MS / 1000
    try:
        return min(max(int(milliseconds), 0), MAX_WAIT_MS) / 1000
    except (TypeError, ValueError) as error:
        raise ApiError.invalid(f"Invalid value for timeoutMs: {milliseconds}") from error


def _query_resource(project: str, body: dict[str, Any]) -> dict[str, Any]:
    query = {key: body[key] for key in _QUERY_FIELDS if body.get(key) is not None}
    configuration: dict[str, Any] = {"query": query}
    for key in ("labels", "jobTimeoutMs"):
        if body.get(key):
            configuration[key] = body[key]
    resource: dict[str, Any] = {"configuration": configuration}
    if body.get("location"):
        resource["jobReference"] = {"projectId": project, "location": body["location"]}
    return resource


def _dry_answer(job: Job) -> dict[str, Any]:
    return {
        "kind": "bigquery#queryResponse",
        "schema": {"fields": job.schema or []},
        "jobReference": {"projectId": job.project, "location": job.location},
        "totalBytesProcessed": job.statistics["totalBytesProcessed"],
        "jobComplete": True,
        "cacheHit": False,
        "location": job.location,
    }


def _summary(job: Job, kind: str) -> dict[str, Any]:
    query = job.statistics.get("query", {})
    summary: dict[str, Any] = {
        "totalBytesProcessed": job.statistics.get("totalBytesProcessed", "0"),
        "cacheHit": False,
    }
    if "numDmlAffectedRows" in query:
        summary["numDmlAffectedRows"] = query["numDmlAffectedRows"]
    if job.schema is None:
        summary["schema"] = {"fields": []}
    if kind == "bigquery#queryResponse":
        common = job.common_statistics()
        summary |= {
            "queryId": job.job_id,
            "location": job.location,
            "jobCreationReason": {"code": "REQUESTED"},
            "totalBytesBilled": query.get("totalBytesBilled", "0"),
            "statementType": query.get("statementType", "SELECT"),
            "totalSlotMs": common.get("totalSlotMs", "0"),
            "creationTime": common["creationTime"],
            "startTime": common.get("startTime", common["creationTime"]),
            "endTime": common.get("endTime", common["creationTime"]),
        }
        if "dmlStats" in query:
            summary["dmlStats"] = query["dmlStats"]
    return summary
