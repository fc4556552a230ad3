"""May this tenant run this SQL? BigQuery itself says what a statement touches, in a dry run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.clients import bigquery_client
from shared.errors import AccessDeniedError
from shared.settings import settings
from shared.warehouse.failures import WarehouseError, translated
from shared.warehouse.queries import Query

_TIMEOUT_SECONDS = 60.0
_QUOTED_PATH = re.compile(r"`([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+)`")
BYTES_PER_TABLE = 10 * 1024 * 1024
"""A query is billed at least this much for every table it references (BigQuery pricing)."""
_METADATA = re.compile(r"(?i)INFORMATION_SCHEMA|__(TABLES|TABLES_SUMMARY|PARTITIONS_SUMMARY)__")
_ESCAPE = re.compile(r"\\(?:[xX]([0-9a-fA-F]{2})|(?:u|U0000)([0-9a-fA-F]{4})|([0-7]{3}))")
"""Ways to spell a letter that quoted names share with texts (GoogleSQL, "Lexical structure")."""
_GAP = r"(?>\s|/\*.*?\*/|(?:--|#)[^\r\n]*[\r\n])*+"
_UNLISTED = re.compile(
    r"(?is)\b(?:EXTERNAL_QUERY|EXTERNAL_OBJECT_TRANSFORM|ST_REGIONSTATS|DLP_KEY_CHAIN)\b"
    rf"|\b(?:APPENDS|CHANGES|GAP_FILL|RANGE_SESSIONIZE|VECTOR_SEARCH)`?{_GAP}\("
    rf"|\bGRAPH_(?:TABLE|EXPAND)`?{_GAP}\("
    rf"|(?:\A{_GAP}|\({_GAP}|;{_GAP})GRAPH\b{_GAP}(?=`|\w)"
    rf"|\b(?:ML|AI|KEYS|OBJ)`?{_GAP}\.{_GAP}`?\w+`?{_GAP}\("
)
"""What reaches data, models, keys, files or the world without a dry run naming what it reaches."""


@dataclass(frozen=True)
class DryRun:
    """What BigQuery says of a statement without running it."""

    tables: tuple[str, ...]
    """Every referenced `project.dataset.table`."""
    bytes_estimated: int
    statement_type: str
    schema: tuple[Mapping[str, Any], ...]
    routines: tuple[str, ...] = ()
    """Every referenced function that is kept in a dataset, `project.dataset.routine`."""

    @property
    def maximum_bytes_billed(self) -> int:
        """The estimate with the billing minimum of each table: a cap that an honest run passes."""
        return self.bytes_estimated + BYTES_PER_TABLE * max(1, len(self.tables))


class ForeignTableError(AccessDeniedError):
    """The statement touches a table that is neither the tenant's nor a source of the template."""

    code = "foreign-table"

    def __init__(self, table: str, tenant_id: str) -> None:
        self.table = table
        self.tenant_id = tenant_id
        super().__init__(
            f"Access denied: {table} belongs neither to tenant {tenant_id} nor to the sources that"
            " the template declares. Read one of those, or ask the template's author to add it to"
            " `sources`."
        )


class StatementNotAllowedError(AccessDeniedError):
    """A step's query may only read; what it writes is the step's destination."""

    code = "statement-not-allowed"

    def __init__(self, statement_type: str) -> None:
        self.statement_type = statement_type
        super().__init__(
            f"A step's query must be one SELECT, this is a {statement_type}: "
            "write the result with `destination`."
        )


class FunctionNotAllowedError(AccessDeniedError):
    """The statement calls a function that may reach what the tenant may not."""

    code = "function-not-allowed"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"Access denied: a step's query may not use {name}, which reaches beyond the tables"
            " that the tenant may read. Read tables only."
        )


class TooManyBytesError(AccessDeniedError):
    """The statement would scan more than the step may."""

    code = "too-many-bytes"

    def __init__(self, estimated: int, allowed: int) -> None:
        self.estimated = estimated
        self.allowed = allowed
        super().__init__(
            f"The query would scan {estimated:,} bytes, max_bytes_billed allows {allowed:,}: "
            "filter the partitions it reads, or raise the limit."
        )


def dry_run(query: Query, labels: Mapping[str, str] | None = None) -> DryRun:
    """Ask BigQuery what `query` would touch. Costs nothing, reads nothing, may be repeated.

    Raises:
        WarehouseError: the statement is not valid, or a table does not exist.
        WarehouseBusyError: not now.
    """
    from google.cloud import bigquery

    config = bigquery.QueryJobConfig(
        dry_run=True,
        use_query_cache=False,
        query_parameters=query.bigquery_parameters(),
        labels=dict(labels or {}),
    )
    with translated():
        job = bigquery_client().query(
            query.sql,
            job_config=config,
            retry=bigquery.DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS),
            job_retry=None,
            timeout=_TIMEOUT_SECONDS,
        )
    return DryRun(
        tables=tuple(str(table) for table in job.referenced_tables),
        bytes_estimated=int(job.total_bytes_processed or 0),
        statement_type=str(job.statement_type or ""),
        schema=tuple(field.to_api_repr() for field in job.schema or ()),
        routines=_routines(job),
    )


