"""Throughput of an authenticated `GET .../quota` beside a bare function with the same query.

The reference is a functions-framework function that runs the very query of the route with Google's
client and answers its row: no routing, no key, no limits, no log. One process each, 16 requests at
a time, rounds in turn. Limit: half of the reference.

    python benchmarks/quota_throughput.py
"""

import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from benchmarks._cloud import local_cloud
from infra.local.processes import reserve_port
from tests.api_processes import a_customer, api_processes
from tests.waiting import wait_until

CONCURRENCY = 16
SECONDS = 3.0
ROUNDS = 5
LIMIT = 0.5
BARE = """
import os
from functools import cache

import flask
import functions_framework


@cache
def client():
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    made = bigquery.Client(os.environ["GCP_PROJECT_ID"], AnonymousCredentials(), location="US")
    from requests.adapters import HTTPAdapter

    made._http.mount("http://", HTTPAdapter(pool_maxsize=80))
    return made


@functions_framework.http
def bare(request):
    from datetime import UTC, datetime, timedelta

    from google.cloud import bigquery

    now = datetime.now(UTC)
    scalar, array = bigquery.ScalarQueryParameter, bigquery.ArrayQueryParameter
    parameters = [
        scalar("tenant_id", "STRING", os.environ["TENANT"]),
        scalar("since", "DATE", now.date().replace(day=1)),
        scalar("today", "DATE", now.date()),
        scalar("month", "DATE", now.date().replace(day=1)),
        scalar("now", "TIMESTAMP", now),
        scalar("settled_before", "TIMESTAMP", now - timedelta(minutes=10)),
        array("run_ids", "STRING", []),
    ]
    config = bigquery.QueryJobConfig(query_parameters=parameters)
    rows = client().query_and_wait(os.environ["SQL"], job_config=config)
    return flask.jsonify(dict(next(iter(rows)).items()))
"""


def throughput(port: int, path: str, headers: dict[str, str]) -> float:
    """Answers a second."""
    until = time.perf_counter() + SECONDS

    def ask(_: int) -> int:
        answered = 0
        while time.perf_counter() < until:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                body = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path} answered {answer.status}: {body.decode()[:300]}")
            answered += 1
        return answered

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        return sum(pool.map(ask, range(CONCURRENCY))) / SECONDS


def bare_function(folder: Path, port: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    (folder / "main.py").write_text(BARE, encoding="utf-8")
    return subprocess.Popen(
        [
            str(Path(sys.executable).with_name("functions-framework")),
            *("--target", "bare", "--source", str(folder / "main.py"), "--signature-type", "http"),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
        env={"PATH": os.environ["PATH"], "THREADS": "80", **environment},
        stderr=subprocess.DEVNULL,
    )


def answers(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/robots.txt")
            return connection.getresponse().status > 0
    except OSError:
        return False


def main() -> int:
    from shared.tenancy import quota

    samples: dict[str, list[float]] = {"bare": [], "quota": []}
    rates = {f"RATE_LIMIT_{name}": "1000000/minute" for name in ("ENDPOINT", "GLOBAL")}
    with local_cloud() as environment, tempfile.TemporaryDirectory() as directory:
        customer = a_customer(6, 180, 3)
        path = f"/api/v1/tenants/{customer.tenant_id}/quota"
        with (
            api_processes(1, {**environment, **rates}) as (api,),
            closing(reserve_port("127.0.0.1", 0)) as reserved,
        ):
            port = reserved.getsockname()[1]
            facts = {"SQL": quota._USAGE, "TENANT": customer.tenant_id}
            bare = bare_function(Path(directory), port, environment | facts)
            try:
                wait_until(lambda: answers(port), timeout=30, message="the bare function")
                throughput(port, "/", {})
                throughput(api.port, path, customer.headers)
                for _ in range(ROUNDS):
                    samples["bare"].append(throughput(port, "/", {}))
                    samples["quota"].append(throughput(api.port, path, customer.headers))
            finally:
                bare.terminate()
                bare.wait(timeout=10)
    ratios = [ours / theirs for ours, theirs in zip(samples["quota"], samples["bare"], strict=True)]
    ratio = statistics.median(ratios)
    print(f"bare function   {statistics.median(samples['bare']):6.0f} answers/s")
    print(f"GET .../quota   {statistics.median(samples['quota']):6.0f} answers/s", end="")
    print(f"  ratio {ratio:.2f}  (limit {LIMIT})")
    return 1 if ratio < LIMIT else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
