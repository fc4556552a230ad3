"""Which dates a step writes: its own, the ones before it, or those that the source has changed.

What has changed is asked once per attempt, by a job under the attempt's own ID, so that every
delivery writes the same dates. How far a run has seen the source stands in the outputs of its step
in the tenant's step log: it counts once the step has ended well, and a step that dies before that
leaves the next run to write the same dates again.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from shared.errors import Permanent
from shared.models import Model
from shared.processors.contract import StepContext
from shared.tenancy.names import check_tenant_id
from shared.warehouse import jobs, rows
from shared.warehouse.queries import Query, query

_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,299}"
ColumnPath = Annotated[str, Field(pattern=rf"^{_NAME}(\.{_NAME}){{0,5}}$", max_length=1000)]
_Value = str | int | bool | list[str] | list[int]
_LOG_KEPT = timedelta(days=400)
_ARRIVAL_SLACK = timedelta(days=1)
"""A row may stand in the partition of the day before its change."""


class Restate(Model):
    """Rewrite what has changed in the source since the last successful run of this step."""

    mode: Literal["none", "changed_since_last_run"] = Field(
        default="changed_since_last_run",
        description="`changed_since_last_run` rewrites exactly the dates that newer rows are of;"
        " `none` switches the block off.",
    )
    table: str = Field(
        pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){1,2}$",
        description="Table to look for changes in; as a rule the one that the query reads.",
    )
    changed_column: ColumnPath = Field(
        description="TIMESTAMP that grows with every row that arrives, such as export_time."
    )
    date_column: ColumnPath = Field(
        description="DATE, TIMESTAMP or DATETIME whose day, in UTC, is the {date} to rewrite."
    )
    partition_column: ColumnPath | None = Field(
        default=None,
        description="TIMESTAMP that `table` is partitioned by, such as _PARTITIONTIME, so that only"
        " partitions since the last change are read; rows must arrive within a day of the change.",
    )
    only: dict[ColumnPath, _Value] = Field(
        default_factory=dict,
        max_length=20,
        description="Rows that count, by column: a value, or a list of which it must be one.",
    )
    first_run_days: int = Field(
        default=31,
        ge=0,
        le=1000,
        description="Without an earlier run: from how many days before {date} changes count.",
    )
    max_dates: int = Field(
        default=400,
        ge=1,
        le=4000,
        description="More changed dates than this are refused; each is a job of its own.",
    )


class TooManyDatesError(Permanent):
    """More dates have changed than the step may rewrite."""

    code = "too-many-dates"

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        super().__init__(
            f"More than {allowed} dates have changed in the source since the last run: raise"
            " restate.max_dates, or write them with runs of their own first."
        )


@dataclass(frozen=True)
class Seen:
    """How far a run has seen the source, as the next run finds it in the step's outputs."""

    restate_key: str | None = None
    """What was looked at, and for which table; None where nothing was, or nothing had changed."""
    planned_at: str | None = None
    """When it was looked at, UTC."""
    high_water_mark: str | None = None
    """The newest change that there was."""


@dataclass(frozen=True)
class Dates:
    """What a step writes, and what it will have seen once that is done."""

    days: tuple[date, ...]
    seen: Seen = Seen()


