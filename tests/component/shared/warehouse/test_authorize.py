"""BigQuery says what a statement touches; a tenant may touch its own and declared sources."""

from collections.abc import Callable

import pytest

from shared.clients import bigquery_client
from shared.errors import AccessDeniedError
from shared.warehouse import tables
from shared.warehouse.authorize import (
    BYTES_PER_TABLE,
    DryRun,
    ForeignTableError,
    StatementNotAllowedError,
    authorize,
    dataset_owner,
    dry_run,
)
from shared.warehouse.failures import WarehouseError
from shared.warehouse.queries import query
from tests.component.conftest import PROJECT, Cloud

MERGE = (
    "MERGE `{own}` AS t USING (SELECT 1 AS c) AS s ON FALSE"
    " WHEN NOT MATCHED THEN INSERT (cost) VALUES (s.c)"
)


@pytest.fixture
def costs(tenant: str) -> str:
    """A table of the tenant; `dataset.table`."""
    bigquery_client().query_and_wait(f"CREATE TABLE `{tenant}.costs` (cost NUMERIC, day DATE)")
    return f"{tenant}.costs"


@pytest.fixture
def other(fresh: Callable[[], str]) -> str:
    """A table of another tenant; `dataset.table`."""
    owner = fresh()
    tables.ensure_dataset(owner, labels={tables.OWNER_LABEL: owner})
    bigquery_client().query_and_wait(f"CREATE TABLE `{owner}.costs` (cost NUMERIC)")
    return f"{owner}.costs"


@pytest.fixture
def export(fresh: Callable[[], str]) -> str:
    """A table that is nobody's; `dataset.table`."""
    dataset = fresh()
    tables.ensure_dataset(dataset, labels={})
    bigquery_client().query_and_wait(f"CREATE TABLE `{dataset}.export` (cost NUMERIC)")
    return f"{dataset}.export"


def check(sql: str, tenant: str, sources: tuple[str, ...] = ()) -> DryRun:
    asked = query(sql)
    plan = dry_run(asked)
    authorize(asked, plan, tenant, [f"{PROJECT}.{source}" for source in sources])
    return plan


def test_own_tables_may_be_read(costs: str, tenant: str) -> None:
    plan = check(f"SELECT SUM(cost) AS total FROM `{costs}`", tenant)

    assert plan.tables == (f"{PROJECT}.{costs}",)
    assert plan.statement_type == "SELECT"
    assert [(c["name"], c["type"]) for c in plan.schema] == [("total", "NUMERIC")]
    assert plan.maximum_bytes_billed >= BYTES_PER_TABLE


def test_own_dataset_of_a_type_counts_by_its_label_not_its_name(tenant: str) -> None:
    named_like_it = f"{tenant}_gcp_silver_cost"
    tables.ensure_dataset(named_like_it, labels={tables.OWNER_LABEL: "somebody_else"})
    bigquery_client().query_and_wait(f"CREATE TABLE `{named_like_it}.t` (n INT64)")

    with pytest.raises(ForeignTableError):
        check(f"SELECT * FROM `{named_like_it}.t`", tenant)


def test_declared_source_may_be_read_an_undeclared_one_not(export: str, tenant: str) -> None:
    check(f"SELECT * FROM `{export}`", tenant, (export,))

    with pytest.raises(ForeignTableError) as caught:
        check(f"SELECT * FROM `{export}`", tenant)
    assert caught.value.table == f"{PROJECT}.{export}"


def test_table_of_another_tenant_is_refused_even_as_a_declared_source(
    other: str, tenant: str
) -> None:
    for sources in ((), (other,)):
        with pytest.raises(ForeignTableError) as caught:
            check(f"SELECT * FROM `{other}`", tenant, sources)
        assert f"{PROJECT}.{other}" in str(caught.value)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM `{own}` WHERE cost IN (SELECT cost FROM `{other}`)",
        "SELECT a.cost FROM `{own}` AS a JOIN `{other}` AS b ON TRUE",
        "WITH x AS (SELECT * FROM `{other}`) SELECT * FROM x",
        "SELECT cost FROM `{own}` UNION ALL SELECT cost FROM `{other}`",
        "SELECT (SELECT MAX(cost) FROM `{other}`) AS hidden",
        "SELECT EXISTS(SELECT 1 FROM `{other}`) AS hidden",
    ],
)
def test_foreign_table_is_found_wherever_it_stands(
    sql: str, costs: str, other: str, tenant: str
) -> None:
    with pytest.raises(ForeignTableError):
        check(sql.format(own=costs, other=other), tenant)


def test_own_view_over_a_foreign_table_is_refused(other: str, tenant: str) -> None:
    bigquery_client().query_and_wait(
        f"CREATE VIEW `{tenant}.window` AS SELECT * FROM `{PROJECT}.{other}`"
    )

    with pytest.raises(ForeignTableError):
        check(f"SELECT * FROM `{tenant}.window`", tenant)


@pytest.mark.usefixtures("central")
@pytest.mark.parametrize("table", ["tenant_api_keys", "tenant_profiles_log"])
def test_central_tables_of_the_service_are_refused(table: str, tenant: str) -> None:
    with pytest.raises(ForeignTableError, match=f"tenants.{table}"):
        check(f"SELECT * FROM `tenants.{table}`", tenant)


def test_metadata_of_any_dataset_is_refused(costs: str, tenant: str) -> None:
    with pytest.raises(AccessDeniedError):
        check(f"SELECT table_name FROM `{tenant}`.INFORMATION_SCHEMA.TABLES", tenant)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO `{own}` (cost) VALUES (1)",
        "UPDATE `{own}` SET cost = 0 WHERE TRUE",
        "DELETE FROM `{own}` WHERE TRUE",
        MERGE,
        "TRUNCATE TABLE `{own}`",
        "DROP TABLE `{own}`",
        "CREATE TABLE `{own}_2` AS SELECT * FROM `{own}`",
        "SELECT 1; SELECT 2",
        "DECLARE x INT64 DEFAULT 1; SELECT x",
    ],
)
def test_statement_that_does_more_than_read_is_refused_and_not_run(
    sql: str, costs: str, tenant: str
) -> None:
    bigquery_client().query_and_wait(f"INSERT INTO `{costs}` (cost) VALUES (7)")

    with pytest.raises(StatementNotAllowedError):
        check(sql.format(own=costs), tenant)

    rows = bigquery_client().query_and_wait(f"SELECT cost FROM `{costs}`")
    assert [int(row["cost"]) for row in rows] == [7]


def test_table_that_does_not_exist_is_named(tenant: str) -> None:
    with pytest.raises(WarehouseError, match="nobody_made_this"):
        check(f"SELECT * FROM `{tenant}.nobody_made_this`", tenant)


def test_dry_run_runs_nothing_and_leaves_no_job(costs: str, tenant: str, cloud: Cloud) -> None:
    before = {job.job_id for job in bigquery_client().list_jobs()}

    check(f"SELECT * FROM `{costs}`", tenant)

    assert {job.job_id for job in bigquery_client().list_jobs()} == before


def test_owner_is_the_label_of_the_dataset(tenant: str, export: str) -> None:
    assert dataset_owner(f"{PROJECT}.{tenant}") == tenant
    assert dataset_owner(f"{PROJECT}.{export.partition('.')[0]}") is None
    with pytest.raises(WarehouseError):
        dataset_owner(f"{PROJECT}.nobody_made_this")
