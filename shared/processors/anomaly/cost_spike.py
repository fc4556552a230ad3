"""`anomaly.cost_spike`: costs of a date that the same weekdays before do not explain."""

from decimal import Decimal
from typing import Annotated, Any, ClassVar

from pydantic import Field

from shared.models import Model
from shared.processors.amounts import text
from shared.processors.contract import Foresight, Processor, Query, StepContext, StepResult
from shared.processors.gcp.destinations import (
    BigQueryConfig,
    Destination,
    Source,
    authorized_plan,
    ensure_target,
    foreseen,
    target,
)
from shared.processors.own_tables import DatasetType, WrittenTable
from shared.processors.shared.quality.sql import Parameters
from shared.warehouse import rows
from shared.warehouse.partitions import Target, Work, cancel_day, write_day
from shared.warehouse.queries import query

SCHEMA = "shared/cost_anomalies"
_SPREAD_OF_MAD = "1.4826"
"""Turns a median absolute deviation into a standard deviation, were the costs normal."""

Number = Annotated[Decimal, Field(ge=0, max_digits=38, decimal_places=9)]


class SpikeDestination(Model):
    """Where the spikes are kept."""

    dataset_type: DatasetType | None = Field(
        default=None,
        description="`gcp_gold_cost` writes to {tenant_id}_gcp_gold_cost; absent: {tenant_id}.",
    )
    table: WrittenTable = Field(
        default="cost_anomalies", description="Table; created when not there."
    )


class CostSpikeConfig(Model):
    """Which costs, what they are held against, and what counts as a spike."""

    source: Source = Field(
        description="SELECT of usage_date, service, project, currency and cost: of the run's date"
        " and the weeks before it, in as many rows as there are."
    )
    destination: SpikeDestination = Field(
        default_factory=SpikeDestination, description="What is written: the spikes of the date."
    )
    weeks: int = Field(
        default=8, ge=1, le=52, description="The same weekday of so many weeks is the baseline."
    )
    minimum_weeks: int = Field(
        default=3,
        ge=1,
        le=52,
        description="Weeks that must have costs at all; with fewer, nothing is a spike.",
    )
    minimum_increase: Number = Field(
        default=Decimal(10), description="Least amount above the baseline, in the costs' currency."
    )
    minimum_ratio: Number = Field(
        default=Decimal("1.5"), description="Least multiple of the baseline."
    )
    minimum_score: Number = Field(
        default=Decimal("3.5"),
        description="Least distance from the baseline, in the usual spread of those weeks.",
    )
    minimum_spread: Number = Field(
        default=Decimal("0.05"),
        description="The spread counts as this share of the baseline at least, so that costs that"
        " never varied may vary a little.",
    )
    top: int = Field(default=10, ge=1, le=100, description="Most spikes that the summary lists.")
    max_bytes_billed: int | None = Field(
        default=None, ge=1, description="Refuse a query that would scan more bytes than this."
    )


class CostSpike(Processor[CostSpikeConfig]):
    """Finds costs far above those of the same weekday before, per service, project and currency.

    Example:
        ```yaml
        - step_id: "find"
          ps_type: "anomaly.cost_spike"
          source:
            query: |
              SELECT usage_date, service_description AS service, project_id AS project, currency,
                net_cost AS cost
              FROM `{project_id}.{tenant_id}_gcp_silver_cost.billing_cost_daily`
          minimum_increase: 50
        ```
    """

    ps_type = "anomaly.cost_spike"
    config_model: ClassVar[type[Model]] = CostSpikeConfig
    outputs = frozenset({"spikes", "summary", "table", "job_id"})

    def run(self, config: CostSpikeConfig, context: StepContext) -> StepResult:
        """Let one query find the spikes of the date and replace the date in the table of spikes.

        Running twice is safe: a second call finds the job of the first by its ID, and the date is
        replaced in one atomic update.

        Raises:
            AccessDeniedError: a table that the tenant may not read, or too many bytes.
            WarehouseError: the query is wrong; the date is as it was.
            WarehouseBusyError: still running, or not now.
        """
        writing = _writing(config, context)
        plan, cap = authorized_plan(writing, context)
        where = target(writing, context)
        ensure_target(where, writing, context, plan)
        work = Work(_work_id(context), writing.source.query, cap, context.job_labels)
        job = write_day(where, context.run.date, work, context.deadline)
        spikes = _greatest(where, config, context) if job.rows_written else []
        return StepResult(
            rows_processed=job.rows_written,
            bytes_processed=job.bytes_processed,
            outputs={
                "spikes": job.rows_written,
                "summary": "\n".join(_sentence(spike) for spike in spikes),
                "table": where.path,
                "job_id": job.job_id,
            },
        )

    def cancel(self, context: StepContext) -> bool:
        """Stop the query; the date stays as it was.

        Raises:
            WarehouseBusyError: not now.
        """
        return cancel_day(_work_id(context), context.run.date)

    def foresee(self, config: CostSpikeConfig, context: StepContext) -> Foresight:
        """The query with its tables and bytes, and the table of spikes.

        Raises:
            WarehouseBusyError: not now.
        """
        return foreseen(_writing(config, context), context, writes=True)


