"""Query jobs: from `configuration.query` to the engine and back to statistics and rows."""

import hashlib
import threading
from typing import Any

import pyarrow as pa

from infra.local.bigquery.catalog import Catalog, TableRef, now_ms
from infra.local.bigquery.contents import Contents
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.faults import Calls
from infra.local.bigquery.job import Job
from infra.local.bigquery.jobs import Jobs
from infra.local.bigquery.limits import SIZES
from infra.local.bigquery.names import check_labels, check_table_name, split_decorator
from infra.local.bigquery.results import Results, anonymous_table
from infra.local.bigquery.sql.engine import QueryEngine, QueryPlan, QueryRequest, QueryResult
from infra.local.bigquery.table_operations import TableOperations

_MUTATIONS = frozenset({"UPDATE", "DELETE", "MERGE"})


class QueryJobs:
    """Runs query jobs on the engine."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        engine: QueryEngine,
        contents: Contents,
        results: Results,
        jobs: Jobs,
        calls: Calls,
        operations: TableOperations,
    ) -> None:
        self._catalog = catalog
        self._engine = engine
        self._contents = contents
        self._results = results
        self._jobs = jobs
        self._calls = calls
        self._operations = operations

    def check(self, job: Job) -> None:
        """Refuse a configuration before the job's ID is used; completes what callers may leave out.

        Raises:
            ApiError: 400.
        """
        query = job.configuration["query"]
        if not isinstance(query.get("query"), str) or not query["query"].strip():
            raise ApiError.required("configuration.query.query")
        _refuse_size(query)
        if query.get("useLegacySql"):
            raise ApiError.not_implemented(
                "The local BigQuery has no legacy SQL: set useLegacySql to false"
            )
        if query.get("tableDefinitions"):
            raise ApiError.not_implemented("The local BigQuery has no external tables")
        if query.get("createSession"):
            raise ApiError.not_implemented("The local BigQuery has no sessions (createSession)")
        check_labels(job.configuration.get("labels"))
        query["useLegacySql"] = False
        query.setdefault("priority", "INTERACTIVE")
        self._request(job)

    def location(self, project: str, configuration: dict[str, Any]) -> str | None:
        """Where the datasets that the configuration names are, None when it names none."""
        query = configuration["query"]
        for key in ("destinationTable", "defaultDataset"):
            name = (query.get(key) or {}).get("datasetId")
            owner = (query.get(key) or {}).get("projectId") or project
            dataset = self._catalog.find_dataset(owner, name) if name else None
            if dataset is not None:
                return dataset.location
        return None

    def dry_run(self, job: Job) -> None:
        """Fill in what the query would do, without running it.

        Raises:
            ApiError: as the query itself would fail.
        """
        plan = self._engine.dry_run(self._request(job))
        job.statistics = _statistics(plan, dry=True)
        job.schema = plan.schema
        job.state = "DONE"

    def run(self, job: Job) -> None:
        """Execute the query; the job takes its statistics, schema and rows.

        Raises:
            ApiError: the error that the job ends with.
        """
        request = self._request(job)
        if request.destination is not None:
            table = self._catalog.find_table(request.destination)
            self._operations.job_writes("query", request.destination, table)
        limit = _TimeLimit(job)
        try:
            result = self._engine.run(request, job.cancelled, job.pending)
        except ApiError as error:
            self._add_children(job, getattr(error, "children", []))
            if limit.passed:
                raise ApiError.stopped(limit.message) from None
            raise
        finally:
            limit.lift()
        self._finish(job, request, result)

    def _finish(self, job: Job, request: QueryRequest, result: QueryResult) -> None:
        job.statistics = _statistics(result, dry=False)
        if result.children:
            self._add_children(job, result.children)
        else:
            self._count_statement(result)
        self._keep_rows(job, request.destination, result)
        job.result_partition = request.partition

    def _add_children(self, job: Job, results: list[QueryResult]) -> None:
        """Record the statements of a script as jobs of their own."""
        if not results:
            return
        job.statistics["numChildJobs"] = str(len(results))
        for index, result in enumerate(results):
            child = self._child(job, index, result.sql)
            child.statistics = _statistics(result, dry=False)
            child.statistics["scriptStatistics"] = {"evaluationKind": "STATEMENT"}
            self._count_statement(result)
            self._keep_rows(child, None, result)
            self._jobs.add_finished(child)

    def _child(self, job: Job, index: int, sql: str) -> Job:
        digest = hashlib.blake2b(f"{job.key}/{index}".encode(), digest_size=16).hexdigest()
        child = Job(
            project=job.project,
            job_id=f"script_job_{digest}_{index}",
            location=job.location,
            configuration={
                "jobType": "QUERY",
                "query": {"query": sql, "useLegacySql": False, "priority": "INTERACTIVE"},
            },
            parent_id=job.job_id,
        )
        child.started, child.ended = job.started, now_ms()
        return child

    def _count_statement(self, result: QueryResult) -> None:
        if result.statement_type in _MUTATIONS and result.dml_target is not None:
            self._calls.count_statement(result.dml_target.dotted)

    def _keep_rows(self, job: Job, destination: TableRef | None, result: QueryResult) -> None:
        if destination is not None and result.statement_type == "SELECT":
            job.schema = result.schema
            job.result = destination
            return
        if result.rows is None:
            return
        ref = anonymous_table(job.project, job.key)
        job.schema = result.schema
        job.total_rows = result.rows.num_rows
        job.result = ref
        self._results.put(ref, result.schema, result.rows)
        job.configuration["query"] |= {
            "destinationTable": ref.to_api(),
            "createDisposition": "CREATE_IF_NEEDED",
            "writeDisposition": "WRITE_TRUNCATE",
        }

    def _request(self, job: Job) -> QueryRequest:
        query = job.configuration["query"]
        destination, partition = _destination(job.project, query)
        default = query.get("defaultDataset")
        dataset = None
        if default and default.get("datasetId"):
            dataset = (default.get("projectId") or job.project, default["datasetId"])
        return QueryRequest(
            project=job.project,
            sql=query["query"],
            default_dataset=dataset,
            parameter_mode=query.get("parameterMode"),
            parameters=query.get("queryParameters") or [],
            destination=destination,
            partition=partition,
            write_disposition=query.get("writeDisposition"),
            create_disposition=query.get("createDisposition"),
            time_partitioning=query.get("timePartitioning"),
            clustering=query.get("clustering"),
            schema_update_options=query.get("schemaUpdateOptions") or [],
            maximum_bytes_billed=_maximum(query.get("maximumBytesBilled")),
            job_id=job.job_id,
            labels=job.configuration.get("labels") or {},
        )

    def rows(self, job: Job, *, start: int, limit: int) -> tuple[pa.Table, int] | None:
        """Rows [start, start + limit) of a finished job's result and their total number.

        None when the statement has no result.

        Raises:
            ApiError: 404 when the rows are gone.
        """
        if job.result is None:
            return None
        stored = self._results.get(job.result)
        if stored is not None:
            return stored.rows.slice(start, limit), stored.rows.num_rows
        table = self._catalog.table(job.result)
        if job.schema is None:
            job.schema = table.schema
        partition = job.result_partition
        total, _ = self._contents.size(table, partition)
        rows = self._contents.rows(table, partition, job.schema, start=start, limit=limit)
        return rows, total


def _refuse_size(query: dict[str, Any]) -> None:
    if len(query["query"]) > SIZES["query_characters"].number:
        raise ApiError.invalid_query(
            "The query is too large. The maximum standard SQL query length is 1024.00K"
            " characters, including comments and white space characters."
        )
    most = int(SIZES["query_parameters"].number)
    if len(query.get("queryParameters") or []) > most:
        raise ApiError.invalid_query(f"Too many query parameters. The maximum is {most}.")


def _destination(project: str, query: dict[str, Any]) -> tuple[TableRef | None, str | None]:
    reference = query.get("destinationTable")
    if not reference:
        return None, None
    if not reference.get("datasetId") or not reference.get("tableId"):
        raise ApiError.required("configuration.query.destinationTable")
    name, partition = split_decorator(reference["tableId"])
    check_table_name(name)
    owner = reference.get("projectId") or project
    return TableRef(owner, reference["datasetId"], name), partition


def _maximum(value: Any) -> int | None:
    if value is None:
        return None
    try:
        return int(value) or None
    except (TypeError, ValueError) as error:
        raise ApiError.invalid(f"Invalid value for maximumBytesBilled: {value}") from error


class _TimeLimit:
    """The `jobTimeoutMs` of a job, if it has one: cancels the job when it has passed."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._timer: threading.Timer | None = None
        self.passed = False
        """Set before the job is cancelled, so that whoever sees it stopped knows why."""
        milliseconds = job.configuration.get("jobTimeoutMs")
        self.message = f"Job timed out after {milliseconds} ms"
        if milliseconds:
            self._timer = threading.Timer(int(milliseconds) / 1000, self._pass)
            self._timer.daemon = True
            self._timer.start()

    def lift(self) -> None:
        """The job has ended: the limit no longer holds."""
        if self._timer is not None:
            self._timer.cancel()

    def _pass(self) -> None:
        if not self._job.cancelled.is_set():
            self.passed = True
            self._job.cancelled.set()