@dataclass(frozen=True)
class DatesQuestion:
    """What a step with this configuration asks its source, to learn its dates."""

    context: StepContext
    lookback_days: int
    restate: Restate | None
    """None where nothing is looked for."""
    table: str
    """`project.dataset.table` that the step writes."""

    @property
    def is_needed(self) -> bool:
        """Whether the dates are more than the run's own."""
        return bool(self.lookback_days or self.restate)

    def query(self) -> Query:
        """The question as SQL; one row a date.

        Raises:
            WarehouseBusyError: the log that says what was seen could not be read now.
        """
        if self.restate is None:
            return self._lookback()
        return _changes(self.restate, self._window(), self._since(self.restate))

    def dates(self, asked: Query, labels: Mapping[str, str]) -> Dates:
        """The dates that this attempt writes, the same on every call.

        Args:
            asked: as `query` gave it, authorized. Of several calls with different ones the first
                counts.
            labels: of the job.

        Raises:
            TooManyDatesError: more than the step may rewrite.
            WarehouseBusyError: not now.
            WarehouseError: BigQuery refused.
        """
        spec = jobs.JobSpec(work_of_dates(self.context), asked, labels=labels)
        found = jobs.rows(spec, self.context.deadline)
        restate = self.restate
        if restate is None:
            return Dates(_days(found))
        if sum(row["changed"] is not None for row in found) > restate.max_dates:
            raise TooManyDatesError(restate.max_dates)
        marks = [row["changed"] for row in found if row["changed"] is not None]
        if not marks:
            return Dates(_days(found))
        planned_at = found[0]["planned_at"].isoformat()
        seen = Seen(self._key(restate), planned_at, max(marks).isoformat())
        return Dates(_days(found), seen)

    def _window(self) -> tuple[date, date] | None:
        """The run's date and the ones before it, where they are written too."""
        last = self.context.run.date
        days = timedelta(days=self.lookback_days)
        return (last - days, last) if days else None

    def _lookback(self) -> Query:
        first, last = self._window() or (self.context.run.date, self.context.run.date)
        return query(
            "SELECT day, CAST(NULL AS TIMESTAMP) AS changed, CURRENT_TIMESTAMP() AS planned_at"
            " FROM UNNEST(GENERATE_DATE_ARRAY(@first_date, @last_date)) AS day ORDER BY day",
            first_date=first,
            last_date=last,
        )

    def _since(self, restate: Restate) -> datetime:
        """The newest change that the last successful run of this step has seen.

        Where runs overlapped, the oldest of theirs: the one that wrote last may have read first.
        """
        dataset = check_tenant_id(self.context.run.tenant_id)
        found = rows.read(
            query(
                "WITH finished AS ("  # noqa: S608 - checked dataset
                " SELECT end_time, TIMESTAMP(JSON_VALUE(outputs, '$.planned_at')) AS planned_at,"
                " TIMESTAMP(JSON_VALUE(outputs, '$.high_water_mark')) AS mark"
                f" FROM `{dataset}.x_meta_step_logs_log`"
                " WHERE step_id = @step_id AND status = 'COMPLETED' AND recorded_at >= @oldest"
                " AND JSON_VALUE(outputs, '$.restate_key') = @key"
                ") SELECT MIN(mark) AS mark FROM finished WHERE end_time >="
                " (SELECT planned_at FROM finished ORDER BY end_time DESC LIMIT 1)",
                step_id=self.context.step_id,
                oldest=datetime.now(UTC) - _LOG_KEPT,
                key=self._key(restate),
            )
        )
        mark: datetime | None = found[0]["mark"]
        first = self.context.run.date - timedelta(days=restate.first_run_days)
        return mark or datetime.combine(first, time(), UTC)

    def _key(self, restate: Restate) -> str:
        """Names what is looked at and for which table: another question has seen nothing yet."""
        run = self.context.run
        looked_at = restate.model_dump_json(exclude={"mode", "first_run_days", "max_dates"})
        template = f"{run.provider}/{run.domain}/{run.template_name}"
        text = "\n".join([template, self.context.step_id, self.table, looked_at])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def work_of_dates(context: StepContext) -> str:
    """Under which name this attempt asks for its dates."""
    return f"{context.work_id}--dates--{context.attempt}"


def asked_days(context: StepContext) -> tuple[date, ...]:
    """The dates that this attempt has been told, the run's own where it has not asked.

    Keeps an attempt that is about to ask from doing so: to be used to stop it.

    Raises:
        WarehouseBusyError: not now.
    """
    work_id = work_of_dates(context)
    jobs.cancel(work_id)
    return tuple({context.run.date, *_days(jobs.rows_of(work_id))})


def _days(found: Iterable[Mapping[str, Any]]) -> tuple[date, ...]:
    return tuple(row["day"] for row in found)


def _changes(restate: Restate, window: tuple[date, date] | None, since: datetime) -> Query:
    """Dates of rows that are newer than `since`, each with its newest change."""
    day, changed = f"CAST({_quoted(restate.date_column)} AS DATE)", _quoted(restate.changed_column)
    values: dict[str, Any] = {"since": since, "most": restate.max_dates + 1}
    conditions = [f"{changed} > @since", f"{_quoted(restate.date_column)} IS NOT NULL"]
    if restate.partition_column:
        midnight = datetime.combine(since.date(), time(), UTC)
        values["first_partition"] = midnight - _ARRIVAL_SLACK
        conditions.append(f"{_quoted(restate.partition_column)} >= @first_partition")
    for number, (column, value) in enumerate(restate.only.items()):
        name = f"only_{number}"
        values[name] = value
        wanted = f"IN UNNEST(@{name})" if isinstance(value, list) else f"= @{name}"
        conditions.append(f"{_quoted(column)} {wanted}")
    found = (
        f"SELECT {day} AS day, MAX({changed}) AS changed"  # noqa: S608 - names by grammar
        f" FROM `{restate.table}` WHERE {' AND '.join(conditions)}"
        " GROUP BY 1 ORDER BY 1 LIMIT @most"
    )
    if window is None:
        return query(f"SELECT *, CURRENT_TIMESTAMP() AS planned_at FROM ({found})", **values)  # noqa: S608
    return query(
        "SELECT day, MAX(changed) AS changed, CURRENT_TIMESTAMP() AS planned_at"  # noqa: S608
        f" FROM (SELECT * FROM ({found}) UNION ALL SELECT day, CAST(NULL AS TIMESTAMP)"
        " FROM UNNEST(GENERATE_DATE_ARRAY(@first_date, @last_date)) AS day)"
        " GROUP BY day ORDER BY day",
        first_date=window[0],
        last_date=window[1],
        **values,
    )


def _quoted(path: str) -> str:
    return ".".join(f"`{name}`" for name in path.split("."))