def _routines(job: Any) -> tuple[str, ...]:
    """From the REST resource: Google's client has no property for it (JobStatistics2)."""
    statistics = job._properties.get("statistics", {}).get("query", {})
    return tuple(
        f"{routine['projectId']}.{routine['datasetId']}.{routine['routineId']}"
        for routine in statistics.get("referencedRoutines", ())
    )


def authorize(query: Query, plan: DryRun, tenant_id: str, sources: Sequence[str]) -> None:
    """Refuse a statement that does more than read what `tenant_id` may read.

    The tenant may read tables of datasets that carry its own `tenant_id` label, and the template's
    `sources` unless they lie in another tenant's dataset. Of functions that are kept in a dataset
    it may call its own. Metadata views, and functions that read elsewhere, are refused by name: a
    dry run does not list what they reach.

    Raises:
        StatementNotAllowedError: not a single SELECT.
        ForeignTableError: names the first table that is not allowed.
        WarehouseBusyError: a dataset's label could not be read now.
    """
    if plan.statement_type != "SELECT":
        raise StatementNotAllowedError(plan.statement_type)
    metadata = _METADATA.search(_ESCAPE.sub(_unescaped, query.sql))
    if metadata:
        raise ForeignTableError(metadata[0], tenant_id)
    unlisted = _UNLISTED.search(_ESCAPE.sub(_unescaped, query.sql))
    if unlisted:
        raise FunctionNotAllowedError(unlisted[0].strip("`( \r\n\t"))
    for table in plan.tables:
        if not _may_read(table, tenant_id, sources):
            raise ForeignTableError(table, tenant_id)
    for routine in plan.routines:
        if not _may_read(routine, tenant_id, ()):
            raise FunctionNotAllowedError(routine)


def authorized(
    query: Query,
    tenant_id: str,
    sources: Sequence[str],
    *,
    labels: Mapping[str, str] | None = None,
    allowed: int | None = None,
) -> tuple[DryRun, int]:
    """What a query would touch, and the bytes it may be billed; nothing is read.

    Raises:
        AccessDeniedError: a table that the tenant may not read, or more bytes than `allowed`.
        WarehouseError: the query is not valid, or a table does not exist.
        WarehouseBusyError: not now.
    """
    try:
        plan = dry_run(query, labels)
    except WarehouseError:
        refuse_foreign_names(query.sql, tenant_id, sources)
        raise
    authorize(query, plan, tenant_id, sources)
    return plan, bytes_cap(plan, allowed)


def check_readable(table: str, tenant_id: str, sources: Sequence[str]) -> None:
    """Refuse `project.dataset.table` unless the tenant may read it; for what is no query.

    Raises:
        ForeignTableError: it is neither the tenant's nor one of `sources`.
        WarehouseBusyError: the dataset's label could not be read now.
    """
    if not _may_read(table, tenant_id, sources):
        raise ForeignTableError(table, tenant_id)


def refuse_foreign_names(sql: str, tenant_id: str, sources: Sequence[str]) -> None:
    """Refuse a statement that names somebody else's table, without asking what is in it.

    For statements that BigQuery finds invalid: its own words ("Unrecognized name", "Not found")
    would tell whether another tenant's table exists and which columns it has.

    Raises:
        ForeignTableError: names the first such table.
    """
    here = settings().GCP_PROJECT_ID
    for name in _QUOTED_PATH.findall(sql):
        path = name if name.count(".") > 1 else f"{here}.{name}"
        if not _may_read(path, tenant_id, sources):
            raise ForeignTableError(path, tenant_id)


def _may_read(table: str, tenant_id: str, sources: Sequence[str]) -> bool:
    """Whether `project.dataset.table` is the tenant's own, or a source that is no tenant's.

    Only datasets of this project can be a tenant's: a label in another one says nothing.
    """
    dataset = table.rpartition(".")[0]
    project, _, name = dataset.rpartition(".")
    if project != settings().GCP_PROJECT_ID:
        return table in sources and dataset_owner(dataset) is None
    if name == tenant_id or name.startswith(f"{tenant_id}_"):
        return dataset_owner(dataset) == tenant_id
    return table in sources and dataset_owner(dataset) is None


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[3], 8) if escape[3] else int(escape[1] or escape[2], 16))


def dataset_owner(dataset: str) -> str | None:
    """The tenant that `project.dataset` is labelled with; None for a dataset of nobody.

    Raises:
        WarehouseError: the dataset does not exist.
        WarehouseBusyError: not now.
    """
    from google.cloud.bigquery import DEFAULT_RETRY

    retry = DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS)
    with translated():
        found = bigquery_client().get_dataset(dataset, retry=retry, timeout=_TIMEOUT_SECONDS)
    owner: str | None = found.labels.get("tenant_id")
    return owner


def bytes_cap(plan: DryRun, allowed: int | None) -> int:
    """What to pass as `maximumBytesBilled`: the estimate plus each table's billing minimum.

    Raises:
        TooManyBytesError: the estimate is above `allowed`.
    """
    if allowed is not None and plan.bytes_estimated > allowed:
        raise TooManyBytesError(plan.bytes_estimated, allowed)
    return plan.maximum_bytes_billed
