"""Azure for tests: credentials, subscriptions with their costs, exports."""

import csv
import io
import json
import random
import ssl
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.credential_samples import azure_secret


@dataclass(frozen=True)
class Subscription:
    """A subscription that no other test uses, at the local Azure."""

    url: str
    subscription_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def credential(self) -> dict[str, Any]:
        """An application that may read its costs."""
        return azure_secret(subscription_id=self.subscription_id)

    @property
    def scope(self) -> str:
        """As the Query API names it."""
        return f"subscriptions/{self.subscription_id}"

    def costs_are(self, *costs: Mapping[str, Any], page_size: int = 1000) -> None:
        """Let Cost Management know these costs, and no others."""
        body = {"scope": self.scope, "costs": list(costs), "page_size": page_size}
        httpx.post(f"{self.url}/_local/costs", json=body, timeout=30).raise_for_status()


def a_cost(day: date, service: str, cost: str, **more: Any) -> dict[str, Any]:
    """A cost of a day; amounts as text, so that no digit is lost."""
    return {
        "UsageDate": str(day),
        "ServiceName": service,
        "ResourceGroupName": "rg-shop",
        "Currency": "EUR",
        "Cost": cost,
        "CostUSD": cost,
        **more,
    }


def a_page(rows: Sequence[Sequence[Any]] | None, **changes: Any) -> dict[str, Any]:
    """A page of an answer about cost by resource group and service, as Azure writes it."""
    columns = [
        {"name": "Cost", "type": "Number"},
        {"name": "UsageDate", "type": "Number"},
        {"name": "ResourceGroupName", "type": "String"},
        {"name": "ServiceName", "type": "String"},
        {"name": "Currency", "type": "String"},
    ]
    properties = {"nextLink": None, "columns": columns, "rows": rows, **changes}
    return {
        "id": "subscriptions/1/providers/Microsoft.CostManagement/query/2",
        "name": "2",
        "type": "Microsoft.CostManagement/query",
        "location": None,
        "sku": None,
        "eTag": None,
        "properties": properties,
    }


def focus_rows(period: date, count: int, *, seed: int = 1) -> list[dict[str, Any]]:
    """Line items of a month in FOCUS, as Azure's CSV writes them: every value a text."""
    chance = random.Random(f"{period}-{seed}")
    start = f"{period}T00:00Z"
    after = (period + timedelta(days=32)).replace(day=1)
    rows = []
    for number in range(count):
        day = period + timedelta(days=number % 28)
        cost = f"{chance.random() / 1000:.17f}"
        rows.append(
            {
                "BilledCost": "1E-05" if number == 0 else cost,
                "BillingAccountId": "/providers/Microsoft.Billing/billingAccounts/8611537",
                "BillingCurrency": "EUR" if number % 5 else "USD",
                "BillingPeriodEnd": f"{after}T00:00Z",
                "BillingPeriodStart": start,
                "ChargeCategory": "Usage" if number % 9 else "Purchase",
                "ChargeDescription": 'a "quoted",\nbroken description' if number == 1 else "",
                "ChargePeriodEnd": f"{day + timedelta(days=1)}T00:00Z",
                "ChargePeriodStart": f"{day}T00:00Z",
                "EffectiveCost": cost,
                "PricingQuantity": str(number),
                "ResourceId": f"/subscriptions/s/resourceGroups/rg/providers/vm-{seed}-{number}",
                "ServiceName": chance.choice(["Virtual Machines", "Storage Accounts"]),
                "SubAccountId": "/subscriptions/64e355d7-997c-491d-b0c1-8414dccfcf42",
                "Tags": '{"team":"blue"}' if number % 2 else "",
                "x_ServicePeriodStart": "",
                "x_SkuIsCreditEligible": "True",
            }
        )
    return rows


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The rows as Azure's CSV, which begins with a byte order mark."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig")


