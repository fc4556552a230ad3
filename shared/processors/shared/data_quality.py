"""`shared.data_quality`: rules about a table, measured in one scan or two, recorded, enforced."""

import datetime as dt
from collections import ChainMap, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from pydantic import Field, model_validator

from shared.errors import Permanent
from shared.models import Model
from shared.processors import dq_results
from shared.processors.contract import Foresight, Processor, StepContext, StepResult
from shared.processors.dq_results import DqResult
from shared.processors.own_tables import DatasetType
from shared.processors.shared.quality import statements
from shared.processors.shared.quality.checked_table import CheckedTable, look_up, path_of
from shared.processors.shared.quality.rules import Column, CustomSql, Rule, SumMatches, Table
from shared.processors.shared.quality.statements import Days, Facts, Sampling, Statement
from shared.processors.shared.quality.verdicts import Verdict, verdict
from shared.telemetry import carried
from shared.warehouse.authorize import DryRun, authorized
from shared.warehouse.failures import WarehouseError
from shared.warehouse.jobs import JobSpec, cancel, run_and_read

_PARALLEL_QUERIES = 4
_SCANS = ("scan", "unique")


class DataQualityConfig(Model):
    """A table and what must hold for it."""

    dataset_type: DatasetType | None = Field(
        default=None,
        description="`gcp_silver_cost` means {tenant_id}_gcp_silver_cost; absent: {tenant_id}.",
    )
    table: Table = Field(description="Table of the tenant, or project.dataset.table of a source.")
    date_column: Column | None = Field(
        default=None,
        description="Column with the day of a row, for tables that are not partitioned by it.",
    )
    dates: tuple[dt.date, ...] | None = Field(
        default=None,
        max_length=1000,
        description="Dates whose rows are looked at, such as {steps.extract.dates}, instead of the"
        " run's; row_count, freshness and a sum held against a query stay with that one.",
    )
    keys: tuple[Column, ...] = Field(
        default=(), max_length=10, description="Columns that name a row in samples."
    )
    samples: int = Field(default=5, ge=0, le=100, description="Most sample rows a rule records.")
    rules: tuple[Rule, ...] = Field(
        min_length=1, max_length=200, description="What must hold; all are measured in each run."
    )
    max_bytes_billed: int | None = Field(
        default=None, ge=1, description="Refuse a query that would scan more bytes than this."
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> "DataQualityConfig":
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules are named {', '.join(twice)}; a result needs one name")
        return self


class DataQualityError(Permanent):
    """Rules of severity `fail` do not hold."""

    code = "data-quality"

    def __init__(self, table: str, verdicts: Sequence[Verdict]) -> None:
        self.table = table
        self.rules = tuple(found.rule.name for found in verdicts)
        shown = "; ".join(found.sentence for found in verdicts[:5])
        more = f"; and {len(verdicts) - 5} more" if len(verdicts) > 5 else ""
        rules = "1 rule does" if len(verdicts) == 1 else f"{len(verdicts)} rules do"
        super().__init__(f"{rules} not hold for {table}: {shown}{more}.")


class DataQuality(Processor[DataQualityConfig]):
    """Checks rules about a table and records each result; a broken rule can fail the run.

    Example:
        ```yaml
        - step_id: "check_billing_costs"
          ps_type: "shared.data_quality"
          dataset_type: "gcp_silver_cost"
          table: "billing_cost_daily"
          keys: ["billing_account_id", "sku_id"]
          rules:
            - {name: "currency_present", check: "not_null", column: "currency"}
            - {name: "rows_as_usual", check: "row_count", days: 7, severity: "warn"}
        ```
    """

    ps_type = "shared.data_quality"
    config_model: ClassVar[type[Model]] = DataQualityConfig
    outputs = frozenset({"rules", "warnings", "rows_checked", "summary"})

    def run(self, config: DataQualityConfig, context: StepContext) -> StepResult:
        """Measure all rules, record all results, then fail if a rule of severity `fail` is broken.

        Running twice is safe: a second call finds the queries of the first by their IDs, reads the
        same facts and records the same rows.

        Raises:
            DataQualityError: names each broken rule with its count and samples.
            AccessDeniedError: a table that the tenant may not read, or too many bytes.
            ColumnError: a rule is about a column that is not there or does not fit.
            WarehouseError: a condition or query of a rule is wrong.
            WarehouseBusyError: still running, or not now.
        """
        table = _table(config, context)
        facts, read = _measure(_statements(config, table, context), config, context)
        verdicts = [
            verdict(rule, facts[rule.name], until=_until(rule, context)) for rule in config.rules
        ]
        dates = _dates(config, context)
        dq_results.append(context, [_result(found, table, context, dates) for found in verdicts])
        broken = [found for found in verdicts if not found.passed]
        fatal = [found for found in broken if found.rule.severity == "fail"]
        if fatal:
            raise DataQualityError(table.path, fatal)
        return StepResult(
            bytes_processed=read,
            outputs={
                "rules": len(verdicts),
                "warnings": len(broken),
                "rows_checked": max((found.checked or 0 for found in verdicts), default=0),
                "summary": "\n".join(found.sentence for found in broken),
            },
        )

    def cancel(self, context: StepContext) -> bool:
        """Stop the scans of the table; what other queries read, they read to their end.

        Raises:
            WarehouseBusyError: not now.
        """
        return any([cancel(_work_id(context, name)) for name in _SCANS])  # noqa: C419 - all of them

    def foresee(self, config: DataQualityConfig, context: StepContext) -> Foresight:
        """The first query, and the tables and bytes of all.

        Raises:
            WarehouseBusyError: not now.
        """
        try:
            table = _table(config, context)
            planned = _statements(config, table, context)
            plans = [_authorized(statement, config, context) for statement in planned]
        except Permanent as refusal:
            return Foresight(refusal=refusal)
        return Foresight(
            query=planned[0].query,
            tables_read=tuple(dict.fromkeys(name for plan, _ in plans for name in plan.tables)),
            bytes_estimated=sum(plan.bytes_estimated for plan, _ in plans),
            maximum_bytes_billed=sum(cap for _, cap in plans),
        )


def _table(config: DataQualityConfig, context: StepContext) -> CheckedTable:
    path = path_of(context, config.dataset_type, config.table)
    return look_up(path, config.date_column, context)


def _statements(
    config: DataQualityConfig, table: CheckedTable, context: StepContext
) -> list[Statement]:
    """All queries of the step: at most two that read the table as a whole."""
    days = Days(context.run.date, _dates(config, context))
    sampling = Sampling(config.keys, config.samples)
    of_rows = [rule for rule in config.rules if not isinstance(rule, CustomSql)]
    planned = [
        statements.scan(table, of_rows, sampling, days),
        statements.uniqueness(table, of_rows, sampling, days),
    ]
    others: dict[tuple[str, str | None], list[SumMatches]] = defaultdict(list)
    for index, rule in enumerate(config.rules):
        if isinstance(rule, CustomSql):
            planned.append(statements.custom(rule, sampling, f"sql-{index}"))
        elif isinstance(rule, SumMatches) and rule.query:
            planned.append(statements.other_query(rule, f"sum-{index}"))
        elif isinstance(rule, SumMatches) and rule.other:
            path = path_of(context, rule.other.dataset_type, rule.other.table)
            others[path, rule.other.date_column].append(rule)
    for number, ((path, date_column), rules) in enumerate(others.items()):
        other = look_up(path, date_column, context)
        planned.append(statements.other_sums(other, rules, f"other-{number}", days))
    return [statement for statement in planned if statement]


def _dates(config: DataQualityConfig, context: StepContext) -> tuple[dt.date, ...]:
    return (context.run.date,) if config.dates is None else tuple(sorted(set(config.dates)))


def _measure(
    planned: Sequence[Statement], config: DataQualityConfig, context: StepContext
) -> tuple[dict[str, Facts], int]:
    """What is known of every rule, and the bytes that it took."""

    def ask(statement: Statement) -> tuple[dict[str, Facts], int]:
        try:
            _, cap = _authorized(statement, config, context)
            spec = JobSpec(
                work_id=_work_id(context, statement.name),
                query=statement.query,
                maximum_bytes_billed=cap,
                labels=context.job_labels,
            )
            job, rows = run_and_read(spec, context.deadline)
        except WarehouseError as error:
            raise WarehouseError(f"{statement.about}: {error}", error.reason) from error
        return statement.read(rows), job.bytes_processed

    with ThreadPoolExecutor(min(_PARALLEL_QUERIES, len(planned))) as pool:
        answers = list(pool.map(carried(ask), planned))
    facts = {
        rule.name: ChainMap(*(dict(found[rule.name]) for found, _ in answers if rule.name in found))
        for rule in config.rules
    }
    return dict(facts), sum(read for _, read in answers)


def _authorized(
    statement: Statement, config: DataQualityConfig, context: StepContext
) -> tuple[DryRun, int]:
    limits = (config.max_bytes_billed, context.max_bytes_billed)
    plan, cap = authorized(
        statement.query,
        context.run.tenant_id,
        context.sources,
        labels=context.job_labels,
        allowed=min((limit for limit in limits if limit is not None), default=None),
    )
    if statement.adds_up and plan.schema[0]["type"] in {"FLOAT", "FLOAT64"}:
        raise WarehouseError(
            "its query adds up FLOAT64, which is not exact; write SUM(CAST(… AS NUMERIC)).",
            "invalidQuery",
        )
    return plan, cap


def _work_id(context: StepContext, name: str) -> str:
    return f"{context.work_id}--{name}--{context.attempt}"


def _until(rule: Rule, context: StepContext) -> dt.datetime:
    """When data is held to have an age: at the end of its day, not before the run began."""
    started = context.run.started_at
    if isinstance(rule, CustomSql) or rule.scope == "table":
        return started
    midnight = dt.datetime.combine(context.run.date, dt.time(), dt.UTC) + dt.timedelta(days=1)
    return min(started, midnight)


def _result(
    found: Verdict, table: CheckedTable, context: StepContext, dates: Sequence[dt.date]
) -> DqResult:
    rule = found.rule
    scope = "table" if isinstance(rule, CustomSql) else rule.scope
    of_the_run = isinstance(rule, CustomSql) or rule.is_of_the_run
    looked_at = (context.run.date,) if of_the_run else dates
    details: dict[str, Any] = {"samples": list(found.samples)} if found.samples else {}
    if scope == "partition" and len(looked_at) != 1:
        details["dates"] = [day.isoformat() for day in looked_at]
    return DqResult(
        rule_id=rule.name,
        rule_name=found.demand,
        passed=found.passed,
        severity=rule.severity,
        table=table.path,
        column=getattr(rule, "column", None),
        date=looked_at[0] if scope == "partition" and len(looked_at) == 1 else None,
        rows_checked=found.checked,
        rows_failed=found.failed,
        expected=found.expected,
        observed=found.observed,
        details=details,
    )
