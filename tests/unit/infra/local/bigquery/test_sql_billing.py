"""Queries of a cost pipeline over a Cloud Billing export: exact totals, FOCUS columns, checks."""

import datetime as dt
import random
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import pyarrow as pa
import pytest

from infra.local.bigquery.sql.writes import write_destination
from infra.local.bigquery.types import arrow_schema
from tests.unit.infra.local.bigquery.sql_world import World, array, scalar


def _field(name: str, kind: str, *fields: Any, mode: str = "NULLABLE") -> dict[str, Any]:
    more = {"fields": list(fields)} if fields else {}
    return {"name": name, "type": kind, "mode": mode, **more}


_PAIR = (_field("key", "STRING"), _field("value", "STRING"))
_SCHEMA = [
    _field("billing_account_id", "STRING"),
    _field("service", "RECORD", _field("id", "STRING"), _field("description", "STRING")),
    _field("sku", "RECORD", _field("id", "STRING"), _field("description", "STRING")),
    _field("usage_start_time", "TIMESTAMP"),
    _field("usage_end_time", "TIMESTAMP"),
    _field(
        "project",
        "RECORD",
        _field("id", "STRING"),
        _field("ancestors", "RECORD", _field("display_name", "STRING"), mode="REPEATED"),
    ),
    _field("labels", "RECORD", *_PAIR, mode="REPEATED"),
    _field("location", "RECORD", _field("location", "STRING"), _field("region", "STRING")),
    _field("export_time", "TIMESTAMP"),
    _field("cost", "FLOAT"),
    _field("currency", "STRING"),
    _field("currency_conversion_rate", "FLOAT"),
    _field(
        "usage", "RECORD", _field("amount", "FLOAT"), _field("amount_in_pricing_units", "FLOAT")
    ),
    _field("credits", "RECORD", _field("type", "STRING"), _field("amount", "FLOAT"),
           mode="REPEATED"),
    _field("invoice", "RECORD", _field("month", "STRING")),
    _field("cost_type", "STRING"),
    _field("adjustment_info", "RECORD", _field("type", "STRING")),
]  # fmt: skip
_START = dt.datetime(2025, 1, 30, tzinfo=dt.UTC)
_EXACT = Context(prec=60)


def _numeric(value: float) -> Decimal:
    """As CAST(value AS NUMERIC)."""
    return Decimal(value).quantize(Decimal("1e-9"), ROUND_HALF_UP, _EXACT)


def _row(number: int, chance: random.Random) -> dict[str, Any]:
    start = _START + dt.timedelta(hours=chance.randrange(96))
    cost = round(chance.uniform(-5, 20), 6)
    return {
        "billing_account_id": f"BA-{number % 3}",
        "service": {"id": f"s{number % 4}", "description": f"Service {number % 4}"},
        "sku": {"id": f"sku{number % 11}", "description": f"Core {number % 11}"},
        "usage_start_time": start,
        "usage_end_time": start + dt.timedelta(hours=1),
        "project": None
        if number % 10 == 0
        else {"id": f"p{number % 3}", "ancestors": [{"display_name": "Org"}]},
        "labels": [
            {"key": "team", "value": f"t{number % 2}"},
            {"key": "env", "value": "prod"},
        ][: number % 3],
        "location": {"location": "us", "region": None if number % 2 else "us-east1"},
        "export_time": start + dt.timedelta(hours=7),
        "cost": cost,
        "currency": "USD" if number % 2 else "EUR",
        "currency_conversion_rate": 1.0 if number % 2 else 0.92,
        "usage": {"amount": cost * 3, "amount_in_pricing_units": 0.0 if number % 5 == 0 else cost},
        "credits": [
            {"type": "COMMITTED_USAGE_DISCOUNT", "amount": -round(cost / 7, 6)},
            {"type": "PROMOTION", "amount": -0.01},
        ][: number % 3],
        "invoice": {"month": start.strftime("%Y%m")},
        "cost_type": "tax" if number % 50 == 0 else "regular",
        "adjustment_info": {"type": "GENERAL_ADJUSTMENT"} if number % 40 == 0 else None,
    }


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    chance = random.Random(7)
    return [_row(number, chance) for number in range(600)]


@pytest.fixture(scope="module")
def world(rows: list[dict[str, Any]]) -> Iterator[World]:
    with World() as made:
        made.table("export", *_SCHEMA, time_partitioning={"type": "DAY"})
        days: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            days.setdefault(row["export_time"].strftime("%Y%m%d"), []).append(row)
        for day, of_day in days.items():
            write_destination(
                made.storage,
                made.catalog,
                destination=made.ref("export"),
                partition=day,
                schema=_SCHEMA,
                rows=pa.Table.from_pylist(of_day, schema=arrow_schema(_SCHEMA)),
                write_disposition="WRITE_TRUNCATE",
                create_disposition=None,
                schema_update_options=[],
                time_partitioning=None,
                clustering=None,
                job_id=f"load-{day}",
            )
        yield made


