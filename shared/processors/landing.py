"""Where fetched data lands: a table of the tenant's, written a partition at a time.

The processors of every provider that fetches use it: they bring rows in the source's own columns,
this finds or makes the table, lets it grow by the columns that the source has gained, and loads.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import Field

from shared.errors import ConvergenceError, Retryable
from shared.models import Model
from shared.processors import drift_events
from shared.processors.contract import StepContext
from shared.processors.own_tables import DatasetType, WrittenTable
from shared.settings import settings
from shared.tenancy.names import check_table_name, dataset_name
from shared.warehouse import evolution, tables
from shared.warehouse.arrow import PARQUET_TYPES, ChangedColumnError, column_of
from shared.warehouse.conversion import Conversion, conversion
from shared.warehouse.drift import DriftEvent
from shared.warehouse.evolution import Evolution, ResultDriftError
from shared.warehouse.failures import WarehouseBusyError
from shared.warehouse.jobs import FinishedJob
from shared.warehouse.loads import Load, load
from shared.warehouse.nulls import holding_values
from shared.warehouse.partitions import PARALLEL_DAYS
from shared.warehouse.schemas import Column, TableSchema, load_table

if TYPE_CHECKING:
    import pyarrow as pa

_ADDED = "Added by the source."
_PARTITION_FORMATS = {"DAY": "%Y%m%d", "MONTH": "%Y%m", "YEAR": "%Y"}
Batches: TypeAlias = "Iterable[pa.RecordBatch]"


class LandingDestination(Model):
    """What is written: a table in one of the tenant's own datasets."""

    dataset_type: DatasetType | None = Field(
        default=None,
        description="`aws_silver_cost` writes to {tenant_id}_aws_silver_cost; absent: {tenant_id}.",
    )
    table: WrittenTable = Field(description="Table; created when it does not exist.")
    schema_template: str | None = Field(
        default=None,
        description="Schema file below schemas/, such as aws/cost_explorer_daily; absent: the"
        " columns of the source.",
    )
    write: Literal["replace_partition", "append"] = Field(
        default="replace_partition",
        description="`replace_partition` replaces every partition that is fetched, whole;"
        " `append` adds rows.",
    )


@dataclass(frozen=True)
class Part:
    """The rows of one partition."""

    day: date
    """Any day of the partition."""
    version: str
    """Identifies these very rows; the same rows always have the same version."""
    batches: Callable[[], Batches] = field(repr=False)
    """The rows in the table's columns, from the beginning whenever it is called."""


@dataclass(frozen=True)
class Landing:
    """A table that is ready for the rows of a source."""

    table: str
    """`project.dataset.table`."""
    schema: TableSchema
    """With all of the table's columns, those that the source leaves NULL too."""
    conversion: Conversion
    """From the source's columns to the table's."""
    events: tuple[DriftEvent, ...]
    """How the source's columns differ from those that the table had."""
    news: tuple[DriftEvent, ...]
    """Of these, and of earlier ones of this step, what no other step has told the tenant."""

    def partition(self, day: date) -> str:
        """The partition that holds `day`, as a decorator names it."""
        kind = self.schema.time_partitioning.type if self.schema.time_partitioning else "DAY"
        return day.strftime(_PARTITION_FORMATS[kind])


def table_path(destination: LandingDestination, context: StepContext) -> tuple[str, str]:
    """Dataset and table that the step writes, by name; they may not exist yet.

    Raises:
        InvalidInputError: a name is not one that a tenant may use.
    """
    dataset = dataset_name(context.run.tenant_id, destination.dataset_type)
    return dataset, check_table_name(destination.table)


def prepare(
    destination: LandingDestination, context: StepContext, source: "pa.Schema", plain: TableSchema
) -> Landing:
    """Create the table, or add the columns that its schema file or the source have gained.

    May be called again and concurrently.

    Args:
        destination: as the template says it.
        context: of the step.
        source: the columns that the source brings.
        plain: the table's form where the template names no schema file.

    Raises:
        InvalidInputError: a name is not one that a tenant may use.
        DatasetOwnerError: the dataset is somebody else's.
        DriftError: the table differs from its schema file in ways that are not additions.
        ChangedColumnError: a column comes in a type that the table's cannot take.
        WarehouseBusyError: not now.
    """
    dataset, name = table_path(destination, context)
    path = f"{settings().GCP_PROJECT_ID}.{dataset}.{name}"
    schema = load_table(destination.schema_template) if destination.schema_template else plain
    with _changes_recorded(path, context):
        columns = (*schema.fields, *_new_columns(source, schema))
        conversion(source, columns)
        tables.ensure_dataset(dataset, labels={tables.OWNER_LABEL: context.run.tenant_id})
        change = tables.ensure_relation(dataset, schema, name=name, extra_columns=True)
        is_new = change.action is tables.Action.CREATE
        grown = _grown(path, source, columns, is_new=is_new)
    news = drift_events.record(context, grown.events)
    if grown.added:
        evolution.add_columns(path, grown.schema)
    whole = (*columns, *_others(grown.schema, columns))
    made = conversion(source, whole)
    return Landing(path, schema.model_copy(update={"fields": whole}), made, grown.events, news)