def _work_id(context: StepContext) -> str:
    return f"{context.work_id}--spikes--{context.attempt}"


def _writing(config: CostSpikeConfig, context: StepContext) -> BigQueryConfig:
    """The step as a query whose result replaces a date."""
    return BigQueryConfig(
        source=Source(query=_spikes(config, context)),
        destination=Destination(
            dataset_type=config.destination.dataset_type,
            table=config.destination.table,
            schema_template=SCHEMA,
        ),
        max_bytes_billed=config.max_bytes_billed,
    )


def _spikes(config: CostSpikeConfig, context: StepContext) -> Query:
    """The costs of the date that lie above all thresholds.

    Median and median absolute deviation, as one earlier spike does not move them. A week in which
    the tenant had costs and this service and project had none counts as zero, so that what is new
    stands out; a week without any costs was not loaded, and does not count.
    """
    parameters = Parameters()
    day = parameters.value("DATE", context.run.date.isoformat())
    first = f"DATE_SUB({day}, INTERVAL {parameters.value('INT64', config.weeks * 7)} DAY)"
    floor, increase, ratio, score = (
        parameters.value("NUMERIC", str(value))
        for value in (
            config.minimum_spread,
            config.minimum_increase,
            config.minimum_ratio,
            config.minimum_score,
        )
    )
    enough = parameters.value("INT64", config.minimum_weeks)
    sql = f"""
WITH daily AS (
  SELECT usage_date, service, project, currency, SUM(CAST(cost AS NUMERIC)) AS cost
  FROM {parameters.fragment(config.source.query)}
  WHERE usage_date BETWEEN {first} AND {day} AND MOD(DATE_DIFF({day}, usage_date, DAY), 7) = 0
  GROUP BY usage_date, service, project, currency
),
loaded AS (
  SELECT COUNT(DISTINCT IF(usage_date < {day}, usage_date, NULL)) AS weeks FROM daily
),
series AS (
  SELECT
    service, project, currency,
    SUM(IF(usage_date = {day}, cost, NULL)) AS cost,
    ARRAY_AGG(IF(usage_date < {day}, cost, NULL) IGNORE NULLS) AS known
  FROM daily
  GROUP BY service, project, currency
),
padded AS (
  SELECT
    service, project, currency, cost, weeks,
    ARRAY(
      SELECT past FROM UNNEST(ARRAY_CONCAT(
        IFNULL(known, []),
        ARRAY(
          SELECT NUMERIC '0'
          FROM UNNEST(GENERATE_ARRAY(1, weeks - IFNULL(ARRAY_LENGTH(known), 0)))
        )
      )) AS past
      ORDER BY past
    ) AS past
  FROM series CROSS JOIN loaded
  WHERE cost IS NOT NULL AND weeks >= {enough}
),
baselines AS (
  SELECT *, {_median("past")} AS baseline FROM padded
),
deviations AS (
  SELECT *, ARRAY(
    SELECT ABS(one - baseline) AS distance FROM UNNEST(past) AS one ORDER BY distance
  ) AS distances
  FROM baselines
),
spreads AS (
  SELECT *, GREATEST(
    NUMERIC '{_SPREAD_OF_MAD}' * {_median("distances")}, {floor} * ABS(baseline)
  ) AS spread
  FROM deviations
)
SELECT
  {day} AS usage_date, service, project, currency, cost, baseline, spread,
  cost - baseline AS increase,
  IF(baseline > 0, ROUND(SAFE_DIVIDE(cost, baseline), 4), NULL) AS ratio,
  ROUND(SAFE_DIVIDE(cost - baseline, spread), 4) AS score,
  weeks
FROM spreads
WHERE cost - baseline >= {increase}
  AND cost - baseline > 0
  AND (baseline <= 0 OR cost >= {ratio} * baseline)
  AND cost - baseline >= {score} * spread
"""  # noqa: S608 - of the template, values are parameters
    return parameters.query(sql.strip())


def _median(array: str) -> str:
    """SQL of the median of a sorted array."""
    low, high = (f"{array}[SAFE_OFFSET(DIV(weeks{part}, 2))]" for part in (" - 1", ""))
    return f"({low} + {high}) / 2"


def _greatest(where: Target, config: CostSpikeConfig, context: StepContext) -> list[dict[str, Any]]:
    return rows.read(
        query(
            "SELECT service, project, currency, cost, baseline, increase, ratio"  # noqa: S608 - checked names
            f" FROM `{where.path}` WHERE usage_date = @day"
            " ORDER BY increase DESC, service, project, currency LIMIT @top",
            day=context.run.date,
            top=config.top,
        )
    )


def _sentence(spike: dict[str, Any]) -> str:
    """`Compute Engine in web: 154.2 USD instead of 50.1 (+104.1, 3.1 times as much)`."""
    place = f" in {spike['project']}" if spike["project"] else ""
    times = "" if spike["ratio"] is None else f", {text(round(spike['ratio'], 1))} times as much"
    cost, usual, more = (text(round(spike[name], 2)) for name in ("cost", "baseline", "increase"))
    return (
        f"{spike['service'] or 'No service'}{place}: {cost} {spike['currency']}"
        f" instead of {usual} (+{more}{times})"
    )