def as_parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The rows as Parquet, in row groups of 100: amounts decimals, times and a flag as such."""
    columns: dict[str, Any] = {}
    for name in rows[0]:
        texts = pa.array([row[name] or None for row in rows], pa.string())
        if name.endswith("Cost") or name == "PricingQuantity":
            columns[name] = texts.cast(pa.decimal128(38, 18))
        elif name.endswith(("Start", "End")):
            columns[name] = pc.replace_substring(texts, "Z", "").cast(pa.timestamp("ms"))
        else:
            columns[name] = texts.cast(pa.bool_()) if name == "x_SkuIsCreditEligible" else texts
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, row_group_size=100)
    return sink.getvalue()


@dataclass(frozen=True)
class Export:
    """An export into a container of its own, written to Azurite as Cost Management does."""

    environment: Mapping[str, str] = field(repr=False)
    """Of the local cloud."""
    account: str = "devstoreaccount1"
    container: str = field(default_factory=lambda: f"exports-{uuid.uuid4().hex[:12]}")
    directory: str = "focus/cost"
    name: str = "daily-focus"

    @property
    def source(self) -> dict[str, str]:
        """As a step of azure.cost_export has it."""
        return {
            "account": self.account,
            "container": self.container,
            "directory": self.directory,
            "export": self.name,
        }

    def folder(self, period: date, run: str) -> str:
        """Where a run's files are."""
        last = (period + timedelta(days=32)).replace(day=1) - timedelta(days=1)
        days = f"{period:%Y%m%d}-{last:%Y%m%d}"
        return f"{self.directory}/{self.name}/{days}/202511160215/{run}"

    def put(self, name: str, content: bytes) -> None:
        """Write a blob; its container is made with the first one."""
        blob = f"{self.container}/{name}"
        answer = self._put(blob, content=content, headers={"x-ms-blob-type": "BlockBlob"})
        if answer.status_code == 404:
            self._put(self.container, params={"restype": "container"}).raise_for_status()
            answer = self._put(blob, content=content, headers={"x-ms-blob-type": "BlockBlob"})
        answer.raise_for_status()

    def _put(self, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> Any:
        return httpx.put(
            f"{self.environment['AZURE_BLOB_URL'].format(account=self.account)}/{path}",
            headers={**self._authorization, "x-ms-version": "2023-11-03", **(headers or {})},
            verify=self._trusted,
            timeout=60,
            **more,
        )

    @cached_property
    def _trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.environment["REQUESTS_CA_BUNDLE"])

    @cached_property
    def _authorization(self) -> dict[str, str]:
        """A token of an application that may write."""
        answer = httpx.post(
            f"{self.environment['AZURE_AUTHORITY_URL']}/writer/oauth2/v2.0/token",
            data={
                "grant_type": "client_credentials",
                "client_id": "writer",
                "client_secret": "secret",
                "scope": "https://storage.azure.com/.default",
            },
            timeout=30,
        )
        return {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}

    def deliver(
        self, period: date, files: Mapping[str, tuple[bytes, int]], run: str = "run-1"
    ) -> None:
        """Write files with so many rows each, then the manifest that names them."""
        folder = self.folder(period, run)
        for name, (content, _) in files.items():
            self.put(f"{folder}/{name}", content)
        self.announce(
            period,
            [
                {"blobName": f"{folder}/{name}", "byteCount": len(content), "dataRowCount": rows}
                for name, (content, rows) in files.items()
            ],
            run,
        )

    def announce(self, period: date, blobs: Any, run: str = "run-1") -> None:
        """Write the manifest."""
        manifest = {
            "manifestVersion": "2024-04-01",
            "blobCount": len(blobs or ()),
            "exportConfig": {"exportName": self.name, "type": "FocusCost", "dataVersion": "1.0"},
            "deliveryConfig": {"partitionData": True, "fileFormat": "Csv"},
            "runInfo": {"executionType": "Scheduled", "runId": run, "startDate": f"{period}T00:00"},
            "blobs": blobs,
        }
        self.put(f"{self.folder(period, run)}/manifest.json", json.dumps(manifest).encode())
