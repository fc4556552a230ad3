"""Limits that Google documents, as this server holds them."""

import json
import uuid

import httpx
import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField

MEBIBYTE = 1024 * 1024


@pytest.fixture
def table(client: bigquery.Client, dataset: str) -> bigquery.Table:
    return client.create_table(
        bigquery.Table(f"{dataset}.t", [SchemaField("x", "INTEGER"), SchemaField("s", "STRING")])
    )


def _insert_all(http: httpx.Client, table: bigquery.Table, body: object) -> httpx.Response:
    path = (
        f"/bigquery/v2/projects/{table.project}/datasets/{table.dataset_id}/tables/{table.table_id}"
    )
    return http.post(f"{path}/insertAll", content=json.dumps(body))


def test_fifty_thousand_rows_a_request(
    client: bigquery.Client, http: httpx.Client, table: bigquery.Table
) -> None:
    rows = [{"json": {"x": number}} for number in range(50_000)]
    assert _insert_all(http, table, {"rows": rows}).status_code == 200
    refused = _insert_all(http, table, {"rows": [*rows, {"json": {"x": 1}}]})
    assert refused.status_code == 400
    assert "50000" in refused.json()["error"]["message"]
    assert client.get_table(table).num_rows == 50_000


def test_ten_megabytes_a_request(http: httpx.Client, table: bigquery.Table) -> None:
    refused = _insert_all(http, table, {"rows": [{"json": {"s": "x" * (10 * MEBIBYTE)}}]})
    assert refused.status_code == 413
    assert refused.json()["error"]["errors"][0]["reason"] == "invalid"


def test_no_rows_are_refused(client: bigquery.Client, table: bigquery.Table) -> None:
    with pytest.raises(exceptions.BadRequest, match="No rows present"):
        client.insert_rows_json(table, [])


def test_insert_id_is_at_most_128_characters(
    client: bigquery.Client, table: bigquery.Table
) -> None:
    assert client.insert_rows_json(table, [{"x": 1}], row_ids=["i" * 128]) == []
    errors = client.insert_rows_json(table, [{"x": 1}], row_ids=["i" * 129])
    assert "128" in errors[0]["errors"][0]["message"]


def test_sixty_four_labels(client: bigquery.Client, dataset: str) -> None:
    found = client.get_dataset(dataset)
    found.labels = {f"k{number}": "v" for number in range(64)}
    client.update_dataset(found, ["labels"])
    found = client.get_dataset(dataset)
    found.labels["one-more"] = "v"
    with pytest.raises(exceptions.BadRequest, match="Too many labels"):
        client.update_dataset(found, ["labels"])


def test_request_id_is_at_most_36_characters(http: httpx.Client) -> None:
    answer = http.post(
        "/bigquery/v2/projects/convergence-local/queries",
        json={"query": "SELECT 1", "useLegacySql": False, "requestId": "r" * 37},
    )
    assert answer.status_code == 400


def test_query_over_its_byte_limit_is_refused_before_it_runs(
    client: bigquery.Client, table: bigquery.Table
) -> None:
    client.insert_rows_json(table, [{"x": 1}])
    config = bigquery.QueryJobConfig(maximum_bytes_billed=1_000_000)
    name = f"{table.project}.{table.dataset_id}.{table.table_id}"
    job = client.query(
        f"DELETE FROM `{name}` WHERE x = 1",
        job_config=config,
        job_id=uuid.uuid4().hex,
        job_retry=None,
    )
    with pytest.raises(exceptions.InternalServerError, match="10485760 or higher required"):
        job.result()
    assert job.error_result["reason"] == "bytesBilledLimitExceeded"
    assert client.get_table(table).num_rows == 1
    enough = bigquery.QueryJobConfig(maximum_bytes_billed=10 * MEBIBYTE)
    assert len(list(client.query(f"SELECT * FROM `{name}`", job_config=enough).result())) == 1


def test_wide_page_is_cut_at_its_bytes(client: bigquery.Client, table: bigquery.Table) -> None:
    for _ in range(4):
        rows = [{"x": number, "s": "y" * 500_000} for number in range(10)]
        assert client.insert_rows_json(table, rows) == []
    pages = list(client.list_rows(table).pages)
    assert len(pages) > 1
    assert sum(page.num_items for page in pages) == 40
