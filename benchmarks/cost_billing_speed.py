"""gcp/cost/cost_billing over one day beside the bare query job of Google's client.

Both run the template's own SQL with the same parameters into the same partition of a table of the
same schema, in turn. Beside the job, the step authorizes the query, looks after dataset, table and
drift, and reads the job's statistics: the same work for any number of rows, so that the ratio is
the worse the fewer there are. Limit: 1.15 of the reference.

    python benchmarks/cost_billing_speed.py                    # 250,000 rows, a minute
    python benchmarks/cost_billing_speed.py --rows 5000000     # `make bench-billing`
"""

import argparse
import statistics
import sys
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

from benchmarks._cloud import local_cloud
from infra.local.sample_data import ACCOUNTS, TABLE, Shape, write

ROWS = 250_000
SEED_ROWS = 50_000
ROUNDS = 3
LIMIT = 1.15
DAY = date(2025, 11, 15)
TENANT = "bench_tenant"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS, help=f"a multiple of {SEED_ROWS:,}")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    rows = options.rows
    with local_cloud():
        from shared.clients import bigquery_client

        began = time.monotonic()
        _fill(bigquery_client(), rows)
        pipeline, context = _resolved()
        step = _step(pipeline)
        print(f"{rows:,} rows in {time.monotonic() - began:.0f} s")
        before = DAY - timedelta(days=1)  # a day without rows: both tables exist from now on
        _run(_of_day(step, before), context(0, before))
        _bare(bigquery_client(), _of_day(step, before), "reference", before)
        found: dict[str, list[float]] = {"step": [], "bare job": []}
        for number in range(1, options.rounds + 1):
            found["bare job"].append(_timed(_bare, bigquery_client(), step, f"reference_{number}"))
            found["step"].append(_timed(_run, step, context(number)))
        _assert_equal(bigquery_client(), rows)
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    ratio = medians["step"] / medians["bare job"]
    for name, seconds in medians.items():
        print(f"{name:42}{seconds:9.2f} s")
    held = ratio <= LIMIT
    print(f"{'step / bare job':42}{ratio:9.2f}   limit {LIMIT}{'' if held else '  OVER'}")
    return 0 if held else 1


def _fill(client: Any, rows: int) -> None:
    """A day of the export: drawn rows, each copied as often as it takes."""
    write(client, "seed", shape=Shape(rows=SEED_ROWS, days=1, end=DAY))
    client.create_dataset("billing_export", exists_ok=True)
    seed = client.get_table(f"seed.{TABLE}")
    from google.cloud import bigquery

    table = bigquery.Table(f"{client.project}.billing_export.{TABLE}", schema=seed.schema)
    table.time_partitioning = bigquery.TimePartitioning(type_="DAY")
    client.create_table(table)
    config = bigquery.QueryJobConfig(
        destination=f"{client.project}.billing_export.{TABLE}${DAY:%Y%m%d}",
        write_disposition="WRITE_TRUNCATE_DATA",
    )
    sql = f"SELECT s.* FROM `seed.{TABLE}` AS s, UNNEST(GENERATE_ARRAY(1, {rows // SEED_ROWS}))"
    client.query(sql, job_config=config).result()


def _resolved() -> tuple[Any, Any]:
    """The template resolved for a tenant with every account, and contexts of its runs."""
    from shared.engine.prepare import RunRequest, TemplatePath, prepare
    from shared.processors.contract import StepContext
    from shared.tenancy.tenants import TenantProfile, TenantStatus
    from shared.warehouse import tables
    from shared.warehouse.schemas import load_folder

    tables.ensure_dataset(TENANT, labels={tables.OWNER_LABEL: TENANT})
    tables.ensure(TENANT, load_folder("tenant"))
    profile = TenantProfile(
        tenant_id=TENANT,
        status=TenantStatus.ACTIVE,
        admin_email="bench@example.com",
        billing_account_ids=tuple(account.billing_account_id for account in ACCOUNTS),
        subscription_plan="SCALE",
        created_at=datetime.now(UTC),
    )
    request = RunRequest(TemplatePath("gcp", "cost", "cost_billing"), date=DAY)
    pipeline, run = prepare(request, profile)

    def context(number: int, day: date = DAY) -> StepContext:
        named = run.model_copy(update={"pipeline_logging_id": f"bench-{number}", "date": day})
        deadline = datetime.now(UTC) + timedelta(hours=1)
        return StepContext(named, "extract", 1, deadline, pipeline.sources)

    return pipeline, context


def _step(pipeline: Any) -> Any:
    from shared.processors.gcp.destinations import BigQueryConfig

    return BigQueryConfig.model_validate(pipeline.steps[0].config)


def _of_day(config: Any, day: date) -> Any:
    query = config.source.query.having("date", day.isoformat())
    return config.model_copy(update={"source": config.source.model_copy(update={"query": query})})


def _run(config: Any, context: Any) -> None:
    from shared.processors.gcp.bigquery_to_bigquery import BigQueryToBigQuery

    BigQueryToBigQuery().run(config, context)


def _bare(client: Any, config: Any, job_id: str, day: date = DAY) -> None:
    """What somebody would write who has nothing but Google's client."""
    from google.cloud import bigquery

    destination = f"{client.project}.{TENANT}_gcp_silver_cost.reference"
    if job_id == "reference":
        like = client.get_table(f"{TENANT}_gcp_silver_cost.billing_cost_daily")
        table = bigquery.Table(destination, schema=like.schema)
        table.time_partitioning = like.time_partitioning
        table.clustering_fields = like.clustering_fields
        client.create_table(table)
    query = config.source.query
    client.query(
        query.sql,
        job_id=job_id,
        job_config=bigquery.QueryJobConfig(
            destination=f"{destination}${day:%Y%m%d}",
            write_disposition="WRITE_TRUNCATE_DATA",
            query_parameters=query.bigquery_parameters(),
        ),
        job_retry=None,
    ).result(max_results=1)


def _timed(call: Any, *arguments: Any) -> float:
    began = time.monotonic()
    call(*arguments)
    return time.monotonic() - began


def _assert_equal(client: Any, rows: int) -> None:
    """Both wrote the same: the sums of the export, as often as it was copied."""
    sums = "SELECT COUNT(*), SUM(net_cost), SUM(line_items) FROM"
    dataset = f"{TENANT}_gcp_silver_cost"
    found = [
        next(iter(client.query_and_wait(f"{sums} `{dataset}.{table}`"))).values()
        for table in ("billing_cost_daily", "reference")
    ]
    assert found[0] == found[1], found
    assert found[0][2] == rows, found


if __name__ == "__main__":
    sys.exit(main())
