"""The local BigQuery: REST v2 for Google's clients, on DuckDB.

`BIGQUERY_EMULATOR_HOST=http://127.0.0.1:9050` points Google's client here.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from infra.local.bigquery.api import Call, Dispatcher, Method, unknown_route
from infra.local.bigquery.catalog import Catalog
from infra.local.bigquery.contents import Contents
from infra.local.bigquery.copy_jobs import CopyJobs
from infra.local.bigquery.datasets import DatasetMethods
from infra.local.bigquery.enforcement import Enforcement
from infra.local.bigquery.faults import Calls, Faults
from infra.local.bigquery.job_history import JobHistory
from infra.local.bigquery.job_methods import JobKind, JobMethods
from infra.local.bigquery.jobs import Jobs
from infra.local.bigquery.journal import Journal
from infra.local.bigquery.limits import Limits
from infra.local.bigquery.load_jobs import LoadJobs
from infra.local.bigquery.query_jobs import QueryJobs
from infra.local.bigquery.results import Results
from infra.local.bigquery.sql.engine import QueryEngine
from infra.local.bigquery.storage import Storage
from infra.local.bigquery.streaming import Streaming
from infra.local.bigquery.tabledata import TabledataMethods
from infra.local.bigquery.tables import TableMethods
from infra.local.bigquery.tidying import Tidying
from infra.local.bigquery.uploads import UploadMethods
from infra.local.service import UvicornService

REQUEST_THREADS = 16
_STOP_SECONDS = 1.0


class BigQueryService:
    """A running local BigQuery.

    Raises:
        StartupError: the port is taken, or the state is corrupt or in use.
    """

    def __init__(self, *, host: str, port: int, state: Path | None, limits: bool) -> None:
        self._storage = Storage(state)
        try:
            self._threads = ThreadPoolExecutor(REQUEST_THREADS, thread_name_prefix="request")
            self._results = Results(state)
            catalog = Catalog(self._storage)
            self._calls, self._faults = Calls(), Faults()
            self._enforcement = Enforcement(Limits(enforced=limits), self._faults)
            self._jobs = Jobs(catalog, Journal(state), self._faults, self._enforcement.limits)
            self._http = UvicornService(self._application(catalog), host=host, port=port)
        except BaseException:
            self._storage.close()
            raise
        self._tidying = Tidying(self._storage)
        self.host = host
        self.port = self._http.port
        self._stopped = False

    def _application(self, catalog: Catalog) -> Starlette:
        calls, faults, enforcement = self._calls, self._faults, self._enforcement
        history = JobHistory(self._jobs)
        engine = QueryEngine(self._storage, catalog, enforcement, history.rows)
        contents = Contents(catalog)
        queries = QueryJobs(
            catalog=catalog,
            engine=engine,
            contents=contents,
            results=self._results,
            jobs=self._jobs,
            calls=calls,
            operations=enforcement.tables,
        )
        kinds: dict[str, JobKind] = {
            "load": LoadJobs(catalog, enforcement.tables),
            "copy": CopyJobs(catalog, contents, enforcement.tables),
        }
        jobs = JobMethods(self._jobs, queries, kinds)
        datasets = DatasetMethods(catalog, enforcement.tables)
        tables = TableMethods(catalog, engine, contents, self._results, enforcement)
        streaming = Streaming(catalog, enforcement)
        tabledata = TabledataMethods(catalog, streaming, contents, self._results)
        methods = [
            *jobs.methods(),
            *tabledata.methods(),
            *datasets.methods(),
            *tables.methods(),
            *UploadMethods(jobs).methods(),
        ]
        dispatcher = Dispatcher(calls, faults, enforcement.requests, self._threads)
        control = _control(calls, faults, enforcement.limits)
        routes = [*dispatcher.routes(methods), *dispatcher.routes(control)]
        return Starlette(routes=routes, exception_handlers={404: unknown_route, 405: unknown_route})

    def stop(self) -> None:
        """Stop answering, end running jobs, flush state. A second call does nothing."""
        if self._stopped:
            return
        self._stopped = True
        self._http.stop()
        self._tidying.close()
        self._jobs.close(_STOP_SECONDS)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._results.close()
        self._storage.close()


def _control(calls: Calls, faults: Faults, limits: Limits) -> list[Method]:
    """The surface of tests: `/_local/faults`, `/_local/calls` and `/_local/limits`."""

    def add_fault(call: Call) -> dict[str, Any]:
        faults.add(call.body)
        return {}

    def show_faults(_call: Call) -> dict[str, Any]:
        return {"waiting": faults.report()}

    def clear_faults(_call: Call) -> None:
        faults.clear()

    def report(call: Call) -> dict[str, Any]:
        return calls.by_user() if call.query.get("by") == "user" else calls.report()

    def clear_calls(_call: Call) -> None:
        calls.clear()

    def set_limits(call: Call) -> dict[str, Any]:
        limits.configure(call.body)
        return limits.report()

    def show_limits(_call: Call) -> dict[str, Any]:
        return limits.report()

    return [
        Method("", "GET", "/_local/limits", show_limits),
        Method("", "POST", "/_local/limits", set_limits),
        Method("", "POST", "/_local/faults", add_fault),
        Method("", "GET", "/_local/faults", show_faults),
        Method("", "DELETE", "/_local/faults", clear_faults),
        Method("", "GET", "/_local/calls", report),
        Method("", "DELETE", "/_local/calls", clear_calls),
    ]


def start(*, host: str, port: int, state: Path | None, limits: bool = False) -> BigQueryService:
    """Start the local BigQuery; in memory when `state` is None, else in that directory.

    With `limits`, published rates, queues and delays hold (limits.py); sizes hold always.

    Raises:
        StartupError: the port is taken, or the state is corrupt or in use.
    """
    logging.getLogger("infra.local.bigquery").setLevel(logging.INFO)
    return BigQueryService(host=host, port=port, state=state, limits=limits)
