"""What the query engine takes and gives."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infra.local.bigquery.sql.typesystem import Field

if TYPE_CHECKING:
    import pyarrow as pa

    from infra.local.bigquery.catalog import TableRef


@dataclass
class QueryRequest:
    """One query job.

    Attributes:
        project: the job's project, for names without one.
        default_dataset: project and dataset for names without a dataset.
        parameter_mode: "NAMED", "POSITIONAL" or None.
        parameters: REST `queryParameters`.
        partition: the destination's decorator without `$`, such as "20251115".
        maximum_bytes_billed: bytes, or None for no limit.
    """

    project: str
    sql: str
    default_dataset: tuple[str, str] | None = None
    parameter_mode: str | None = None
    parameters: list[dict[str, Any]] = field(default_factory=list)
    destination: "TableRef | None" = None
    partition: str | None = None
    write_disposition: str | None = None
    create_disposition: str | None = None
    time_partitioning: dict[str, Any] | None = None
    clustering: dict[str, Any] | None = None
    schema_update_options: list[str] = field(default_factory=list)
    maximum_bytes_billed: int | None = None
    job_id: str = ""
    labels: dict[str, str] = field(default_factory=dict)


@dataclass
class QueryPlan:
    """What is known of a statement before it runs.

    Attributes:
        schema: REST field dicts of the result.
        statement_type: as BigQuery names it, such as "SELECT", "MERGE", "SCRIPT".
        referenced_tables: every view that the statement names, directly or through another
            view, and every base table below them: an authorizer sees both.
        total_bytes_processed: an estimate (see bytes_estimate.py).
        undeclared_parameters: REST `undeclaredQueryParameters`.
        ddl_operation: CREATE, REPLACE, SKIP, ALTER, DROP or None.
        ddl_target: the table, or (project, dataset) of a schema statement.
        dml_target: the table that DML changes.
        total_bytes_billed: what Google would bill on demand (views are not billed).
    """

    schema: list[Field] = field(default_factory=list)
    statement_type: str = "SELECT"
    referenced_tables: list["TableRef"] = field(default_factory=list)
    total_bytes_processed: int = 0
    undeclared_parameters: list[dict[str, Any]] = field(default_factory=list)
    ddl_operation: str | None = None
    ddl_target: "TableRef | tuple[str, str] | None" = None
    dml_target: "TableRef | None" = None
    total_bytes_billed: int = 0


@dataclass
class QueryResult(QueryPlan):
    """What a statement did.

    Attributes:
        rows: the result of a query; None for DML and DDL.
        total_rows: of the result.
        dml_stats: `insertedRowCount`, `updatedRowCount`, `deletedRowCount`, or None.
        num_dml_affected_rows: their sum, or None.
        output_rows: rows written to the destination, or None without one.
        children: one result for each statement that a script ran, in order.
        sql: the text of a script's statement.
    """

    rows: "pa.Table | None" = None
    total_rows: int = 0
    dml_stats: dict[str, int] | None = None
    num_dml_affected_rows: int | None = None
    output_rows: int | None = None
    children: list["QueryResult"] = field(default_factory=list)
    sql: str = ""
