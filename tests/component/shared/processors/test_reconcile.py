"""A table is let out only with its source's rows and cost; else the target stays as it was."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from shared.clients import bigquery_client
from shared.errors import AccessDeniedError, InvalidInputError
from shared.processors.contract import StepContext, StepResult
from shared.processors.shared.quality.checked_table import ColumnError
from shared.processors.shared.quality.totals import ControlError
from shared.processors.shared.reconcile import Reconcile, ReconcileConfig, ReconcileError
from shared.warehouse import rows, tables
from shared.warehouse.failures import WarehouseError
from shared.warehouse.queries import query
from tests.component.conftest import PROJECT, Cloud
from tests.runs import a_context, a_run

COLUMNS = "usage_date DATE, currency STRING, cost NUMERIC, line_items INT64"
SOURCE = [
    ("2025-11-15", "USD", "0.1"), ("2025-11-15", "USD", "0.2"),
    ("2025-11-15", "EUR", "12345678901234567890.000000001"),
    ("2025-11-14", "USD", "7"),
]  # fmt: skip
CONTROL = (
    "SELECT usage_date AS period, currency, COUNT(*) AS row_count, SUM(cost) AS cost"
    " FROM `{tenant}.source` WHERE usage_date = @date GROUP BY period, currency"
)


@pytest.fixture
def staged(tenant: str) -> str:
    """A source, its day of 15 November staged as it is, and what was public before."""
    client = bigquery_client()
    client.query_and_wait(
        f"CREATE TABLE `{tenant}.source` (usage_date DATE, currency STRING, cost NUMERIC)"
        " PARTITION BY usage_date"
    )
    listed = ", ".join(f"(DATE '{day}', '{unit}', NUMERIC '{cost}')" for day, unit, cost in SOURCE)
    client.query_and_wait(f"INSERT `{tenant}.source` VALUES {listed}")
    for table in ("staging", "costs"):
        client.query_and_wait(
            f"CREATE TABLE `{tenant}.{table}` ({COLUMNS}) PARTITION BY usage_date"
            " CLUSTER BY currency"
        )
    client.query_and_wait(
        f"INSERT `{tenant}.staging` SELECT usage_date, currency, SUM(cost), COUNT(*)"
        f" FROM `{tenant}.source` WHERE usage_date = '2025-11-15' GROUP BY usage_date, currency"
    )
    client.query_and_wait(
        f"INSERT `{tenant}.costs` VALUES (DATE '2025-11-15', 'USD', 99, 1),"
        " (DATE '2025-11-14', 'USD', 98, 1)"
    )
    return "staging"


def reconcile(tenant: str, context: StepContext | None = None, **config: Any) -> StepResult:
    values: dict[str, Any] = {
        "table": "staging",
        "promote_to": "costs",
        "period": "usage_date",
        "currency": "currency",
        "cost": "cost",
        "row_count": "line_items",
        "control": {"query": sql(CONTROL.format(tenant=tenant), date=date(2025, 11, 15))},
    }
    where = context or a_context(a_run(tenant), "reconcile")
    return Reconcile().run(ReconcileConfig.model_validate(values | config), where)


def sql(text: str, **parameters: Any) -> dict[str, Any]:
    return query(text, **parameters).model_dump(mode="json")


def costs(tenant: str, table: str = "costs") -> list[tuple[Any, ...]]:
    found = bigquery_client().query_and_wait(f"SELECT * FROM `{tenant}.{table}` ORDER BY 1, 2, 3")
    return [(str(row[0]), row[1], str(row[2]), row[3]) for row in found]


BEFORE = [("2025-11-14", "USD", "98", 1), ("2025-11-15", "USD", "99", 1)]
AFTER = [
    ("2025-11-14", "USD", "98", 1),
    ("2025-11-15", "EUR", "12345678901234567890.000000001", 1),
    ("2025-11-15", "USD", "0.3", 2),
]


def results(tenant: str) -> list[dict[str, Any]]:
    return rows.read(query(f"SELECT * FROM `{tenant}.x_meta_dq_results`"))


def test_what_agrees_is_promoted_and_no_other_date(staged: str, tenant: str) -> None:
    result = reconcile(tenant)

    assert costs(tenant) == AFTER
    assert result.outputs == {
        "table": f"{PROJECT}.{tenant}.costs", "keys": 2, "row_count": 3, "dates": ["2025-11-15"],
    }  # fmt: skip
    (row,) = results(tenant)
    assert (row["rule_id"], row["status"], row["rows_checked"]) == ("reconcile", "PASSED", 3)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (
            "UPDATE `{t}` SET cost = cost + NUMERIC '0.000000001' WHERE currency = 'EUR'",
            (
                "2025-11-15 EUR: cost 12345678901234567890.000000002 where the source has"
                " 12345678901234567890.000000001 (0.000000001)"
            ),
        ),
        (
            "DELETE FROM `{t}` WHERE currency = 'USD'",
            (
                "2025-11-15 USD: cost 0 where the source has 0.3 (-0.3),"
                " rows 0 where the source has 2 (-2)"
            ),
        ),
        (
            "UPDATE `{t}` SET line_items = 3 WHERE currency = 'USD'",
            "2025-11-15 USD: rows 3 where the source has 2 (+1)",
        ),
        (
            "INSERT `{t}` VALUES (DATE '2025-11-15', 'GBP', -5, 1)",
            (
                "2025-11-15 GBP: cost -5 where the source has 0 (-5),"
                " rows 1 where the source has 0 (+1)"
            ),
        ),
        ("INSERT `{t}` VALUES (DATE '2025-11-15', NULL, 0, 1)", "2025-11-15: rows 1"),
        ("UPDATE `{t}` SET currency = 'usd' WHERE currency = 'USD'", "2025-11-15 usd: cost 0.3"),
    ],
)
def test_a_difference_is_told_exactly_and_nothing_is_promoted(
    damage: str, told: str, staged: str, tenant: str
) -> None:
    bigquery_client().query_and_wait(damage.format(t=f"{tenant}.staging"))

    with pytest.raises(ReconcileError) as caught:
        reconcile(tenant)

    assert told in str(caught.value)
    assert "costs was not touched" in str(caught.value)
    assert costs(tenant) == BEFORE
    (row,) = results(tenant)
    assert (row["status"], row["severity"]) == ("FAILED", "fail")
    assert len(row["details"]["deltas"]) == len(caught.value.deltas)


def test_a_tolerance_is_per_key_and_only_of_cost(staged: str, tenant: str) -> None:
    bigquery_client().query_and_wait(f"UPDATE `{tenant}.staging` SET cost = cost + 1 WHERE TRUE")
    with pytest.raises(ReconcileError):
        reconcile(tenant, tolerance="0.999999999")
    reconcile(tenant, tolerance=1)
    assert costs(tenant)[2] == ("2025-11-15", "USD", "1.3", 2)


def test_a_date_without_rows_empties_the_target(staged: str, tenant: str) -> None:
    bigquery_client().query_and_wait(f"DELETE FROM `{tenant}.staging` WHERE TRUE")
    bigquery_client().query_and_wait(
        f"DELETE FROM `{tenant}.source` WHERE usage_date = '2025-11-15'"
    )

    reconcile(tenant)

    assert costs(tenant) == [BEFORE[0]]


def test_the_dates_of_an_earlier_step_are_promoted_together(staged: str, tenant: str) -> None:
    bigquery_client().query_and_wait(
        f"INSERT `{tenant}.staging` VALUES (DATE '2025-11-14', 'USD', 7, 1),"
        " (DATE '2025-11-13', 'USD', 1, 1)"
    )
    every = CONTROL.format(tenant=tenant).replace("= @date", "IN ('2025-11-14', '2025-11-15')")
    reconcile(tenant, dates=["2025-11-15", "2025-11-14"], control={"query": sql(every)})

    assert costs(tenant) == [("2025-11-14", "USD", "7", 1), *AFTER[1:]]


def test_months_are_compared_and_promoted_whole(tenant: str) -> None:
    """As bills come: a partition a billing period, whose first moment its rows have."""
    client = bigquery_client()
    for table in ("staging", "costs"):
        client.query_and_wait(
            f"CREATE TABLE `{tenant}.{table}` (billed TIMESTAMP, cost FLOAT64)"
            " PARTITION BY TIMESTAMP_TRUNC(billed, MONTH)"
        )
    client.query_and_wait(
        f"INSERT `{tenant}.staging` VALUES (TIMESTAMP '2025-11-01', 0.1),"
        " (TIMESTAMP '2025-11-01', 0.2), (TIMESTAMP '2025-10-01', 5)"
    )
    client.query_and_wait(f"INSERT `{tenant}.costs` VALUES (TIMESTAMP '2025-12-01', 9)")
    totals = [
        {"period": "2025-11-01", "currency": None, "rows": 2, "cost": "0.3"},
        {"period": "2025-10-01", "currency": None, "rows": 1, "cost": "5"},
    ]
    config: dict[str, Any] = {
        "dates": ["2025-10-01", "2025-11-01", "2025-09-01"], "period": "billed",
        "currency": None, "row_count": None, "control": {"totals": totals},
    }  # fmt: skip
    wrong = {"totals": [totals[0], totals[1] | {"cost": 6}]}
    with pytest.raises(ReconcileError, match="2025-10-01: cost 5 where the source has 6 "):
        reconcile(tenant, **(config | {"control": wrong}))

    reconcile(tenant, **config)

    found = client.query_and_wait(
        f"SELECT STRING(billed), cost FROM `{tenant}.costs` ORDER BY 1, 2"
    )
    assert [(row[0][:7], row[1]) for row in found] == [
        ("2025-10", 5), ("2025-11", 0.1), ("2025-11", 0.2), ("2025-12", 9),
    ]  # fmt: skip


def test_the_target_is_made_when_it_is_not_there(staged: str, tenant: str) -> None:
    bigquery_client().delete_table(f"{PROJECT}.{tenant}.costs")

    reconcile(tenant)

    made = bigquery_client().get_table(f"{PROJECT}.{tenant}.costs")
    assert made.time_partitioning.field == "usage_date"
    assert made.clustering_fields == ["currency"]
    assert made.expires is None
    assert costs(tenant) == AFTER[1:]


def test_a_column_that_staging_has_gained_is_added(staged: str, tenant: str) -> None:
    bigquery_client().query_and_wait(f"ALTER TABLE `{tenant}.staging` ADD COLUMN note STRING")
    reconcile(tenant)
    assert costs(tenant) == AFTER


def test_twice_and_ten_times_at_once_promote_what_the_first_compared(
    staged: str, tenant: str
) -> None:
    context = a_context(a_run(tenant), "reconcile")
    with ThreadPoolExecutor(10) as pool:
        outcomes = list(pool.map(lambda _: reconcile(tenant, context).outputs, range(10)))
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert costs(tenant) == AFTER
    bigquery_client().query_and_wait(f"UPDATE `{tenant}.staging` SET cost = 0 WHERE TRUE")

    reconcile(tenant, context)

    assert costs(tenant) == AFTER
    assert len(results(tenant)) == 1


def test_what_another_run_stages_meanwhile_is_not_promoted_unseen(
    staged: str, tenant: str, cloud: Cloud
) -> None:
    """The step dies after the comparison; another run overwrites the staging table; it goes on."""
    context = a_context(a_run(tenant), "reconcile")
    cloud.fail("tabledata.insertAll", status=400, reason="invalid")
    with pytest.raises(WarehouseError):
        reconcile(tenant, context)
    assert costs(tenant) == BEFORE
    bigquery_client().query_and_wait(f"UPDATE `{tenant}.staging` SET cost = 5 WHERE TRUE")

    reconcile(tenant, context)
    assert costs(tenant) == AFTER

    with pytest.raises(ReconcileError):
        reconcile(tenant)
    assert costs(tenant) == AFTER


def test_without_a_target_it_compares(staged: str, tenant: str) -> None:
    reconcile(tenant, promote_to=None)
    with pytest.raises(ReconcileError, match="has these figures already"):
        reconcile(tenant, promote_to=None, table="costs")
    assert costs(tenant) == BEFORE


@pytest.mark.parametrize(
    ("scope", "cost"), [("month", "12345678901234567897.300000001"), ("table", "1")]
)
def test_an_invoice_month_or_a_whole_table(scope: str, cost: str, staged: str, tenant: str) -> None:
    total = {"cost": cost, "rows": 4}
    config: dict[str, Any] = {
        "table": "source", "promote_to": None, "period": None, "currency": None,
        "row_count": None, "scope": scope, "control": {"totals": [total]},
    }  # fmt: skip
    if scope == "table":
        with pytest.raises(ReconcileError, match=r"in all: cost 12345678901234567897\.3"):
            reconcile(tenant, **config)
    else:
        reconcile(tenant, **config)


def test_whole_amounts_are_amounts(staged: str, tenant: str) -> None:
    """INT64 on both sides: counts of a table that is held against counts."""
    config: dict[str, Any] = {
        "promote_to": None, "period": None, "currency": None, "row_count": None,
        "cost": "line_items", "control": {"query": sql("SELECT 5 AS cost")},
    }  # fmt: skip
    with pytest.raises(ReconcileError, match=r"in all: cost 3 where the source has 5 \(-2\)"):
        reconcile(tenant, **config)
    reconcile(tenant, **config | {"control": {"query": sql("SELECT 3 AS cost")}})


def test_totals_of_an_earlier_step_are_taken_as_they_come(staged: str, tenant: str) -> None:
    """The form in which the processors that fetch leave their control totals."""
    totals = [
        {"period": "2025-11-15", "currency": "EUR", "rows": 1,
         "cost": "12345678901234567890.000000001"},
        {"period": "2025-11-15", "currency": "USD", "rows": 1, "cost": "0.1"},
        {"period": "2025-11-15", "currency": "USD", "rows": 1, "cost": "0.2"},
    ]  # fmt: skip
    reconcile(tenant, control={"totals": totals})
    assert costs(tenant) == AFTER

    with pytest.raises(ReconcileError, match="2025-11-15 EUR: cost 1"):
        reconcile(tenant, control={"totals": totals[1:]})
    with pytest.raises(ReconcileError, match="EUR: rows 1 where the source has 0"):
        reconcile(tenant, cost=None, control={"totals": totals[1:]})


def test_a_control_that_cannot_be_exact_or_complete_is_refused(staged: str, tenant: str) -> None:
    for text, told in (
        ("SELECT '2025-11-15' AS period, 'USD' AS currency, 0.3 AS cost", "FLOAT64"),
        ("SELECT '2025-11-15' AS period, NUMERIC '0.3' AS cost", "lacks the columns currency"),
        ("SELECT '2025-11-15' AS period, 'USD' AS currency", "lacks the columns cost"),
    ):
        with pytest.raises(ControlError, match=told):
            reconcile(tenant, control={"query": sql(text)})
    with pytest.raises(ColumnError, match="did you mean currency"):
        reconcile(tenant, currency="curency")
    assert costs(tenant) == BEFORE


def test_an_empty_table_does_not_agree_with_costs(staged: str, tenant: str) -> None:
    bigquery_client().query_and_wait(f"DELETE FROM `{tenant}.staging` WHERE TRUE")
    every = {"period": None, "currency": None}
    for control in (
        {"totals": [{"cost": 5}]},
        {"query": sql("SELECT NUMERIC '5' AS cost")},
    ):
        with pytest.raises(ReconcileError, match="in all: cost 0 where the source has 5"):
            reconcile(tenant, control=control, **every)
    reconcile(tenant, control={"query": sql("SELECT NUMERIC '5' AS cost LIMIT 0")}, **every)
    assert costs(tenant) == [BEFORE[0]]


def test_foreign_tables_are_neither_read_nor_written(
    staged: str, tenant: str, fresh: Callable[[], str]
) -> None:
    other = fresh()
    tables.ensure_dataset(other, labels={tables.OWNER_LABEL: other})
    bigquery_client().query_and_wait(
        f"CREATE TABLE `{other}.staging` ({COLUMNS}) PARTITION BY usage_date"
    )
    reach = sql(f"SELECT '' AS period, currency, cost FROM `{other}.staging`")
    with pytest.raises(AccessDeniedError):
        reconcile(tenant, control={"query": reach})
    with pytest.raises(AccessDeniedError):
        reconcile(tenant, table=f"{other}.staging", promote_to=None)
    with pytest.raises(ValidationError):
        reconcile(tenant, table=f"{other}.staging")
    for name in (f"{other}.costs", "x_meta_step_logs_log", "a`b", "a;b", "", "a$20251115"):
        with pytest.raises((InvalidInputError, ValidationError)):
            reconcile(tenant, promote_to=name or " ")
    with pytest.raises(InvalidInputError, match="another table"):
        reconcile(tenant, promote_to="staging")
    assert costs(tenant) == BEFORE


@pytest.mark.parametrize(
    "config",
    [
        {"control": {}},
        {"control": {"query": sql("SELECT 1"), "totals": []}},
        {"scope": "month"},
        {"promote_to": None, "scope": "table", "dates": ["2025-11-15"]},
        {"date_column": "usage_date"},
        {"tolerance": -1},
        {"cost": "cost` --"},
        {"dates": []},
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        reconcile("acme", **config)


def test_what_it_would_do_is_told_without_doing_it(staged: str, tenant: str) -> None:
    config = ReconcileConfig.model_validate(
        {"table": "staging", "promote_to": "costs", "cost": "cost",
         "control": {"query": sql(f"SELECT cost FROM `{tenant}.source`")}}
    )  # fmt: skip
    foreseen = Reconcile().foresee(config, a_context(a_run(tenant), "reconcile"))

    assert foreseen.tables_read == (f"{PROJECT}.{tenant}.source",)
    assert foreseen.tables_written == (f"{PROJECT}.{tenant}.costs",)
    assert Reconcile().cancel(a_context(a_run(tenant), "reconcile")) is False
    assert Decimal(costs(tenant)[1][2]) == 99
