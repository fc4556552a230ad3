"""Jobs through Google's client: IDs, states, results, cancelling, listing, restarts."""

import concurrent.futures
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery import QueryJobConfig, SchemaField

from tests.conformance.bigquery.servers import Server, client_of
from tests.waiting import wait_until

OwnServer = Callable[[Path | None], Server]
# Some 10^10 rows: minutes of work, ended by cancelling.
ENDLESS = (
    "SELECT SUM(MOD(a * b, 7)) FROM UNNEST(GENERATE_ARRAY(1, 100000)) AS a,"
    " UNNEST(GENERATE_ARRAY(1, 100000)) AS b"
)


def _id() -> str:
    return f"job-{uuid.uuid4().hex}"


def _table(client: bigquery.Client, dataset: str, rows: int = 0) -> str:
    name = f"{dataset}.t"
    client.create_table(bigquery.Table(name, [SchemaField("x", "INTEGER")]))
    if rows:
        client.insert_rows_json(name, [{"x": number} for number in range(rows)])
    return name


# --- used IDs


def test_second_job_with_a_used_id_conflicts_and_runs_nothing(
    client: bigquery.Client, dataset: str
) -> None:
    table = _table(client, dataset)
    job_id = _id()
    client.query(f"INSERT INTO `{table}` VALUES (1)", job_id=job_id, job_retry=None).result()
    with pytest.raises(exceptions.Conflict) as refused:
        client.query(f"INSERT INTO `{table}` VALUES (2)", job_id=job_id, job_retry=None)
    expected = f"Already Exists: Job {client.project}:US.{job_id}"
    assert refused.value.errors[0]["reason"] == "duplicate"
    assert expected in refused.value.errors[0]["message"]
    assert [row["x"] for row in client.list_rows(table)] == [1]


def test_id_of_a_failed_job_is_used_too(client: bigquery.Client) -> None:
    job_id = _id()
    with pytest.raises(exceptions.BadRequest):
        client.query("SELECT nonsense", job_id=job_id, job_retry=None).result()
    with pytest.raises(exceptions.Conflict):
        client.query("SELECT 1", job_id=job_id, job_retry=None)
    assert client.get_job(job_id).error_result["reason"] == "invalidQuery"


def test_id_is_used_for_every_location(client: bigquery.Client) -> None:
    job_id = _id()
    client.query("SELECT 1", job_id=job_id, location="US", job_retry=None).result()
    with pytest.raises(exceptions.Conflict):
        client.query("SELECT 1", job_id=job_id, location="EU", job_retry=None)


def test_one_of_fifty_concurrent_inserts_wins(client: bigquery.Client, dataset: str) -> None:
    table = _table(client, dataset)
    job_id = _id()
    ready = threading.Barrier(50)

    def insert(number: int) -> int | None:
        ready.wait()
        try:
            client.query(
                f"INSERT INTO `{table}` VALUES ({number})", job_id=job_id, job_retry=None
            ).result()
        except exceptions.Conflict:
            return None
        return number

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        winners = [number for number in pool.map(insert, range(50)) if number is not None]
    assert len(winners) == 1
    assert [row["x"] for row in client.list_rows(table)] == winners


@pytest.mark.parametrize("job_id", ["with space", "with.dot", "x" * 1025, "ü"])
def test_ids_that_bigquery_refuses(client: bigquery.Client, job_id: str) -> None:
    with pytest.raises(exceptions.BadRequest, match="Invalid job ID"):
        client.query("SELECT 1", job_id=job_id, job_retry=None)


def test_refused_configuration_uses_no_id(client: bigquery.Client) -> None:
    job_id = _id()
    with pytest.raises(exceptions.BadRequest, match="Label"):
        client.query(
            "SELECT 1",
            job_id=job_id,
            job_retry=None,
            job_config=QueryJobConfig(labels={"Bad": "x"}),
        )
    client.query("SELECT 1", job_id=job_id, job_retry=None).result()


