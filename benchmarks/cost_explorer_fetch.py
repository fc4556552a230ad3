"""10,000 groups from Cost Explorer into a day of a table, beside bare boto3 and a load job.

    python benchmarks/cost_explorer_fetch.py

- Bare: `get_cost_and_usage` page after page, the groups as a Parquet file, one load job of Google's
  client into the partition. Nothing is checked, and nothing keeps a repetition from loading twice.
- The step: `aws.cost_explorer` as an executor runs it, at most 1.3 times that, with the tenant's
  credential opened, its role assumed, every field checked and the table compared with its schema.

Both ask the same server, a process of its own, for the same pages, and load into the same local
BigQuery. Interleaved rounds in one process, medians; exits 1 over the limit.
"""

import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
from google.cloud import bigquery

from benchmarks._cloud import PROJECT, local_cloud
from shared.clients import bigquery_client
from shared.processors.aws.cost_explorer import CostExplorer, CostExplorerConfig
from shared.tenancy import credentials
from shared.tenancy.credential_content import Content
from shared.tenancy.credential_models import parse
from shared.warehouse import tables
from shared.warehouse.schemas import load_folder
from tests.runs import a_context, a_run

DAY = date(2025, 11, 15)
GROUPS, PAGE = 10_000, 500
ROUNDS = 7
LIMIT = 1.3
TENANT = "bench_aws"
REQUEST: dict[str, Any] = {
    "TimePeriod": {"Start": str(DAY), "End": str(DAY + timedelta(days=1))},
    "Granularity": "DAILY",
    "Metrics": ["UnblendedCost"],
    "GroupBy": [
        {"Type": "DIMENSION", "Key": "LINKED_ACCOUNT"},
        {"Type": "DIMENSION", "Key": "SERVICE"},
    ],
}
SERVER = f"""
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def page(first):
    groups = [
        {{"Keys": [f"{{n % 40:012}}", f"Amazon Service {{n}}"],
          "Metrics": {{"UnblendedCost": {{"Amount": f"{{n}}.{{n:010}}", "Unit": "USD"}}}}}}
        for n in range(first, first + {PAGE})
    ]
    body = {{"ResultsByTime": [{{"TimePeriod": {REQUEST["TimePeriod"]!r}, "Total": {{}},
             "Groups": groups, "Estimated": True}}], "DimensionValueAttributes": []}}
    if first + {PAGE} < {GROUPS}:
        body["NextPageToken"] = str(first + {PAGE})
    return json.dumps(body).encode()

PAGES = {{first: page(first) for first in range(0, {GROUPS}, {PAGE})}}
ROLE = b'''<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>ASIABENCHBENCHBENCHB</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
<SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleResult></AssumeRoleResponse>'''

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_json = body.startswith(b"{{")
        found = PAGES[int(json.loads(body).get("NextPageToken") or 0)] if is_json else ROLE
        self.send_response(200)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)
    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@contextmanager
def aws() -> Iterator[None]:
    """STS and Cost Explorer, named by the environment."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{int(process.stdout.readline())}"
        try:
            yield
        finally:
            process.terminate()


@cache
def cost_explorer() -> Any:
    """A client that is made once."""
    return boto3.client("ce", "us-east-1", aws_access_key_id="AKIABENCH", aws_secret_access_key="s")


def bare(number: int) -> int:
    """boto3 and Google's client, nothing between."""
    client = cost_explorer()
    groups, token = [], None
    while True:
        page = client.get_cost_and_usage(**REQUEST, **({"NextPageToken": token} if token else {}))
        groups += page["ResultsByTime"][0]["Groups"]
        token = page.get("NextPageToken")
        if not token:
            break
    table = pa.table(
        {
            "usage_date": pa.array([DAY] * len(groups), pa.date32()),
            "linked_account": [group["Keys"][0] for group in groups],
            "service": [group["Keys"][1] for group in groups],
            "unblended_cost": pa.array(
                [Decimal(group["Metrics"]["UnblendedCost"]["Amount"]) for group in groups],
                pa.decimal128(38, 18),
            ),
            "currency": [group["Metrics"]["UnblendedCost"]["Unit"] for group in groups],
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file)
    size = file.tell()
    file.seek(0)
    job = bigquery_client().load_table_from_file(
        file,
        f"{PROJECT}.{TENANT}.bare${DAY:%Y%m%d}",
        size=size,
        job_id=f"bare-{number}",
        job_config=bigquery.LoadJobConfig(
            source_format="PARQUET",
            write_disposition="WRITE_TRUNCATE_DATA",
            create_disposition="CREATE_NEVER",
        ),
    )
    job.result()
    return int(job.output_rows or 0)


def step(_: int) -> int:
    """The step of a run of its own."""
    config = CostExplorerConfig.model_validate(
        {
            "source": {
                "group_by": [{"dimension": "LINKED_ACCOUNT"}, {"dimension": "SERVICE"}],
            },
            "destination": {
                "table": "cost_explorer_daily",
                "schema_template": "aws/cost_explorer_daily",
            },
        }
    )
    context = a_context(a_run(TENANT, date=DAY), deadline=datetime.now(UTC) + timedelta(minutes=5))
    return CostExplorer().run(config, context).rows_processed


def prepared() -> None:
    tables.ensure_dataset(TENANT, labels={tables.OWNER_LABEL: TENANT})
    tables.ensure(TENANT, load_folder("tenant"))
    bigquery_client().query_and_wait(
        f"CREATE TABLE `{TENANT}.bare` (usage_date DATE, linked_account STRING, service STRING,"
        " unblended_cost BIGNUMERIC, currency STRING) PARTITION BY usage_date"
    )
    role = {"role_arn": "arn:aws:iam::123456789012:role/CostReader", "external_id": "bench"}
    credentials.store(TENANT, Content("AWS", "b", True, parse("AWS", role)), stored_by="bench")


def main() -> int:
    os.environ["STEP_FAMILY"] = "aws"
    secret = f"projects/{PROJECT}/secrets/aws-identity/versions/latest"
    os.environ["AWS_IDENTITY_SECRET"] = secret
    works = {"boto3 and a load job": bare, "aws.cost_explorer": step}
    with local_cloud(), aws():
        prepared()
        times: dict[str, list[float]] = {name: [] for name in works}
        for number in range(ROUNDS + 1):
            for name, work in works.items():
                began = time.perf_counter()
                loaded = work(number)
                if number:  # the first round imports and connects
                    times[name].append(time.perf_counter() - began)
                assert loaded == GROUPS, (name, loaded)
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, median in medians.items():
        print(f"{name:22} {median * 1000:7.0f} ms for {GROUPS:,} groups in {GROUPS // PAGE} pages")
    ratio = medians["aws.cost_explorer"] / medians["boto3 and a load job"]
    print(f"{'ratio':22} {ratio:7.2f} (limit {LIMIT})")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