def drift_outputs(landings: Iterable[Landing]) -> dict[str, Any]:
    """What a step that has prepared these tables leaves of drift (`drift_events.OUTPUTS`)."""
    prepared = list(landings)
    return drift_events.outputs(
        (event for landing in prepared for event in landing.events),
        (event for landing in prepared for event in landing.news),
    )


@contextmanager
def _changes_recorded(path: str, context: StepContext) -> Iterator[None]:
    """Record that a column's type has changed, which stops the step."""
    try:
        yield
    except ChangedColumnError as error:
        event = DriftEvent("type_changed", path, error.column, error.before, error.after)
        drift_events.record(context, [event])
        raise
    except ResultDriftError as error:
        drift_events.record(context, error.events)
        first = error.events[0]
        raise ChangedColumnError(
            first.column, before=str(first.before), after=str(first.after)
        ) from error


def _others(table: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> Iterator[Column]:
    """What the table has beside `columns`, as far as Parquet can carry it: NULL from now on.

    A file without them might be taken for one that drops them.
    """
    known = {column.name.casefold() for column in columns}
    for resource in table:
        if resource["name"].casefold() not in known and resource["type"] in PARQUET_TYPES:
            yield _column(resource)


def _column(resource: Mapping[str, Any]) -> Column:
    return Column(
        name=resource["name"],
        type=resource["type"],
        mode=resource.get("mode") or "NULLABLE",
        description=resource.get("description") or _ADDED,
        fields=tuple(_column(inner) for inner in resource.get("fields") or ()),
    )


def _new_columns(source: "pa.Schema", schema: TableSchema) -> tuple[Column, ...]:
    known = {column.name.casefold() for column in schema.fields}
    return tuple(
        column_of(found.name, found.type, _ADDED)
        for found in source
        if found.name.casefold() not in known
    )


def _grown(path: str, source: "pa.Schema", columns: Sequence[Column], *, is_new: bool) -> Evolution:
    """What the table lacks of the columns, and what of its own the source does not bring.

    A table that was made a moment ago has lost nothing, and a source need not have every column of
    a schema file: missing is only what rows of the table have.
    """
    given = {name.casefold() for name in source.names}
    wanted = [
        column.as_field().to_api_repr() for column in columns if column.name.casefold() in given
    ]
    if is_new and len(wanted) == len(columns):
        return Evolution()
    found = evolution.plan(path, wanted)
    held = () if is_new else holding_values(path, found.absent)
    events = [e for e in found.events if e.kind != "column_missing" or e.column in held]
    return replace(found, events=tuple(events))


def land(
    landing: Landing, parts: Sequence[Part], context: StepContext, destination: LandingDestination
) -> list[FinishedJob]:
    """Load every part into its partition; several at a time, in their order.

    Each part is a job under an ID of its own that replaces the partition whole or not at all, so a
    second call finds the parts that are done. After a refusal no further part is begun.

    Raises:
        WarehouseBusyError: some are not done yet, or not now; call again.
        WarehouseError: BigQuery refused one; its partition is as it was.
    """
    refused = Event()

    def write(part: Part) -> FinishedJob | ConvergenceError:
        if refused.is_set() or datetime.now(UTC) >= context.deadline:
            return WarehouseBusyError(f"{landing.table} of {part.day} is not begun", "running")
        try:
            return load(_load(landing, part, context, destination), context.deadline)
        except Retryable as error:
            return error
        except ConvergenceError as error:
            refused.set()
            return error

    with ThreadPoolExecutor(min(PARALLEL_DAYS, max(1, len(parts)))) as pool:
        outcomes = list(pool.map(write, parts))
    failures = [outcome for outcome in outcomes if isinstance(outcome, ConvergenceError)]
    if failures:
        raise min(failures, key=lambda failure: isinstance(failure, Retryable))
    return [outcome for outcome in outcomes if isinstance(outcome, FinishedJob)]


def _load(
    landing: Landing, part: Part, context: StepContext, destination: LandingDestination
) -> Load:
    """The part's load; its ID is that of the step, not of an attempt: what is done stays done."""
    return Load(
        work_id=f"{context.work_id}--load",
        table=landing.table,
        partition=landing.partition(part.day),
        schema=landing.conversion.schema,
        batches=part.batches,
        version=part.version,
        mode=destination.write,
        labels=context.job_labels,
    )