def test_job_is_found_in_its_location_only(client: bigquery.Client) -> None:
    job_id = client.query("SELECT 1").job_id
    assert client.get_job(job_id).job_id == job_id
    assert client.get_job(job_id, location="US").location == "US"
    with pytest.raises(exceptions.NotFound) as refused:
        client.get_job(job_id, location="EU")
    assert f"Not found: Job {client.project}:EU.{job_id}" in refused.value.message
    with pytest.raises(exceptions.NotFound):
        client.get_job(_id())


# --- results


def test_job_reports_what_it_did(client: bigquery.Client, dataset: str) -> None:
    table = _table(client, dataset, rows=3)
    job = client.query(
        f"SELECT x FROM `{table}` ORDER BY x", job_config=QueryJobConfig(labels={"owner": "me"})
    )
    assert [row["x"] for row in job.result()] == [0, 1, 2]
    job = client.get_job(job.job_id)
    assert job.state == "DONE"
    assert job.labels == {"owner": "me"}
    assert job.statement_type == "SELECT"
    assert job.created <= job.started <= job.ended
    assert job.cache_hit is False
    assert job.total_bytes_processed == 24
    assert job.total_bytes_billed == 10 * 1024 * 1024
    assert [str(name) for name in job.referenced_tables] == [table]
    assert job.slot_millis is not None
    assert job.error_result is None
    assert job.user_email
    assert job.query == f"SELECT x FROM `{table}` ORDER BY x"


def test_query_without_tables_bills_nothing(client: bigquery.Client) -> None:
    job = client.query("SELECT 1")
    job.result()
    assert (job.total_bytes_processed, job.total_bytes_billed) == (0, 0)


def test_rows_are_in_the_jobs_anonymous_table(client: bigquery.Client) -> None:
    job = client.query("SELECT 1 AS a UNION ALL SELECT 2 ORDER BY a")
    job.result()
    assert job.destination.dataset_id.startswith("_")
    table = client.get_table(job.destination)
    assert table.num_rows == 2
    assert [row["a"] for row in client.list_rows(table)] == [1, 2]


def test_results_page(client: bigquery.Client) -> None:
    sql = "SELECT x FROM UNNEST(GENERATE_ARRAY(1, 25)) AS x ORDER BY x"
    job = client.query(sql)
    result = job.result(page_size=10)
    assert [page.num_items for page in result.pages] == [10, 10, 5]
    assert result.total_rows == 25
    assert [row["x"] for row in job.result(max_results=3)] == [1, 2, 3]
    later = client.get_job(job.job_id).result(start_index=20)
    assert [row["x"] for row in later] == list(range(21, 26))
    assert [row["x"] for row in client.query_and_wait(sql, page_size=4)] == list(range(1, 26))
    assert [row["x"] for row in client.query_and_wait(sql, max_results=4)] == [1, 2, 3, 4]


def test_rows_of_a_destination_are_read_from_it(client: bigquery.Client, dataset: str) -> None:
    table = bigquery.Table(f"{dataset}.t", [SchemaField("x", "INTEGER")])
    table.time_partitioning = bigquery.TimePartitioning()
    client.create_table(table)
    for day, value in (("20251114", 1), ("20251115", 2)):
        config = QueryJobConfig(
            destination=f"{dataset}.t${day}", write_disposition="WRITE_TRUNCATE_DATA"
        )
        job = client.query(f"SELECT {value} AS x", job_config=config)
        assert [row["x"] for row in job.result()] == [value]
        assert job.query_plan[-1].records_written == 1
    assert client.get_table(table).num_rows == 2


def test_results_of_a_missing_job_are_not_found(http: httpx.Client) -> None:
    answer = http.get("/bigquery/v2/projects/convergence-local/queries/absent")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "Not found: Job convergence-local:absent"


def test_dml_reports_rows_and_returns_none(client: bigquery.Client, dataset: str) -> None:
    table = _table(client, dataset, rows=3)
    job = client.query(f"UPDATE `{table}` SET x = x + 10 WHERE x > 0")
    assert list(job.result()) == []
    assert job.num_dml_affected_rows == 2
    assert job.dml_stats.updated_row_count == 2
    rows = client.query_and_wait(f"DELETE FROM `{table}` WHERE TRUE")
    assert rows.num_dml_affected_rows == 3