def _statistics(plan: QueryPlan, *, dry: bool) -> dict[str, Any]:
    processed = str(plan.total_bytes_processed)
    query: dict[str, Any] = {
        "statementType": plan.statement_type,
        "totalBytesProcessed": processed,
        "referencedTables": [ref.to_api() for ref in plan.referenced_tables],
        "cacheHit": False,
    }
    if dry:
        query["totalBytesProcessedAccuracy"] = "PRECISE"
        query["totalBytesBilled"] = "0"
        query["schema"] = {"fields": plan.schema}
        if plan.undeclared_parameters:
            query["undeclaredQueryParameters"] = plan.undeclared_parameters
    else:
        query["totalBytesBilled"] = str(plan.total_bytes_billed)
        query["billingTier"] = 1
    if plan.ddl_operation is not None:
        query["ddlOperationPerformed"] = plan.ddl_operation
        if isinstance(plan.ddl_target, TableRef):
            query["ddlTargetTable"] = plan.ddl_target.to_api()
    if isinstance(plan, QueryResult):
        query |= _effects(plan)
    return {"totalBytesProcessed": processed, "query": query}


def _effects(result: QueryResult) -> dict[str, Any]:
    effects: dict[str, Any] = {}
    if result.dml_stats is not None:
        effects["dmlStats"] = {key: str(value) for key, value in result.dml_stats.items()}
    if result.num_dml_affected_rows is not None:
        effects["numDmlAffectedRows"] = str(result.num_dml_affected_rows)
    if result.output_rows is not None:
        effects["queryPlan"] = [_stage(result)]
    return effects


def _stage(result: QueryResult) -> dict[str, Any]:
    """The one stage that stands for the whole plan; its recordsWritten is what was written."""
    return {
        "name": "S00: Output",
        "id": "0",
        "recordsRead": str(result.output_rows),
        "recordsWritten": str(result.output_rows),
        "shuffleOutputBytes": "0",
        "shuffleOutputBytesSpilled": "0",
        "parallelInputs": "1",
        "completedParallelInputs": "1",
        "status": "COMPLETE",
        "steps": [],
    }
