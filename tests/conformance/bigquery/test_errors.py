"""Errors as Google's client raises them, and faults that tests ask for."""

import gzip
import json
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from google.api_core import exceptions
from google.cloud import bigquery

from tests.conformance.bigquery.servers import Server, client_of

OwnServer = Callable[[Path | None], Server]


@pytest.fixture
def own(own_server: OwnServer) -> Iterator[tuple[bigquery.Client, httpx.Client]]:
    """A server whose faults and counters no other test sees."""
    url = own_server(None).url
    with httpx.Client(base_url=url) as http:
        yield client_of(url), http


def test_unknown_routes_answer_googles_json(http: httpx.Client) -> None:
    for verb, path in (
        ("GET", "/"),
        ("GET", "/bigquery/v2/projects/p/models"),
        ("POST", "/bigquery/v2/projects/p/datasets/d"),
        ("DELETE", "/bigquery/v2/projects/p/datasets"),
    ):
        answer = http.request(verb, path)
        assert answer.status_code == 404
        error = answer.json()["error"]
        assert (error["code"], error["status"]) == (404, "NOT_FOUND")
        assert error["errors"][0]["reason"] == "notFound"


def test_broken_json_is_a_parse_error(http: httpx.Client) -> None:
    for content in (b"{", b"[]", b"\xff"):
        answer = http.post("/bigquery/v2/projects/p/jobs", content=content)
        assert answer.status_code == 400
        assert answer.json()["error"]["errors"][0]["reason"] == "parseError"


def test_gzipped_bodies_are_read(http: httpx.Client) -> None:
    name = f"zipped_{uuid.uuid4().hex}"
    body = gzip.compress(json.dumps({"datasetReference": {"datasetId": name}}).encode())
    path = "/bigquery/v2/projects/convergence-local/datasets"
    answer = http.post(path, content=body, headers={"content-encoding": "gzip"})
    assert answer.status_code == 200
    assert answer.json()["datasetReference"]["datasetId"] == name
    broken = http.post(path, content=b"no gzip", headers={"content-encoding": "gzip"})
    assert broken.status_code == 400


def test_job_error_has_reason_message_and_location(client: bigquery.Client) -> None:
    job = client.query("SELECT nonsense")
    with pytest.raises(exceptions.BadRequest) as refused:
        job.result()
    assert job.error_result["reason"] == "invalidQuery"
    assert job.error_result["location"] == "query"
    assert "nonsense" in job.error_result["message"]
    assert job.errors[0] == job.error_result
    assert "nonsense" in refused.value.message


def test_missing_table_of_a_query_is_not_found(client: bigquery.Client, dataset: str) -> None:
    sql = f"SELECT * FROM `{dataset}.absent`"
    with pytest.raises(exceptions.NotFound, match="Not found: Table"):
        client.query(sql).result()
    with pytest.raises(exceptions.NotFound, match="Not found: Table"):
        client.query_and_wait(sql)