_DAILY = """
WITH line_items AS (
  SELECT
    DATE(usage_start_time) AS usage_date, project.id AS project_id, service.description AS service,
    currency, CAST(cost AS NUMERIC) AS cost, credits,
    TO_JSON_STRING(
      ARRAY(SELECT AS STRUCT l.key, l.value FROM UNNEST(labels) AS l ORDER BY l.key)
    ) AS label_set,
    IFNULL((SELECT SUM(CAST(c.amount AS NUMERIC)) FROM UNNEST(credits) AS c), 0) AS credit_total
  FROM `test-project.d.export`
  WHERE _PARTITIONTIME >= TIMESTAMP(@date)
    AND _PARTITIONTIME <= TIMESTAMP(DATE_ADD(@date, INTERVAL 5 DAY))
    AND usage_start_time >= TIMESTAMP(@date)
    AND usage_start_time < TIMESTAMP(DATE_ADD(@date, INTERVAL 1 DAY))
    AND billing_account_id IN UNNEST(@accounts)
),
daily AS (
  SELECT
    usage_date, project_id, service, currency, label_set,
    SUM(cost) AS gross, SUM(credit_total) AS credit_total,
    ARRAY_CONCAT_AGG(credits) AS credits, COUNT(*) AS line_items
  FROM line_items
  GROUP BY usage_date, project_id, service, currency, label_set
)
SELECT
  usage_date, project_id, service, currency, label_set, gross, credit_total,
  gross + credit_total AS net,
  ARRAY(
    SELECT AS STRUCT c.type, SUM(CAST(c.amount AS NUMERIC)) AS amount
    FROM UNNEST(credits) AS c GROUP BY c.type ORDER BY c.type
  ) AS by_type,
  line_items
FROM daily
"""


def _of_day(rows: list[dict[str, Any]], day: dt.date, accounts: set[str]) -> list[dict[str, Any]]:
    return [
        row
        for row in rows
        if row["usage_start_time"].date() == day and row["billing_account_id"] in accounts
    ]


def test_daily_costs_equal_the_export_to_the_last_digit(
    world: World, rows: list[dict[str, Any]]
) -> None:
    day = dt.date(2025, 1, 31)
    wanted = _of_day(rows, day, {"BA-0", "BA-2"})
    parameters = [
        scalar("date", "DATE", day.isoformat()),
        array("accounts", "STRING", ["BA-0", "BA-2"]),
    ]
    result = world.rows(_DAILY, parameters=parameters)
    gross = sum((_numeric(row["cost"]) for row in wanted), Decimal(0))
    credit_sum = sum(
        (_numeric(credit["amount"]) for row in wanted for credit in row["credits"]), Decimal(0)
    )
    assert sum(int(row[9]) for row in result) == len(wanted) > 50
    assert sum(Decimal(row[5]) for row in result) == gross
    assert sum(Decimal(row[6]) for row in result) == credit_sum
    assert sum(Decimal(row[7]) for row in result) == gross + credit_sum
    by_type: dict[str, Decimal] = {}
    for row in result:
        for credit in row[8]:
            by_type[credit["type"]] = by_type.get(credit["type"], Decimal(0)) + Decimal(
                credit["amount"]
            )
    assert sum(by_type.values()) == credit_sum
    assert set(by_type) == {"COMMITTED_USAGE_DISCOUNT", "PROMOTION"}
    assert len({row[4] for row in result}) >= 2


def test_daily_costs_into_their_partition_twice(world: World, rows: list[dict[str, Any]]) -> None:
    parameters = [scalar("date", "DATE", "2025-01-31"), array("accounts", "STRING", ["BA-1"])]
    for _ in range(2):
        result = world.run(
            _DAILY,
            parameters=parameters,
            destination=world.ref("daily"),
            partition="20250131",
            time_partitioning={"type": "DAY", "field": "usage_date"},
            write_disposition="WRITE_TRUNCATE",
        )
    wanted = _of_day(rows, dt.date(2025, 1, 31), {"BA-1"})
    assert result.output_rows == int(world.value("SELECT COUNT(*) FROM daily"))
    assert world.value("SELECT SUM(line_items) FROM daily") == str(len(wanted))
    assert world.types("SELECT net, by_type, usage_date FROM daily") == [
        "net NUMERIC", "by_type RECORD REPEATED", "usage_date DATE",
    ]  # fmt: skip


def test_pruned_query_reads_fewer_bytes(world: World) -> None:
    parameters = [scalar("date", "DATE", "2025-01-31"), array("accounts", "STRING", ["BA-1"])]
    pruned = world.run(_DAILY, parameters=parameters).total_bytes_processed
    everything = world.dry_run(_DAILY.replace("_PARTITIONTIME", "export_time"),
                               parameters=parameters).total_bytes_processed  # fmt: skip
    assert 0 < pruned < everything


