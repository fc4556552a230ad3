"""What a system test may do and look at: HTTPS, BigQuery, the mailbox, the topics."""

import uuid
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import httpx
from google.cloud import bigquery, pubsub_v1

from infra.local.running import RunningStack
from tests.waiting import wait_until

PROJECT = "convergence-local"
DAY = date(2025, 11, 15)
ACCOUNTS = ("01A2B3-C4D5E6-F7A8B9", "02B3C4-D5E6F7-A8B9C0", "03C4D5-E6F7A8-B9C0D1")
FINAL = {"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"}
ADMIN_KEY = "local-admin-key"


@dataclass
class Tenant:
    """A tenant and its key, as a frontend knows them."""

    tenant_id: str
    api_key: str
    admin_email: str

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-Key": self.api_key, "X-User-ID": "tester"}


@dataclass
class World:
    """Everything a test may look at."""

    stack: RunningStack
    http: httpx.Client
    mailbox: httpx.Client
    bigquery: bigquery.Client
    publisher: pubsub_v1.PublisherClient
    certificate: Path
    """Key and certificate of an HTTPS server at 127.0.0.1 that notifications trust."""

    def onboard(self, **body: Any) -> Tenant:
        """A fresh tenant; its accounts are its own only where the test asks for some."""
        tenant_id = body.pop("tenant_id", f"t_{uuid.uuid4().hex[:12]}")
        admin_email = body.pop("admin_email", f"{tenant_id}@example.com")
        content = {"tenant_id": tenant_id, "admin_email": admin_email, **body}
        answer = self.http.post("/api/v1/tenants/onboard", json=content)
        assert answer.status_code == 201, answer.text
        return Tenant(tenant_id, answer.json()["api_key"], admin_email)

    def start(self, tenant: Tenant, template: str = "gcp/cost/cost_billing", **body: Any) -> str:
        """The ID of a run that was accepted."""
        answer = self.request_run(tenant, template, **body)
        assert answer.status_code == 202, answer.text
        run_id: str = answer.json()["pipeline_logging_id"]
        return run_id

    def request_run(
        self, tenant: Tenant, template: str = "gcp/cost/cost_billing", **body: Any
    ) -> httpx.Response:
        path = f"/api/v1/pipelines/run/{tenant.tenant_id}/{template}"
        return self.http.post(path, headers=tenant.headers, json={"date": str(DAY), **body})

    def status(self, tenant: Tenant, run_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/api/v1/pipelines/runs/{run_id}", headers=tenant.headers)
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    def finished(self, tenant: Tenant, run_id: str, timeout: float = 120) -> dict[str, Any]:
        """The run once it has ended; it may not be in the log yet."""
        path = f"/api/v1/pipelines/runs/{run_id}"

        def ended() -> dict[str, Any] | None:
            answer = self.http.get(path, headers=tenant.headers)
            assert answer.status_code in {200, 404}, answer.text
            run: dict[str, Any] = answer.json()
            return run if run["status"] in FINAL else None

        found = wait_until(ended, timeout=timeout, message=f"the end of run {run_id}", every=0.1)
        assert found is not None
        return found

    def mails(self, to: str) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = self.mailbox.get("/messages", params={"to": to}).json()
        return content

    def query(self, sql: str, **parameters: Any) -> list[Any]:
        config = bigquery.QueryJobConfig(
            query_parameters=[
                bigquery.ArrayQueryParameter(name, "STRING", value)
                if isinstance(value, list)
                else bigquery.ScalarQueryParameter(
                    name, "DATE" if isinstance(value, date) else "STRING", value
                )
                for name, value in parameters.items()
            ]
        )
        return list(self.bigquery.query(sql, job_config=config).result())

    def publish(self, topic: str, data: bytes, **attributes: str) -> None:
        path = self.publisher.topic_path(PROJECT, topic)
        self.publisher.publish(path, data, **attributes).result(timeout=10)
