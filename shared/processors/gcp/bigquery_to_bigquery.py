"""`gcp.bigquery_to_bigquery`: the result of a query becomes days of a table of the tenant."""

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from shared.models import Model
from shared.processors import drift_events
from shared.processors.contract import Foresight, Processor, StepContext, StepResult
from shared.processors.gcp.dates import Dates, asked_days
from shared.processors.gcp.destinations import (
    BigQueryConfig,
    authorized_plan,
    authorized_question,
    dates_question,
    ensure_target,
    foreseen,
    target,
    unforeseen_cap,
)
from shared.warehouse import evolution
from shared.warehouse.authorize import DryRun
from shared.warehouse.drift import DriftEvent
from shared.warehouse.evolution import Evolution, ResultDriftError
from shared.warehouse.jobs import FinishedJob
from shared.warehouse.merges import Merge, cancel_merge, merge
from shared.warehouse.partitions import Mode, Target, Work, cancel_days, write_day, write_days
from shared.warehouse.queries import Query


class BigQueryToBigQuery(Processor[BigQueryConfig]):
    """Runs a query inside BigQuery and writes its result; no row passes through the function.

    Example:
        ```yaml
        - step_id: "extract_billing_costs"
          ps_type: "gcp.bigquery_to_bigquery"
          source:
            query: "SELECT * FROM `{source_billing_table}` WHERE DATE(usage_start_time) = '{date}'"
          destination:
            dataset_type: "gcp_silver_cost"
            table: "billing_cost_daily"
        ```
    """

    ps_type = "gcp.bigquery_to_bigquery"
    config_model: ClassVar[type[Model]] = BigQueryConfig
    outputs = frozenset(
        {
            *("job_id", "table", "dates", "bytes_billed"),
            *drift_events.OUTPUTS,
            *("restate_key", "planned_at", "high_water_mark"),
        }
    )

    def run(self, config: BigQueryConfig, context: StepContext) -> StepResult:
        """Authorize, then let jobs under the step's own IDs write.

        Running twice is safe: a second call finds the jobs of the first by their IDs and takes
        their results; a day is replaced in one atomic update, a merge is one statement.

        Raises:
            AccessDeniedError: a table that the tenant may not read, or too many bytes.
            ResultDriftError: a column has another type than in the table; nothing was written.
            DuplicateKeyError: two rows of a merge have the same key; nothing was written.
            WarehouseError: the query or the table is wrong; the day is as it was.
            WarehouseBusyError: still running, or not now.
        """
        plan, cap = authorized_plan(config, context)
        where = target(config, context)
        merges = config.destination.write == "merge"
        what = Merge(config.destination.keys, plan.schema) if merges else None
        differs, news = _evolved(where, config, context, plan)
        writing = _Writing(config, context, where, plan, cap, differs)
        dates, jobs = writing.merge(what) if what else writing.days()
        return StepResult(
            rows_processed=sum(job.rows_written for job in jobs),
            bytes_processed=sum(job.bytes_processed for job in jobs),
            outputs={
                "job_id": jobs[-1].job_id if jobs else None,
                "table": where.path,
                "dates": [day.isoformat() for day in dates.days],
                "bytes_billed": sum(job.bytes_billed for job in jobs),
                **drift_events.outputs(differs.events, news),
                "restate_key": dates.seen.restate_key,
                "planned_at": dates.seen.planned_at,
                "high_water_mark": dates.seen.high_water_mark,
            },
        )

    def cancel(self, context: StepContext) -> bool:
        """Stop the jobs that write; a day that is not written yet stays as it was.

        Raises:
            WarehouseBusyError: not now.
        """
        days = asked_days(context)
        stopped = cancel_days(_work_id(context), days)
        return cancel_merge(_work_id(context)) or stopped

    def foresee(self, config: BigQueryConfig, context: StepContext) -> Foresight:
        """The query with its tables and bytes, and the table it would write.

        Raises:
            WarehouseBusyError: not now.
        """
        return foreseen(config, context, writes=True)


def _evolved(
    where: Target, config: BigQueryConfig, context: StepContext, plan: DryRun
) -> tuple[Evolution, tuple[DriftEvent, ...]]:
    """Make the table fit for the result; what has drifted is recorded first, then mended.

    So a step that dies in between finds the difference again, or its own record of it.

    Returns:
        How the result differs, and what of that no step has told the tenant before.
    """
    try:
        differs = ensure_target(where, config, context, plan)
    except ResultDriftError as error:
        drift_events.record(context, error.events)
        raise
    news = drift_events.record(context, differs.events)
    if differs.added:
        evolution.add_columns(where.path, plan.schema)
    return differs, news


@dataclass(frozen=True)
class _Writing:
    """One attempt's writing, everything about it checked."""

    config: BigQueryConfig
    context: StepContext
    where: Target
    plan: DryRun
    cap: int
    """Bytes that the query may be billed for the run's own date."""
    differs: Evolution

    def merge(self, what: Merge) -> tuple[Dates, list[FinishedJob]]:
        """Merge the result; the one job that did it."""
        work = self._work(self.config.source.query, self._unforeseen)
        job = merge(self.where, what, work, self.context.deadline)
        return Dates((self.context.run.date,)), [job]

    def days(self) -> tuple[Dates, list[FinishedJob]]:
        """Write the days that there are to write; a job for each."""
        today, deadline = self.context.run.date, self.context.deadline
        dates = self._dates()
        if dates.days == (today,):
            appends = self.config.destination.write == "append"
            mode: Mode = "append" if appends else "replace_partition"
            return dates, [write_day(self.where, today, self._work_of(today), deadline, mode)]
        return dates, write_days(self.where, dates.days, self._work_of, deadline)

    def _dates(self) -> Dates:
        question = dates_question(self.config, self.context, self.where)
        if not question.is_needed:
            return Dates((self.context.run.date,))
        asked = authorized_question(self.config, self.context, question)
        return question.dates(asked, self.context.job_labels)

    def _work_of(self, day: date) -> Work:
        """What writes `day`; only of the run's own date it is known what it reads."""
        query = self.config.source.query.having("date", day.isoformat())
        cap = self.cap if day == self.context.run.date else self._unforeseen
        return self._work(evolution.padded(query, self.differs.absent), cap)

    @property
    def _unforeseen(self) -> int | None:
        return unforeseen_cap(self.config, self.context, self.plan)

    def _work(self, query: Query, cap: int | None) -> Work:
        return Work(_work_id(self.context), query, cap, self.context.job_labels)


def _work_id(context: StepContext) -> str:
    return f"{context.work_id}--write--{context.attempt}"
