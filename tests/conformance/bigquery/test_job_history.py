"""INFORMATION_SCHEMA.JOBS: what every job read, what it cost, whose it was."""

import re
import uuid
from pathlib import Path

import pytest
from google.cloud import bigquery

DOCUMENT = Path(__file__).parents[3] / "docs" / "cost-per-tenant.md"


@pytest.fixture
def table(client: bigquery.Client, dataset: str) -> str:
    name = f"{dataset}.numbers"
    client.query_and_wait(f"CREATE TABLE `{name}` AS SELECT n FROM UNNEST([1, 2, 3]) AS n")
    return name


def row_of(client: bigquery.Client, job_id: str, view: str = "JOBS") -> bigquery.Row:
    config = bigquery.QueryJobConfig(
        query_parameters=[bigquery.ScalarQueryParameter("id", "STRING", job_id)]
    )
    (row,) = client.query(
        f"SELECT * FROM `region-us`.INFORMATION_SCHEMA.{view} WHERE job_id = @id",
        job_config=config,
    ).result()
    return row


@pytest.mark.parametrize("view", ["JOBS", "JOBS_BY_PROJECT", "JOBS_BY_USER"])
def test_a_job_is_a_row_with_its_statistics(client: bigquery.Client, table: str, view: str) -> None:
    config = bigquery.QueryJobConfig(destination=f"{table}_out", labels={"team": "a", "step": "b"})
    job = client.query(f"SELECT n FROM `{table}`", job_config=config)
    job.result()

    row = row_of(client, job.job_id, view)

    assert (row.job_type, row.statement_type, row.state) == ("QUERY", "SELECT", "DONE")
    assert row.query == job.query
    assert row.user_email == job.user_email
    assert row.total_bytes_processed == job.total_bytes_processed == 24
    assert row.total_bytes_billed == job.total_bytes_billed > 0
    assert row.labels == [{"key": "step", "value": "b"}, {"key": "team", "value": "a"}]
    assert row.destination_table == {
        "project_id": client.project, "dataset_id": table.split(".")[-2], "table_id": "numbers_out",
    }  # fmt: skip
    assert [t["table_id"] for t in row.referenced_tables] == ["numbers"]
    assert row.creation_time <= row.start_time <= row.end_time
    assert (row.error_result, row.parent_job_id) == (None, None)


def test_a_failed_job_says_why(client: bigquery.Client) -> None:
    job = client.query("SELECT ERROR('it is broken')")
    assert job.exception() is not None

    row = row_of(client, job.job_id)

    assert row.state == "DONE"
    assert row.error_result["reason"] == "invalidQuery"
    assert "it is broken" in row.error_result["message"]


def test_statements_of_a_script_name_it_as_their_parent(client: bigquery.Client) -> None:
    job = client.query("DECLARE x INT64 DEFAULT 1; SELECT x; SELECT x + 1")
    job.result()

    config = bigquery.QueryJobConfig(
        query_parameters=[bigquery.ScalarQueryParameter("id", "STRING", job.job_id)]
    )
    rows = list(
        client.query(
            "SELECT statement_type FROM `region-us`.INFORMATION_SCHEMA.JOBS"
            " WHERE parent_job_id = @id",
            job_config=config,
        ).result()
    )
    assert [row.statement_type for row in rows] == ["SELECT", "SELECT"]
    assert row_of(client, job.job_id).statement_type == "SCRIPT"


def test_documented_query_tells_the_cost_of_each_tenant(
    client: bigquery.Client, table: str
) -> None:
    prefix = f"t{uuid.uuid4().hex[:8]}"
    for tenant, times in (("one", 2), ("two", 1)):
        labels = {"tenant_id": f"{prefix}_{tenant}", "template": "gcp-cost-cost_billing"}
        for _ in range(times):
            config = bigquery.QueryJobConfig(labels=labels, use_query_cache=False)
            client.query(f"SELECT n FROM `{table}`", job_config=config).result()
    documented = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)

    found = client.query_and_wait(documented[0])

    mine = [tuple(row.values())[:4] for row in found if row.tenant_id.startswith(prefix)]
    ten_mebibytes = 10 * 1024 * 1024
    assert mine == [
        (f"{prefix}_one", "gcp-cost-cost_billing", 2, 2 * ten_mebibytes),
        (f"{prefix}_two", "gcp-cost-cost_billing", 1, ten_mebibytes),
    ]