def test_dry_run_runs_and_keeps_nothing(client: bigquery.Client, dataset: str) -> None:
    table = _table(client, dataset, rows=2)
    job = client.query(f"DELETE FROM `{table}` WHERE TRUE", job_config=QueryJobConfig(dry_run=True))
    assert (job.state, job.statement_type) == ("DONE", "DELETE")
    assert client.get_table(table).num_rows == 2
    with pytest.raises(exceptions.NotFound):
        client.get_job(job.job_id)

    job = client.query(
        f"SELECT x AS renamed FROM `{table}` WHERE x > @least",
        job_config=QueryJobConfig(dry_run=True, use_query_cache=False),
    )
    assert [(field.name, field.field_type) for field in job.schema] == [("renamed", "INTEGER")]
    assert [str(name) for name in job.referenced_tables] == [table]
    assert job.total_bytes_processed == 16
    assert [parameter.name for parameter in job.undeclared_query_parameters] == ["least"]
    with pytest.raises(exceptions.BadRequest):
        client.query("SELECT nonsense", job_config=QueryJobConfig(dry_run=True))


def test_script_has_one_child_for_each_statement(client: bigquery.Client, dataset: str) -> None:
    table = _table(client, dataset)
    job = client.query(
        f"INSERT INTO `{table}` VALUES (1), (2); SELECT SUM(x) AS total FROM `{table}`;"
    )
    assert [row["total"] for row in job.result()] == [3]
    job.reload()
    assert job.statement_type == "SCRIPT"
    assert job.num_child_jobs == 2
    children = list(client.list_jobs(parent_job=job.job_id))
    assert sorted(child.statement_type for child in children) == ["INSERT", "SELECT"]
    assert {child.parent_job_id for child in children} == {job.job_id}
    assert job.job_id not in {child.job_id for child in children}


# --- cancelling


def test_cancelled_query_stops(client: bigquery.Client) -> None:
    job = client.query(ENDLESS)
    wait_until(lambda: client.get_job(job.job_id).state == "RUNNING", message="the job runs")
    started = time.monotonic()
    assert client.cancel_job(job.job_id).job_id == job.job_id
    wait_until(lambda: client.get_job(job.job_id).state == "DONE", message="the job has ended")
    assert time.monotonic() - started < 30
    assert client.get_job(job.job_id).error_result["reason"] == "stopped"
    with pytest.raises(exceptions.GoogleAPICallError, match="cancel"):
        job.result()


def test_cancelling_a_finished_job_changes_nothing(client: bigquery.Client) -> None:
    job = client.query("SELECT 1 AS a")
    job.result()
    client.cancel_job(job.job_id)
    assert client.get_job(job.job_id).error_result is None
    with pytest.raises(exceptions.NotFound):
        client.cancel_job(_id())


def test_job_over_its_time_is_stopped(client: bigquery.Client) -> None:
    job = client.query(ENDLESS, job_config=QueryJobConfig(job_timeout_ms=300))
    wait_until(lambda: client.get_job(job.job_id).state == "DONE", message="the job has ended")
    error = client.get_job(job.job_id).error_result
    assert error["reason"] == "stopped"
    assert "timed out" in error["message"]


def test_waiting_gives_up_after_its_timeout(http: httpx.Client, client: bigquery.Client) -> None:
    job = client.query(ENDLESS)
    path = f"/bigquery/v2/projects/{client.project}/queries/{job.job_id}"
    answer = http.get(path, params={"timeoutMs": "100"}).json()
    assert answer["jobComplete"] is False
    assert "rows" not in answer
    client.cancel_job(job.job_id)


# --- listing and deleting