def test_focus_columns(world: World) -> None:
    sql = """
    SELECT
      CAST(cost AS NUMERIC) AS BilledCost,
      billing_account_id AS BillingAccountId,
      TIMESTAMP(PARSE_DATE('%Y%m', invoice.month)) AS BillingPeriodStart,
      TIMESTAMP(DATE_ADD(PARSE_DATE('%Y%m', invoice.month), INTERVAL 1 MONTH)) AS BillingPeriodEnd,
      CASE
        WHEN LOWER(cost_type) = 'tax' THEN 'Tax'
        WHEN ARRAY_LENGTH(credits) > 0 AND cost = 0 THEN 'Credit'
        ELSE 'Usage'
      END AS ChargeCategory,
      IF(adjustment_info.type IS NOT NULL, 'Correction', NULL) AS ChargeClass,
      SAFE_DIVIDE(CAST(cost AS NUMERIC), CAST(usage.amount_in_pricing_units AS NUMERIC))
        AS ContractedUnitPrice,
      COALESCE(location.region, location.location, 'global') AS RegionId,
      project.ancestors[SAFE_OFFSET(0)].display_name AS x_Org,
      (SELECT value FROM UNNEST(labels) WHERE key = 'env') AS x_Environment,
      (SELECT STRING_AGG(CONCAT(l.key, '=', l.value), ';' ORDER BY l.key) FROM UNNEST(labels) l)
        AS x_Tags
    FROM d.export
    WHERE _PARTITIONDATE BETWEEN '2025-01-30' AND '2025-02-05'
    ORDER BY usage_start_time, BilledCost
    """
    assert world.types(sql) == [
        "BilledCost NUMERIC", "BillingAccountId STRING", "BillingPeriodStart TIMESTAMP",
        "BillingPeriodEnd TIMESTAMP", "ChargeCategory STRING", "ChargeClass STRING",
        "ContractedUnitPrice NUMERIC", "RegionId STRING", "x_Org STRING", "x_Environment STRING",
        "x_Tags STRING",
    ]  # fmt: skip
    found = world.rows(sql)
    assert len(found) == 600
    starts = {(row[2], row[3]) for row in found}
    assert starts == {("1735689600.0", "1738368000.0"), ("1738368000.0", "1740787200.0")}
    assert {row[4] for row in found} == {"Usage", "Tax"}
    assert {row[10] for row in found} == {None, "team=t0", "team=t1", "env=prod;team=t0",
                                          "env=prod;team=t1"}  # fmt: skip
    prices = [row[6] for row in found]
    assert prices.count(None) == 120
    assert {price for price in prices if price is not None} == {"1"}


def test_net_cost_by_invoice_month_matches(world: World, rows: list[dict[str, Any]]) -> None:
    found = dict(
        world.rows(
            "SELECT invoice.month, SUM(CAST(cost AS NUMERIC)) + SUM(IFNULL((SELECT"
            " SUM(CAST(c.amount AS NUMERIC)) FROM UNNEST(credits) c), 0)) AS net"
            " FROM export GROUP BY 1 ORDER BY 1"
        )
    )
    wanted: dict[str, Decimal] = {}
    for row in rows:
        month = row["invoice"]["month"]
        amounts = [row["cost"], *(credit["amount"] for credit in row["credits"])]
        wanted[month] = wanted.get(month, Decimal(0)) + sum(map(_numeric, amounts))
    assert {month: Decimal(net) for month, net in found.items()} == wanted


def test_quality_checks_and_rankings(world: World, rows: list[dict[str, Any]]) -> None:
    checks = world.rows(
        "SELECT 'project' AS name, COUNTIF(project.id IS NULL) AS failed FROM export"
        " UNION ALL SELECT 'rate', COUNTIF(currency_conversion_rate <= 0) FROM export"
        " UNION ALL SELECT 'order', COUNTIF(usage_end_time <= usage_start_time) FROM export"
        " ORDER BY name"
    )
    without = sum(row["project"] is None for row in rows)
    assert checks == [("order", "0"), ("project", str(without)), ("rate", "0")]
    top = world.rows(
        "SELECT service.description AS service, SUM(CAST(cost AS NUMERIC)) AS cost,"
        " SUM(SUM(CAST(cost AS NUMERIC))) OVER () AS total,"
        " RANK() OVER (ORDER BY SUM(CAST(cost AS NUMERIC)) DESC) AS place"
        " FROM export GROUP BY 1 QUALIFY place <= 2 ORDER BY place"
    )
    total = sum((_numeric(row["cost"]) for row in rows), Decimal(0))
    assert [row[3] for row in top] == ["1", "2"]
    assert {Decimal(row[2]) for row in top} == {total}
    latest = world.rows(
        "SELECT latest.sku.id FROM (SELECT ARRAY_AGG(e ORDER BY export_time DESC, sku.id LIMIT 1)"
        "[OFFSET(0)] AS latest FROM export AS e GROUP BY e.billing_account_id)"
    )
    assert len(latest) == 3