def test_failed_jobs_query_is_an_http_error(http: httpx.Client) -> None:
    answer = http.post(
        "/bigquery/v2/projects/convergence-local/queries",
        json={"query": "SELECT nonsense", "useLegacySql": False},
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["errors"][0]["reason"] == "invalidQuery"


def test_legacy_sql_is_refused_in_words(client: bigquery.Client) -> None:
    config = bigquery.QueryJobConfig(use_legacy_sql=True)
    with pytest.raises(exceptions.BadRequest, match="legacy SQL"):
        client.query("SELECT 1", job_config=config)


# --- faults and counters


def test_fault_meets_the_next_calls_only(own: tuple[bigquery.Client, httpx.Client]) -> None:
    client, http = own
    client.create_dataset("d")
    http.post(
        "/_local/faults",
        json={"method": "datasets.get", "times": 2, "status": 403, "reason": "accessDenied"},
    )
    for _ in range(2):
        with pytest.raises(exceptions.Forbidden) as refused:
            client.get_dataset("d")
        assert refused.value.errors[0]["reason"] == "accessDenied"
    assert client.get_dataset("d").dataset_id == "d"


def test_client_retries_a_passing_fault(own: tuple[bigquery.Client, httpx.Client]) -> None:
    client, http = own
    client.create_dataset("d")
    http.post("/_local/faults", json={"method": "datasets.get", "times": 1, "status": 503})
    assert client.get_dataset("d").dataset_id == "d"
    assert http.get("/_local/calls").json()["datasets.get"] == 2


def test_faults_are_cleared(own: tuple[bigquery.Client, httpx.Client]) -> None:
    client, http = own
    client.create_dataset("d")
    fault = {"method": "datasets.get", "times": 9, "status": 500, "reason": "internalError"}
    assert http.post("/_local/faults", json=fault).status_code == 200
    assert http.delete("/_local/faults").status_code == 204
    assert client.get_dataset("d", retry=None).dataset_id == "d"


def test_fault_can_delay(own: tuple[bigquery.Client, httpx.Client]) -> None:
    client, http = own
    client.create_dataset("d")
    http.post("/_local/faults", json={"method": "datasets.get", "delay_seconds": 0.5})
    started = time.monotonic()
    client.get_dataset("d")
    assert time.monotonic() - started >= 0.5


def test_fault_can_lose_the_answer_only(own: tuple[bigquery.Client, httpx.Client]) -> None:
    client, http = own
    client.create_dataset("d")
    name = f"{client.project}.d.t"
    client.create_table(bigquery.Table(name, [bigquery.SchemaField("x", "INTEGER")]))
    fault = {"method": "jobs.insert", "status": 503, "after": True}
    http.post("/_local/faults", json=fault)
    job_id = uuid.uuid4().hex
    with pytest.raises(exceptions.Conflict):  # the client's own retry meets its first attempt
        client.query(f"INSERT INTO `{name}` VALUES (1)", job_id=job_id, job_retry=None)
    assert client.get_job(job_id).result() is not None
    assert client.get_table(name).num_rows == 1


def test_fault_can_end_a_job(own: tuple[bigquery.Client, httpx.Client]) -> None:
    client, http = own
    message = "Resources exceeded during query execution: Too many DML statements outstanding"
    fault = {"method": "jobs.run", "status": 400, "reason": "resourcesExceeded", "message": message}
    http.post("/_local/faults", json=fault)
    job = client.query("SELECT 1")
    with pytest.raises(exceptions.GoogleAPICallError, match="Too many DML statements"):
        job.result()
    assert client.get_job(job.job_id).error_result["reason"] == "resourcesExceeded"
    assert len(list(client.query("SELECT 1").result())) == 1


def test_wrong_fault_is_refused(own: tuple[bigquery.Client, httpx.Client]) -> None:
    _, http = own
    for fault in ({"metod": "x"}, {"method": "x", "times": "many"}, {"times": 1}):
        assert http.post("/_local/faults", json=fault).status_code == 400


def test_calls_and_mutations_are_counted(own: tuple[bigquery.Client, httpx.Client]) -> None:
    client, http = own
    client.create_dataset("d")
    name = f"{client.project}.d.t"
    client.create_table(bigquery.Table(name, [bigquery.SchemaField("x", "INTEGER")]))
    http.delete("/_local/calls")
    client.insert_rows_json(name, [{"x": 1}])
    client.query(f"INSERT INTO `{name}` VALUES (2)").result()
    client.query(f"UPDATE `{name}` SET x = 3 WHERE TRUE").result()
    client.query(f"DELETE FROM `{name}` WHERE x = 9; DELETE FROM `{name}` WHERE x = 8;").result()
    counted = http.get("/_local/calls").json()
    assert counted["tabledata.insertAll"] == 1
    assert counted["jobs.insert"] == 3
    assert counted["dml"] == {name: 3}


# --- starting


def _start(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra.local", "bigquery", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_port_in_use_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = _start("--port", str(port), "--ephemeral")
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1
    assert str(port) in ended.stderr


@pytest.mark.parametrize("file", ["bigquery.duckdb", "jobs.sqlite"])
def test_corrupt_state_is_one_line(own_server: OwnServer, tmp_path: Path, file: str) -> None:
    state = tmp_path / "state"
    client = client_of((server := own_server(state)).url)
    client.create_dataset("d")
    client.query("SELECT 1").result()
    assert server.stop() == 0
    path = state / file
    path.write_bytes(b"not a database" + path.read_bytes()[14:4096][::-1])
    for other in state.glob("*wal*"):
        other.unlink()
    ended = _start("--port", "0", "--state", str(state))
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1
    assert file in ended.stderr


def test_state_in_use_is_one_line(own_server: OwnServer, tmp_path: Path) -> None:
    own_server(tmp_path / "state")
    ended = _start("--port", "0", "--state", str(tmp_path / "state"))
    assert ended.returncode == 1
    assert "in use by another process" in ended.stderr