def test_listing_filters_and_pages(own_server: OwnServer) -> None:
    client = client_of(own_server(None).url)
    done = [client.query(f"SELECT {number}") for number in range(4)]
    for job in done:
        job.result()
    running = client.query(ENDLESS)
    expected = {job.job_id for job in done}

    assert {job.job_id for job in client.list_jobs(state_filter="done")} == expected
    wait_until(
        lambda: (
            [job.job_id for job in client.list_jobs(state_filter="running")] == [running.job_id]
        ),
        message="the running job is listed",
    )
    assert {job.job_id for job in client.list_jobs()} == {*expected, running.job_id}
    assert len(list(client.list_jobs(max_results=2))) == 2
    pages = list(client.list_jobs(page_size=2, state_filter="done").pages)
    assert [page.num_items for page in pages] == [2, 2]
    newest = next(iter(client.list_jobs(all_users=True)))
    assert newest.created == max(job.created for job in client.list_jobs())
    cutoff = client.get_job(running.job_id).created
    assert running.job_id in {job.job_id for job in client.list_jobs(min_creation_time=cutoff)}
    client.cancel_job(running.job_id)


def test_deleted_metadata_is_gone_but_the_id_stays_used(client: bigquery.Client) -> None:
    job = client.query("SELECT 1")
    job.result()
    client.delete_job_metadata(job.job_id, location=job.location)
    with pytest.raises(exceptions.NotFound):
        client.get_job(job.job_id)
    with pytest.raises(exceptions.Conflict):
        client.query("SELECT 1", job_id=job.job_id, job_retry=None)


# --- jobs.query


def _post_query(http: httpx.Client, **body: object) -> httpx.Response:
    return http.post(
        "/bigquery/v2/projects/convergence-local/queries", json={"useLegacySql": False, **body}
    )


def test_client_may_query_by_either_method(client: bigquery.Client) -> None:
    for method in ("INSERT", "QUERY"):
        job = client.query("SELECT 1 AS a", api_method=method)
        assert [row["a"] for row in job.result()] == [1]
        assert client.get_job(job.job_id).state == "DONE"
        with pytest.raises(exceptions.BadRequest):
            client.query("SELECT nonsense", api_method=method).result()


def test_same_request_id_runs_once(
    http: httpx.Client, client: bigquery.Client, dataset: str
) -> None:
    table = _table(client, dataset)
    body = {"query": f"INSERT INTO `{table}` VALUES (1)", "requestId": uuid.uuid4().hex}
    first, second = _post_query(http, **body), _post_query(http, **body)
    assert first.json()["jobReference"] == second.json()["jobReference"]
    assert client.get_table(table).num_rows == 1
    other = _post_query(http, **{**body, "query": f"INSERT INTO `{table}` VALUES (2)"})
    assert other.json()["jobReference"] != first.json()["jobReference"]


def test_short_query_answers_rows_at_once(http: httpx.Client) -> None:
    answer = _post_query(http, query="SELECT 1 AS a", maxResults=10).json()
    assert answer["jobComplete"] is True
    assert answer["rows"] == [{"f": [{"v": "1"}]}]
    assert (answer["totalRows"], answer["totalBytesProcessed"]) == ("1", "0")
    assert answer["schema"]["fields"][0]["type"] == "INTEGER"


def test_query_dry_run_has_schema_and_bytes(
    http: httpx.Client, client: bigquery.Client, dataset: str
) -> None:
    table = _table(client, dataset, rows=3)
    answer = _post_query(http, query=f"SELECT x FROM `{table}`", dryRun=True).json()
    assert answer["totalBytesProcessed"] == "24"
    assert answer["schema"]["fields"][0]["name"] == "x"
    assert "rows" not in answer


def test_copy_takes_rows_and_partitioning(client: bigquery.Client, dataset: str) -> None:
    source = bigquery.Table(f"{dataset}.s", [SchemaField("day", "DATE")])
    source.time_partitioning = bigquery.TimePartitioning(field="day")
    client.create_table(source)
    client.insert_rows_json(source, [{"day": "2025-11-15"}, {"day": "2025-11-16"}])
    client.copy_table(source, f"{dataset}.c").result()
    copied = client.get_table(f"{dataset}.c")
    assert (copied.num_rows, copied.time_partitioning.field) == (2, "day")
    with pytest.raises(exceptions.Conflict):
        client.copy_table(source, f"{dataset}.c").result()
    config = bigquery.CopyJobConfig(write_disposition="WRITE_APPEND")
    client.copy_table(source, f"{dataset}.c", job_config=config).result()
    assert client.get_table(f"{dataset}.c").num_rows == 4


