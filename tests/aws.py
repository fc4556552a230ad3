"""AWS for tests: moto's server as a process, accounts of their own, credentials, exports."""

import io
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import boto3
import httpx
import pyarrow as pa
import pyarrow.parquet as pq

_READY = re.compile(r"aws ready on (\S+):(\d+)")
EXTERNAL_ID = "external-id-7f3b9c"


@contextmanager
def aws_server() -> Iterator[str]:
    """The URL of a server with nothing in it."""
    with subprocess.Popen(
        [sys.executable, "-m", "infra.local", "aws", "--port", "0", "--ephemeral"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            found = _READY.search(process.stdout.readline())
            assert found, "the server did not start"
            yield f"http://{found[1]}:{found[2]}"
        finally:
            process.terminate()
            process.wait(timeout=10)


@dataclass(frozen=True)
class Account:
    """An AWS account of a test."""

    url: str
    account_id: str

    @classmethod
    def new(cls, url: str) -> "Account":
        """An account that no other test uses."""
        return cls(url, str(random.randrange(10**11, 10**12)))

    @property
    def role(self) -> dict[str, Any]:
        """A credential: a role of the account."""
        return self.role_for("acme_corp")

    def role_for(self, tenant_id: str) -> dict[str, Any]:
        """The role, trusting the service in the tenant's name."""
        role = f"arn:aws:iam::{self.account_id}:role/CostReader"
        return {"role_arn": role, "external_id": f"{tenant_id}:{EXTERNAL_ID}"}

    def answer_costs(self, *pages: Mapping[str, Any]) -> None:
        """Let Cost Explorer answer the account's next new questions with these pages."""
        body = {"account_id": self.account_id, "results": list(pages)}
        path = "/moto-api/static/ce/cost-and-usage-results"
        httpx.post(f"{self.url}{path}", json=body, timeout=30).raise_for_status()

    def s3(self) -> Any:
        """S3 as the account's own user sees it."""
        keys = {"aws_access_key_id": "AKIATESTTESTTESTTEST", "aws_secret_access_key": "t" * 40}
        sts = boto3.client("sts", "us-east-1", endpoint_url=self.url, **keys)
        found = sts.assume_role(RoleArn=self.role["role_arn"], RoleSessionName="test")
        return boto3.client(
            "s3",
            "us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=found["Credentials"]["AccessKeyId"],
            aws_secret_access_key=found["Credentials"]["SecretAccessKey"],
            aws_session_token=found["Credentials"]["SessionToken"],
        )


def a_group(*keys: str, **amounts: str) -> dict[str, Any]:
    """A group of an answer; metrics by keyword, quantities without a currency."""
    metrics = {
        name: {"Amount": amount, "Unit": "N/A" if name == "UsageQuantity" else "USD"}
        for name, amount in amounts.items()
    }
    return {"Keys": list(keys), "Metrics": metrics}


def a_day(day: date, *groups: Mapping[str, Any], estimated: bool = False) -> dict[str, Any]:
    """A day of an answer."""
    return {
        "TimePeriod": {"Start": str(day), "End": str(day + timedelta(days=1))},
        "Total": {},
        "Groups": list(groups),
        "Estimated": estimated,
    }


def a_page(*days: Mapping[str, Any], token: str | None = None, **more: Any) -> dict[str, Any]:
    """A page of an answer, with a token where another one follows."""
    page = {"ResultsByTime": list(days), "DimensionValueAttributes": [], **more}
    return page | ({"NextPageToken": token} if token else {})


CUR_SCHEMA = pa.schema(
    [
        ("bill_billing_period_start_date", pa.timestamp("ms")),
        ("bill_billing_period_end_date", pa.timestamp("ms")),
        ("bill_payer_account_id", pa.string()),
        ("discount", pa.map_(pa.string(), pa.float64())),
        ("identity_line_item_id", pa.string()),
        ("line_item_currency_code", pa.string()),
        ("line_item_line_item_type", pa.string()),
        ("line_item_product_code", pa.string()),
        ("line_item_unblended_cost", pa.float64()),
        ("line_item_unblended_rate", pa.string()),
        ("line_item_usage_account_id", pa.string()),
        ("line_item_usage_amount", pa.float64()),
        ("line_item_usage_start_date", pa.timestamp("ms")),
        ("product", pa.map_(pa.string(), pa.string())),
        ("resource_tags", pa.map_(pa.string(), pa.string())),
    ]
)
"""A selection of CUR 2.0, in the types that AWS's Parquet files have."""


def cur_rows(period: date, count: int, *, seed: int = 1) -> pa.Table:
    """Line items of a month: usage, a tax without a resource, amounts of ten decimals."""
    chance = random.Random(f"{period}-{seed}")
    start = datetime(period.year, period.month, 1)  # noqa: DTZ001 - Parquet has no zone
    end = (start + timedelta(days=32)).replace(day=1)
    rows = [
        {
            "bill_billing_period_start_date": start,
            "bill_billing_period_end_date": end,
            "bill_payer_account_id": "111122223333",
            "discount": [("EDP", -0.25)] if number % 7 == 0 else None,
            "identity_line_item_id": f"item-{seed}-{number}",
            "line_item_currency_code": "USD",
            "line_item_line_item_type": "Tax" if number % 50 == 0 else "Usage",
            "line_item_product_code": chance.choice(["AmazonEC2", "AmazonS3", "AWSLambda"]),
            "line_item_unblended_cost": round(chance.random() / 1000, 10),
            "line_item_unblended_rate": "0.0000166667",
            "line_item_usage_account_id": "444455556666",
            "line_item_usage_amount": round(chance.random() * 100, 6),
            "line_item_usage_start_date": start + timedelta(hours=number % 672),
            "product": [("product_name", "Amazon"), ("region", "eu-central-1")],
            "resource_tags": [("user_team", "blue")] if number % 2 else [],
        }
        for number in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=CUR_SCHEMA)


def parquet(table: pa.Table, row_group_size: int = 500) -> bytes:
    """The table as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=row_group_size)
    return sink.getvalue()


@dataclass
class Export:
    """A Data Export of an account, delivered to S3 as AWS does."""

    account: Account
    bucket: str
    name: str = "daily-cur"
    prefix: str = "exports/cur"

    def __post_init__(self) -> None:
        self.s3 = self.account.s3()
        self.s3.create_bucket(Bucket=self.bucket)

    def data_key(self, period: date, number: int, execution: str = "") -> str:
        """Key of a data file; with an execution, in the mode "create new"."""
        folder = f"{self.prefix}/{self.name}/data/BILLING_PERIOD={period:%Y-%m}"
        return "/".join(
            part for part in (folder, execution, f"{self.name}-{number:05}.snappy.parquet") if part
        )

    def manifest_key(self, period: date, execution: str = "") -> str:
        """Key of the manifest, or of an execution's own copy of it."""
        folder = f"{self.prefix}/{self.name}/metadata/BILLING_PERIOD={period:%Y-%m}"
        return "/".join(part for part in (folder, execution, f"{self.name}-Manifest.json") if part)

    def deliver(
        self, period: date, tables: Sequence[pa.Table | bytes], execution: str = ""
    ) -> None:
        """Write the files, then the manifest that names them."""
        keys = []
        for number, table in enumerate(tables, start=1):
            content = table if isinstance(table, bytes) else parquet(table)
            keys.append(self.data_key(period, number, execution))
            self.s3.put_object(Bucket=self.bucket, Key=keys[-1], Body=content)
        self.announce(period, keys, execution)

    def announce(self, period: date, keys: Sequence[str], execution: str = "") -> None:
        """Write the manifest."""
        manifest = json.dumps(
            {
                "exportName": self.name,
                "executionId": execution or "overwrite",
                "billingPeriod": {"start": str(period), "end": str(period)},
                "createdAt": datetime.now(UTC).isoformat(),
                "dataFiles": [f"s3://{self.bucket}/{key}" for key in keys],
            }
        )
        for copy in {"", execution}:
            key = self.manifest_key(period, copy)
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=manifest.encode())
