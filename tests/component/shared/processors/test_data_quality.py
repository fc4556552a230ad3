"""Rules on real tables: exact counts and samples, at most two scans, nothing twice."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from shared.clients import bigquery_client
from shared.errors import AccessDeniedError, Permanent
from shared.processors.contract import RunIdentity, StepContext, StepResult
from shared.processors.shared.data_quality import (
    DataQuality,
    DataQualityConfig,
    DataQualityError,
)
from shared.processors.shared.quality.checked_table import ColumnError
from shared.warehouse import rows, tables
from shared.warehouse.failures import WarehouseError
from shared.warehouse.queries import query
from tests.component.conftest import PROJECT, Cloud
from tests.runs import a_context, a_run

DAY = date(2025, 11, 15)


@pytest.fixture
def costs(tenant: str) -> str:
    """`costs` of the tenant: six rows on the day, and a few on the days before."""
    client = bigquery_client()
    client.query_and_wait(
        f"CREATE TABLE `{tenant}.costs` (day DATE, sku STRING, currency STRING, cost NUMERIC,"
        " amount FLOAT64, at TIMESTAMP, place STRUCT<region STRING>) PARTITION BY day"
    )
    day = "DATE '2025-11-15'"
    at = "TIMESTAMP '2025-11-15"
    client.query_and_wait(
        f"INSERT `{tenant}.costs` VALUES"
        f" ({day}, 'a', 'USD', 0.1, 0.1, {at} 01:00:00', STRUCT('us')),"
        f" ({day}, 'b', 'USD', 0.2, 0.2, {at} 02:00:00', STRUCT('us')),"
        f" ({day}, 'b', 'USD', 0.2, 0.2, {at} 03:00:00', STRUCT('eu')),"
        f" ({day}, 'c', NULL, 1000000000000.000000001, 0.5, {at} 04:00:00', STRUCT('eu')),"
        f" ({day}, 'd', 'XXX', -5, 0.5, {at} 05:00:00', STRUCT(CAST(NULL AS STRING))),"
        f" ({day}, NULL, 'EUR', 7, 0.5, {at} 06:00:00', STRUCT('asia')),"
        " (DATE '2025-11-14', 'a', NULL, 1, 1, TIMESTAMP '2025-11-14 01:00:00', STRUCT('us')),"
        " (DATE '2025-11-14', 'b', 'USD', 1, 1, TIMESTAMP '2025-11-14 02:00:00', STRUCT('us')),"
        " (DATE '2025-11-13', 'a', 'USD', 1, 1, TIMESTAMP '2025-11-13 01:00:00', STRUCT('us')),"
        " (DATE '2025-11-10', 'a', 'USD', 1, 1, TIMESTAMP '2025-11-10 01:00:00', STRUCT('us'))"
    )
    return "costs"


def the_run(tenant: str) -> RunIdentity:
    return a_run(tenant, started_at=datetime(2025, 11, 16, 3, tzinfo=UTC))


def check(
    tenant: str, *its_rules: dict[str, Any], context: StepContext | None = None, **config: Any
) -> StepResult:
    named = [{"name": f"rule_{n}"} | rule for n, rule in enumerate(its_rules)]
    values = {"table": "costs", "keys": ["sku"], "rules": named} | config
    where = context or a_context(the_run(tenant), "check")
    return DataQuality().run(DataQualityConfig.model_validate(values), where)


def sql(text: str, **parameters: Any) -> dict[str, Any]:
    """SQL as the template compiler leaves it in a configuration."""
    found = query(text, **parameters)
    return found.model_dump(mode="json")


def results(tenant: str) -> list[dict[str, Any]]:
    return rows.read(query(f"SELECT * FROM `{tenant}.x_meta_dq_results` ORDER BY rule_id"))


def failed(tenant: str, *its_rules: dict[str, Any], **config: Any) -> dict[str, Any]:
    """The recorded result of the one rule, which must have failed the step."""
    with pytest.raises(DataQualityError):
        check(tenant, *its_rules, **config)
    (row,) = results(tenant)
    assert row["status"] == "FAILED"
    return row


def found(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["rows_checked"], row["rows_failed"], (row["details"] or {}).get("samples")


PASSING: dict[str, dict[str, Any]] = {
    "not_null": {"check": "not_null", "column": "cost"},
    "not_null_of_others": {
        "check": "not_null",
        "column": "currency",
        "where": sql("sku != @sku -- but for one", sku="c"),
    },
    "unique": {"check": "unique", "columns": ["sku", "at"]},
    "unique_column": {"check": "unique", "columns": "at"},
    "accepted_values": {"check": "accepted_values", "column": "currency",
                        "values": ["USD", "EUR", "XXX"]},
    "range": {"check": "range", "column": "cost", "minimum": -5,
              "maximum": "1000000000000.000000001"},
    "range_of_dates": {"check": "range", "column": "day", "minimum": "2025-11-15",
                       "maximum": "2025-11-15"},
    "range_of_times": {"check": "range", "column": "at", "minimum": "2025-11-15T00:00:00Z"},
    "condition": {"check": "condition", "condition": sql("sku IS NULL OR sku < @s", s="e")},
    "condition_of_null": {"check": "condition", "condition": sql("currency != ''")},
    "row_count": {"check": "row_count", "minimum": 6, "maximum": 6},
    "row_count_of_others": {"check": "row_count", "maximum": 2, "where": sql("cost > 1")},
    "row_count_median": {"check": "row_count", "days": 7, "tolerance": 5},
    "row_count_without_history": {"check": "row_count", "days": 7, "minimum_days": 4},
    "freshness": {"check": "freshness", "column": "at", "max_age_hours": 18},
    "freshness_of_dates": {"check": "freshness", "column": "day", "max_age_hours": 1},
    "freshness_of_table": {"check": "freshness", "column": "at", "max_age_hours": 21,
                           "scope": "table"},
    "sum_matches_query": {"check": "sum_matches", "column": "cost",
                          "query": sql("SELECT NUMERIC '1000000000002.500000001'")},
    "sum_matches_tolerance": {"check": "sum_matches", "column": "cost", "tolerance": "0.5",
                              "query": sql("SELECT NUMERIC '1000000000003.000000001'")},
    "sum_of_floats": {"check": "sum_matches", "column": "amount",
                      "query": sql("SELECT NUMERIC '2'")},
    "sql": {"check": "sql", "query": sql("SELECT 1 AS n FROM UNNEST([1]) WHERE FALSE")},
}  # fmt: skip


def test_rules_that_hold_pass_and_are_recorded(costs: str, tenant: str) -> None:
    result = check(tenant, *({"name": name} | rule for name, rule in PASSING.items()))

    assert (result.rows_processed, result.outputs["rules"]) == (0, len(PASSING))
    assert (result.outputs["warnings"], result.outputs["summary"]) == (0, "")
    assert result.outputs["rows_checked"] == 10
    assert result.bytes_processed > 0
    recorded = results(tenant)
    assert [row["rule_id"] for row in recorded] == sorted(PASSING)
    assert {row["status"] for row in recorded} == {"PASSED"}
    by_rule = {row["rule_id"]: row for row in recorded}
    assert by_rule["not_null"]["rows_checked"] == 6
    assert by_rule["not_null"]["date"] == DAY
    assert by_rule["freshness_of_table"]["date"] is None
    assert by_rule["freshness_of_table"]["rows_checked"] == 10


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"check": "not_null", "column": "currency"}, (6, 1, [{"sku": "c", "currency": None}])),
        (
            {"check": "not_null", "column": "currency", "scope": "table"},
            (10, 2, [{"sku": "a", "currency": None}, {"sku": "c", "currency": None}]),
        ),
        (
            {"check": "not_null", "column": "place.region", "where": sql("cost < @c", c=0)},
            (1, 1, [{"sku": "d", "place__region": None}]),
        ),
        (
            {"check": "unique", "columns": ["sku", "currency"]},
            (6, 1, [{"key": {"sku": "b", "currency": "USD"}, "rows": 2}]),
        ),
        (
            {"check": "unique", "columns": "sku", "scope": "table"},
            (10, 5, [{"key": {"sku": "a"}, "rows": 4}, {"key": {"sku": "b"}, "rows": 3}]),
        ),
        (
            {"check": "accepted_values", "column": "currency", "values": ["USD", "EUR"]},
            (6, 1, [{"sku": "d", "currency": "XXX"}]),
        ),
        (
            {"check": "range", "column": "cost", "minimum": 0, "maximum": "1000000000000"},
            (6, 2, [{"sku": "c", "cost": "1000000000000.000000001"}, {"sku": "d", "cost": -5}]),
        ),
        (
            {"check": "condition", "condition": sql("cost >= 0 -- now"), "where": sql("TRUE")},
            (6, 1, [{"sku": "d"}]),
        ),
        ({"check": "row_count", "minimum": 7}, (6, None, None)),
        ({"check": "row_count", "maximum": 5}, (6, None, None)),
        ({"check": "freshness", "column": "at", "max_age_hours": 17}, (6, None, None)),
        (
            {"check": "freshness", "column": "at", "max_age_hours": 9, "where": sql("FALSE")},
            (0, None, None),
        ),
        (
            {"check": "sql", "query": sql("SELECT n FROM UNNEST([3, 1, 2]) n WHERE n > @m", m=1)},
            (None, 2, [{"n": 2}, {"n": 3}]),
        ),
    ],
)  # fmt: skip
def test_a_broken_rule_is_counted_and_shown(
    rule: dict[str, Any], expected: tuple[Any, ...], costs: str, tenant: str
) -> None:
    assert found(failed(tenant, rule)) == expected


def test_sums_differ_by_their_last_digit(costs: str, tenant: str) -> None:
    other = sql("SELECT NUMERIC '1000000000002.500000002'")
    row = failed(tenant, {"check": "sum_matches", "column": "cost", "query": other})

    assert row["expected"] == "1000000000002.500000002"
    assert "which is -0.000000001 off" in row["observed"]


def test_sum_matches_another_table_date_by_date(costs: str, tenant: str) -> None:
    bigquery_client().query_and_wait(
        f"CREATE TABLE `{tenant}.bills` AS SELECT day AS billed, currency, cost AS charge"
        f" FROM `{tenant}.costs`"
    )
    other = {"table": "bills", "column": "charge", "date_column": "billed"}
    usd = sql("currency = 'USD'")
    same = {"check": "sum_matches", "column": "cost", "other": other}
    check(
        tenant,
        same,
        same | {"where": usd, "other": other | {"where": usd}},
        same | {"scope": "table"},
    )

    with pytest.raises(DataQualityError) as caught:
        check(tenant, same | {"where": usd})
    assert "0.5, which is -1000000000002.000000001 off" in str(caught.value)


def test_row_count_is_held_against_the_days_before(costs: str, tenant: str) -> None:
    """2, 1 and 1 rows on three of the seven days before; 6 on the day."""
    row = failed(tenant, {"check": "row_count", "days": 7, "tolerance": "4.9"})
    assert row["expected"] == "at least -3.9 and at most 5.9"
    assert row["observed"] == "6 rows; median of 3 days: 1"

    check(tenant, {"check": "row_count", "days": 7, "tolerance": "3.5", "against": "average"})
    shorter = {"check": "row_count", "days": 2, "minimum_days": 2, "severity": "warn"}
    usd = {"check": "row_count", "days": 7, "severity": "warn",
           "where": sql("currency IN UNNEST(@units)", units=["USD"])}  # fmt: skip
    told = check(tenant, shorter, usd).outputs["summary"]
    assert "6 rows; median of 2 days: 1.5, expected" in told
    assert "3 rows; median of 3 days: 1, expected at least 0.5 and at most 1.5" in told


def test_the_error_names_rule_count_and_sample_and_a_warning_goes_on(
    costs: str, tenant: str
) -> None:
    broken = {"check": "not_null", "column": "currency"}
    result = check(tenant, broken | {"severity": "warn"})
    assert result.outputs["warnings"] == 1
    assert result.outputs["summary"] == (
        'rule_0: 1 of 6 rows break it, such as {"sku": "c", "currency": null}'
    )

    with pytest.raises(DataQualityError) as caught:
        check(tenant, broken, broken | {"severity": "warn"})
    assert caught.value.rules == ("rule_0",)
    assert f"{PROJECT}.{tenant}.costs" in str(caught.value)
    assert 'rule_0: 1 of 6 rows break it, such as {"sku": "c"' in str(caught.value)
    assert {(row["severity"], row["status"]) for row in results(tenant)} == {
        ("warn", "FAILED"), ("fail", "FAILED"),
    }  # fmt: skip


def test_samples_are_as_many_as_asked_for(costs: str, tenant: str) -> None:
    every = {"check": "range", "column": "cost", "maximum": -1000, "severity": "warn"}
    check(tenant, every, every | {"name": "again"}, samples=2)
    assert [len(row["details"]["samples"]) for row in results(tenant)] == [2, 2]

    with pytest.raises(DataQualityError, match=r"5 of 6 rows break it\.$|6 of 6 rows break it\.$"):
        check(tenant, every | {"severity": "fail"}, samples=0)


def test_two_hundred_rules_are_two_scans(costs: str, tenant: str, cloud: Cloud) -> None:
    kinds = [
        {"check": "not_null", "column": "cost"},
        {"check": "unique", "columns": ["at"]},
        {"check": "unique", "columns": ["sku", "at"], "scope": "table"},
        {"check": "range", "column": "cost", "maximum": "1e13"},
        {"check": "row_count", "days": 30, "tolerance": 9},
        {"check": "accepted_values", "column": "currency", "values": ["USD", "EUR", "XXX"]},
        {"check": "freshness", "column": "at", "max_age_hours": 24},
        {"check": "freshness", "column": "at", "max_age_hours": 24, "scope": "table"},
    ]
    context = a_context(the_run(tenant), "check")
    before = cloud.calls()
    result = check(tenant, *(kinds * 25), context=context)
    after = cloud.calls()

    assert result.outputs["rules"] == 200
    # A query is inserted twice: as a dry run, which reads nothing, and as itself.
    assert after["jobs.insert"] - before.get("jobs.insert", 0) == 2 * 2
    assert after.get("jobs.query", 0) == before.get("jobs.query", 0)
    assert len(results(tenant)) == 200
    # The first reads the date's rows and, beside them, the dates of the days before; each once.
    for name, passes in (("scan", 2), ("unique", 1)):
        job = bigquery_client().get_job(f"{context.work_id}--{name}--1--1")
        assert job.query.count(f"`{PROJECT}.{tenant}.costs`") == passes


def test_doing_it_twice_or_ten_times_at_once_leaves_one_set_of_results(
    costs: str, tenant: str, cloud: Cloud
) -> None:
    context = a_context(the_run(tenant), "check")
    its_rules = [PASSING["not_null"], PASSING["unique"], PASSING["row_count_median"]]
    with ThreadPoolExecutor(10) as pool:
        outcomes = list(
            pool.map(lambda _: check(tenant, *its_rules, context=context).outputs, range(10))
        )
    assert all(outcome == outcomes[0] for outcome in outcomes)
    bigquery_client().query_and_wait(f"DELETE FROM `{tenant}.costs` WHERE day IS NOT NULL")

    again = check(tenant, *its_rules, context=context)

    assert again.outputs == outcomes[0], "a repetition finds the facts of the first"
    assert [row["rule_id"] for row in results(tenant)] == ["rule_0", "rule_1", "rule_2"]


def test_a_crash_before_the_results_are_recorded_is_made_good(
    costs: str, tenant: str, cloud: Cloud
) -> None:
    context = a_context(the_run(tenant), "check")
    cloud.fail("tabledata.insertAll", status=400, reason="invalid")
    with pytest.raises(WarehouseError):
        check(tenant, PASSING["not_null"], context=context)
    assert results(tenant) == []

    check(tenant, PASSING["not_null"], context=context)
    assert len(results(tenant)) == 1


def test_tables_without_days_are_looked_at_as_a_whole(tenant: str) -> None:
    bigquery_client().query_and_wait(
        f"CREATE TABLE `{tenant}.costs` AS SELECT 1 AS sku, DATE '2025-11-14' AS day"
    )
    assert found(failed(tenant, {"check": "row_count", "maximum": 0}))[0] == 1
    result = check(tenant, {"check": "row_count", "maximum": 0}, date_column="day")
    assert result.outputs["rows_checked"] == 0


@pytest.mark.parametrize("unit", ["_PARTITIONDATE", "DATE_TRUNC(at, MONTH)", "DATE(at)", "at_all"])
def test_the_date_is_found_in_every_way_of_partitioning(unit: str, tenant: str) -> None:
    client = bigquery_client()
    columns = "at TIMESTAMP, local DATETIME"
    if unit == "at_all":
        unit = "DATETIME_TRUNC(local, DAY)"
    if unit == "DATE_TRUNC(at, MONTH)":
        unit = "TIMESTAMP_TRUNC(at, MONTH)"
    client.query_and_wait(f"CREATE TABLE `{tenant}.costs` ({columns}) PARTITION BY {unit}")
    table = client.get_table(f"{PROJECT}.{tenant}.costs")
    its = "(TIMESTAMP '2025-11-15 23:59:59', DATETIME '2025-11-15 23:59:59')"
    others = "(TIMESTAMP '2025-10-16 00:00:00', DATETIME '2025-11-16 00:00:00')"
    if table.time_partitioning.field is None:
        for day, row in (("20251115", its), ("20251116", others)):
            select = f"SELECT at, local FROM UNNEST([STRUCT<at TIMESTAMP, local DATETIME>{row}])"
            write(f"{PROJECT}.{tenant}.costs${day}", select)
    else:
        client.query_and_wait(f"INSERT `{tenant}.costs` VALUES {its}, {others}")

    result = check(tenant, {"check": "row_count", "minimum": 1, "maximum": 1}, keys=[])

    assert result.outputs["rows_checked"] == 1


def write(destination: str, select: str) -> None:
    from google.cloud.bigquery import QueryJobConfig

    config = QueryJobConfig(destination=destination, write_disposition="WRITE_TRUNCATE")
    bigquery_client().query_and_wait(select, job_config=config)


def test_other_tenants_and_metadata_cannot_be_checked(
    costs: str, tenant: str, fresh: Callable[[], str]
) -> None:
    other = fresh()
    tables.ensure_dataset(other, labels={tables.OWNER_LABEL: other})
    bigquery_client().query_and_wait(f"CREATE TABLE `{other}.costs` (sku STRING)")
    count = {"check": "row_count", "minimum": 0}
    reach = f"SELECT sku FROM `{other}.costs`"
    foreign: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (count, {"table": f"{PROJECT}.{other}.costs"}),
        (count, {"table": f"{other}.costs"}),
        (count, {"table": f"{PROJECT}.{other}.no_such_table"}),
        (count | {"where": sql(f"EXISTS ({reach})")}, {}),
        ({"check": "sql", "query": sql(reach)}, {}),
        ({"check": "sql", "query": sql(f"SELECT no_such_column FROM `{other}.costs`")}, {}),
        ({"check": "sum_matches", "column": "cost", "query": sql(reach)}, {}),
        ({"check": "sum_matches", "column": "cost",
          "other": {"table": f"{other}.costs", "column": "sku"}}, {}),
        ({"check": "sql", "query": sql(f"SELECT 1 FROM `{tenant}`.INFORMATION_SCHEMA.TABLES")}, {}),
    ]  # fmt: skip
    for rule, config in foreign:
        with pytest.raises(AccessDeniedError):
            check(tenant, rule, **config)
    assert results(tenant) == []


def test_a_source_of_the_template_can_be_checked(tenant: str, fresh: Callable[[], str]) -> None:
    export = fresh()
    tables.ensure_dataset(export, labels={})
    bigquery_client().query_and_wait(f"CREATE TABLE `{export}.costs` (sku STRING)")
    path = f"{PROJECT}.{export}.costs"
    context = a_context(the_run(tenant), "check", sources=(path,))

    check(tenant, {"check": "row_count", "maximum": 0}, table=path, context=context)


HOSTILE = (
    "cost` IS NULL OR TRUE --", "cost; DROP TABLE x", "cost\n", "cost'", "", "1", "a..b", "a.",
    "\u0441ost", "cost /* */", "`cost`", "@dq__0", "cost\x00", "x" * 301, "cost)", "SELECT 1",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_no_identifier(name: str) -> None:
    config: dict[str, Any]
    count = {"name": "n", "check": "row_count", "minimum": 0}
    for config in (
        {"table": "costs", "rules": [{"name": "n", "check": "not_null", "column": name}]},
        {"table": "costs", "rules": [{"name": "n", "check": "unique", "columns": [name]}]},
        {"table": "costs", "rules": [count], "keys": [name]},
        {"table": "costs", "rules": [count], "date_column": name},
    ):
        with pytest.raises(ValidationError):
            DataQualityConfig.model_validate(config)
    if name != "1" and not name.startswith("x"):
        with pytest.raises(ValidationError):
            DataQualityConfig.model_validate({"table": name, "rules": [count]})


def test_hostile_values_are_only_values(costs: str, tenant: str) -> None:
    evil = ["USD') OR TRUE OR ('a' IN ('", "`", "\\", "'; DROP TABLE costs; --", "@dq__0"]
    row = failed(tenant, {"check": "accepted_values", "column": "currency", "values": evil})
    assert row["rows_failed"] == 5
    with pytest.raises(Permanent, match="dq__0"):
        check(tenant, {"check": "row_count", "minimum": 0, "where": sql("@dq__0 = 1", dq__0=1)})


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"check": "not_null", "column": "curency"}, "did you mean currency"),
        ({"check": "range", "column": "sku", "minimum": 1}, "is STRING; the rule needs"),
        ({"check": "freshness", "column": "cost", "max_age_hours": 1}, "is NUMERIC"),
        ({"check": "sum_matches", "column": "sku", "query": sql("SELECT 1")}, "is STRING"),
    ],
)
def test_a_column_that_does_not_fit_is_named(
    rule: dict[str, Any], told: str, costs: str, tenant: str
) -> None:
    with pytest.raises(ColumnError, match=told):
        check(tenant, rule)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"check": "row_count", "minimum": 0, "where": sql("no_such > 1")}, "rule_0"),
        ({"check": "sql", "query": sql("SELECT FROM")}, "rule_0"),
        ({"check": "sum_matches", "column": "cost", "query": sql("SELECT 0.1")}, "FLOAT64"),
        ({"check": "sql", "query": sql("DELETE FROM costs WHERE TRUE")}, "rule_0"),
    ],
)
def test_sql_that_is_wrong_is_told_with_its_rule(
    rule: dict[str, Any], told: str, costs: str, tenant: str
) -> None:
    with pytest.raises(WarehouseError, match=told):
        check(tenant, rule)


def test_the_bytes_of_a_query_are_limited(costs: str, tenant: str) -> None:
    with pytest.raises(AccessDeniedError, match="max_bytes_billed"):
        check(tenant, PASSING["not_null"], max_bytes_billed=1)


def test_what_it_would_do_is_told_without_doing_it(costs: str, tenant: str, cloud: Cloud) -> None:
    config = DataQualityConfig.model_validate(
        {"table": "costs", "rules": [{"name": "n"} | PASSING["not_null"]]}
    )
    foreseen = DataQuality().foresee(config, a_context(the_run(tenant), "check"))

    assert foreseen.refusal is None
    assert foreseen.tables_read == (f"{PROJECT}.{tenant}.costs",)
    assert foreseen.bytes_estimated
    assert results(tenant) == []


def test_cancelling_what_does_not_run_is_harmless(costs: str, tenant: str) -> None:
    context = a_context(the_run(tenant), "check")
    assert DataQuality().cancel(context) is False
    assert DataQuality().cancel(context) is False
    with pytest.raises(Permanent, match="cancelled"):
        check(tenant, PASSING["not_null"], context=context)


def test_dates_that_a_step_touched_are_looked_at_instead_of_the_runs(
    tenant: str, costs: str, cloud: Cloud
) -> None:
    touched = ["2025-11-14", "2025-11-13", "2025-11-10"]
    rules = [
        {"check": "not_null", "column": "currency", "severity": "warn"},  # broken on the 14th
        {"check": "unique", "columns": "sku"},  # one `a` in each partition
        {"check": "accepted_values", "column": "currency", "values": ["USD"]},  # not on the 15th
        {"check": "row_count", "minimum": 6, "maximum": 6},  # of the run's date
        {"check": "sum_matches", "column": "cost", "other": {"table": "costs", "column": "cost"}},
        {"check": "sum_matches", "column": "amount", "query": sql("SELECT NUMERIC '2'")},
    ]
    before = cloud.calls()

    assert check(tenant, *rules, dates=touched).outputs["warnings"] == 1

    queries = 4  # two scans, two other sides of sums; each is dry-run first
    assert cloud.calls()["jobs.insert"] - before.get("jobs.insert", 0) == 2 * queries
    rows_of = {row["rule_id"]: row for row in results(tenant)}
    assert [rows_of[f"rule_{n}"]["rows_checked"] for n in range(5)] == [4, 4, 4, 6, 4]
    assert found(rows_of["rule_0"]) == (4, 1, [{"sku": "a", "currency": None}])
    assert rows_of["rule_0"]["details"]["dates"] == sorted(touched)
    assert (rows_of["rule_0"]["date"], rows_of["rule_3"]["date"]) == (None, DAY)


def test_a_key_that_is_repeated_in_one_of_several_dates_is_found(tenant: str, costs: str) -> None:
    row = failed(tenant, {"check": "unique", "columns": "sku"}, dates=["2025-11-13", "2025-11-15"])
    key = {"partition": "2025-11-15", "sku": "b"}
    assert found(row) == (7, 1, [{"key": key, "rows": 2}])


def test_a_step_that_touched_no_date_breaks_no_rule(tenant: str, costs: str) -> None:
    rules = [{"check": "not_null", "column": "currency"}, {"check": "unique", "columns": "sku"}]
    assert check(tenant, *rules, dates=[]).outputs["rows_checked"] == 0