def test_extract_is_refused_in_words(client: bigquery.Client, dataset: str) -> None:
    table = _table(client, dataset)
    with pytest.raises(exceptions.BadRequest, match="not supported by the local BigQuery"):
        client.extract_table(table, "gs://bucket/file")


# --- restarts


def test_everything_committed_survives_kill_9(own_server: OwnServer, tmp_path: Path) -> None:
    state = tmp_path / "state"
    server = own_server(state)
    client = client_of(server.url)
    dataset = bigquery.Dataset(f"{client.project}.kept")
    dataset.labels = {"a": "b"}
    client.create_dataset(dataset)
    client.create_dataset("gone")
    client.delete_dataset("gone")
    table = _table(client, f"{client.project}.kept", rows=5)
    view = bigquery.Table(f"{client.project}.kept.v")
    view.view_query = f"SELECT SUM(x) AS total FROM `{table}`"
    client.create_table(view)
    good, bad = _id(), _id()
    client.query(f"INSERT INTO `{table}` VALUES (100)", job_id=good, job_retry=None).result()
    with pytest.raises(exceptions.BadRequest):
        client.query("SELECT nonsense", job_id=bad, job_retry=None).result()
    changed = client.get_table(table)
    changed.schema = [*changed.schema, SchemaField("y", "STRING")]
    client.update_table(changed, ["schema"])
    interrupted = client.query(ENDLESS).job_id
    server.kill()

    client = client_of(own_server(state).url)

    assert client.get_dataset("kept").labels == {"a": "b"}
    assert [item.dataset_id for item in client.list_datasets()] == ["kept"]
    assert [field.name for field in client.get_table(table).schema] == ["x", "y"]
    rows = client.query_and_wait(f"SELECT total FROM `{client.project}.kept.v`")
    assert [row["total"] for row in rows] == [110]
    for job_id in (good, bad, interrupted):
        with pytest.raises(exceptions.Conflict):
            client.query("SELECT 1", job_id=job_id, job_retry=None)
    assert client.get_job(good).num_dml_affected_rows == 1
    assert client.get_job(bad).error_result["reason"] == "invalidQuery"
    assert client.get_job(interrupted).error_result["reason"] == "backendError"
    client.insert_rows_json(table, [{"x": 1, "y": "new"}])
    assert client.get_table(table).num_rows == 7


def test_acknowledged_rows_survive_kill_9_under_load(own_server: OwnServer, tmp_path: Path) -> None:
    state = tmp_path / "state"
    server = own_server(state)
    client = client_of(server.url)
    client.create_dataset("d")
    table = _table(client, f"{client.project}.d")
    acknowledged: list[int] = []
    enough = threading.Event()

    def write(worker: int) -> None:
        mine = client_of(server.url)
        for number in range(10_000):
            value = worker * 10_000 + number
            try:
                mine.query(
                    f"INSERT INTO `{table}` VALUES ({value})", retry=None, job_retry=None
                ).result(retry=None)
            except Exception:  # noqa: BLE001 - the server dies under us
                return
            acknowledged.append(value)
            if len(acknowledged) > 60:
                enough.set()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    assert enough.wait(30)
    server.kill()
    for writer in writers:
        writer.join()

    client = client_of(own_server(state).url)

    found = [row["x"] for row in client.list_rows(table)]
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)


def test_stop_is_clean_and_quick(own_server: OwnServer, tmp_path: Path) -> None:
    server = own_server(tmp_path / "state")
    client = client_of(server.url)
    client.create_dataset("kept")
    client.query(ENDLESS)
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 30
    client = client_of(own_server(tmp_path / "state").url)
    assert client.get_dataset("kept").dataset_id == "kept"
