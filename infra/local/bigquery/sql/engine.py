"""The query engine: one job's SQL in, schema, statistics and rows out."""

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import duckdb

from infra.local.bigquery.catalog import Catalog
from infra.local.bigquery.dml_queues import Caller
from infra.local.bigquery.enforcement import Enforcement
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql import macros, session, statements
from infra.local.bigquery.sql.bytes_estimate import Sizes
from infra.local.bigquery.sql.compiled import Cache
from infra.local.bigquery.sql.failures import from_duckdb
from infra.local.bigquery.sql.parameters import read_parameters
from infra.local.bigquery.sql.plan import QueryPlan, QueryRequest, QueryResult
from infra.local.bigquery.sql.script import blocks, interpreter, planner
from infra.local.bigquery.storage import Storage

_LOG = logging.getLogger(__name__)
_RECURSION = 20_000

__all__ = ["QueryEngine", "QueryPlan", "QueryRequest", "QueryResult"]


class QueryEngine:
    """Plans and runs query jobs; safe to use from any thread."""

    def __init__(
        self,
        storage: Storage,
        catalog: Catalog,
        enforcement: Enforcement | None = None,
        jobs: Callable[[str], Iterable[tuple[Any, ...]]] = lambda _: (),
    ) -> None:
        self._storage = storage
        self._jobs = jobs
        self._catalog = catalog
        self._enforcement = enforcement or Enforcement()
        self._cache = Cache(catalog)
        self._sizes = Sizes(catalog)
        # long chains of operators are deep trees; Python's own frames need no C stack
        sys.setrecursionlimit(max(sys.getrecursionlimit(), _RECURSION))
        with storage.cursor() as cursor:
            macros.create_macros(cursor)

    def dry_run(self, request: QueryRequest) -> QueryPlan:
        """What the job would do, without doing it.

        Raises:
            ApiError: as the job itself would fail before it reads a row.
        """
        with _refusals():
            state = self._session(request, threading.Event(), dry=True)
            script = blocks.read_script(request.sql)
            if not script.single:
                return planner.plan_script(state, script)
            return statements.plan(state, script.only)

    def run(
        self,
        request: QueryRequest,
        cancelled: threading.Event,
        pending: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> QueryResult:
        """Execute the job; it spends what it waits for its tables inside `pending()`.

        Raises:
            ApiError: what the job ends with; of a script, its attribute `children` holds the
                results of the statements that had finished.
        """
        with _refusals():
            state = self._session(request, cancelled, dry=False)
            state.caller = Caller(request.job_id, cancelled, pending)
            compiled = statements.compile_text(state, request.sql)
            if compiled is not None:
                return statements.run_text(state, compiled, request.sql)
            script = blocks.read_script(request.sql)
            if script.single:
                return statements.run(state, script.only)
            return interpreter.run_script(state, script)

    def _session(
        self, request: QueryRequest, cancelled: threading.Event, *, dry: bool
    ) -> session.Session:
        parameters = read_parameters(request.parameter_mode, request.parameters)
        return session.Session(
            storage=self._storage,
            catalog=self._catalog,
            cache=self._cache,
            sizes=self._sizes,
            request=request,
            parameters=parameters,
            cancelled=cancelled,
            dry=dry,
            enforcement=self._enforcement,
            caller=Caller(request.job_id, cancelled),
            jobs=self._jobs,
        )


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """What no statement may end with: an exception that is no ApiError.

    SQL that the translation does not foresee is the query's fault to its author, and a defect to
    be mended here: the client gets invalidQuery, the log the traceback.
    """
    try:
        yield
    except duckdb.Error as error:
        raise from_duckdb(error) from error
    except RecursionError as error:
        raise ApiError.resources_exceeded(
            "Resources exceeded during query execution: Not enough resources for query planning"
            " - too many subqueries or query is too complex."
        ) from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        _LOG.exception("a query that the translation does not foresee")
        raise ApiError.invalid_query(
            f"The local BigQuery cannot run this query ({type(error).__name__}: {error})"
        ) from error
