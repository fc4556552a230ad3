"""The main job, shown: a local cloud, two tenants, their bills, and a failure that sends a mail.

    python -m infra.local.demo

Everything goes through the front door: HTTPS calls to the gateway, Google's client for looking at
the result. Starts its own stack on free ports and leaves nothing behind.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra.local import running, sample_data
from infra.local.running import RunningStack
from infra.local.service import StartupError

if TYPE_CHECKING:
    from google.cloud.bigquery import Client

DATE = date(2025, 11, 15)
EXPORT_ROWS = 200_000
_FINAL = {"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"}
_RUN_SECONDS = 60.0
_SILVER = "gcp_silver_cost"


@dataclass(frozen=True)
class Tenant:
    """Who is onboarded in the demo."""

    tenant_id: str
    company_name: str
    admin_email: str
    billing_account_ids: tuple[str, ...]


TENANTS = (
    Tenant(
        "acme_corp",
        "ACME Corporation",
        "admin@acmecorp.com",
        ("01A2B3-C4D5E6-F7A8B9", "04D5E6-F7A8B9-C0D1E2"),
    ),
    Tenant("techcorp_99zx4", "TechCorp", "cfo@techcorp.com", ("02B3C4-D5E6F7-A8B9C0",)),
)


class DemoError(Exception):
    """The demo did not show what it promises; the message says what was seen instead."""


class Api:
    """The gateway, as a frontend would use it."""

    def __init__(self, url: str, mailbox_url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60)
        self._mailbox = httpx.Client(base_url=mailbox_url, timeout=10)

    def onboard(self, tenant: Tenant) -> str:
        """The new tenant's API key."""
        answer = self._http.post(
            "/api/v1/tenants/onboard",
            json={
                "tenant_id": tenant.tenant_id,
                "company_name": tenant.company_name,
                "admin_email": tenant.admin_email,
                "subscription_plan": "PROFESSIONAL",
                "billing_account_ids": tenant.billing_account_ids,
            },
        )
        key: str = _checked(answer)["api_key"]
        return key

    def run(self, tenant: Tenant, key: str, **body: Any) -> str:
        """The ID of a new run of `gcp/cost/cost_billing`."""
        answer = self._http.post(
            f"/api/v1/pipelines/run/{tenant.tenant_id}/gcp/cost/cost_billing",
            headers={"X-API-Key": key, "X-User-ID": "demo"},
            json=body,
        )
        run_id: str = _checked(answer)["pipeline_logging_id"]
        return run_id

    def finished(self, run_id: str, key: str) -> dict[str, Any]:
        """The run once it has ended."""
        return _until(lambda: self._ended(run_id, key), f"the end of run {run_id}")

    def _ended(self, run_id: str, key: str) -> dict[str, Any] | None:
        answer = self._http.get(f"/api/v1/pipelines/runs/{run_id}", headers={"X-API-Key": key})
        run = _checked(answer)
        return run if run["status"] in _FINAL else None

    def mail(self, recipient: str, subject_begins: str) -> dict[str, Any]:
        """The newest mail to `recipient`, once it is there."""

        def arrived() -> dict[str, Any] | None:
            messages = self._mailbox.get("/messages", params={"to": recipient}).json()
            found = [m for m in messages if m["subject"].startswith(subject_begins)]
            return found[0] if found else None

        return _until(arrived, f"mail {subject_begins!r} to {recipient}")


def _checked(answer: httpx.Response) -> dict[str, Any]:
    content: dict[str, Any] = answer.json()
    if answer.is_error:
        raise DemoError(f"{answer.request.method} {answer.request.url}: {content.get('detail')}")
    return content


def _until(condition: Any, what: str) -> Any:
    tick = threading.Event()
    deadline = time.monotonic() + _RUN_SECONDS
    while (value := condition()) is None:
        if time.monotonic() > deadline:
            raise DemoError(f"{what} did not come within {_RUN_SECONDS:.0f} s")
        tick.wait(0.05)
    return value


def main() -> int:
    """Show it; 0 when everything was as promised."""
    console = Console()
    began = time.monotonic()
    try:
        with ExitStack() as cleanup:
            _demonstrate(console, cleanup)
    except (DemoError, StartupError) as error:
        console.print(f"[bold red]{error}[/]")
        return 1
    console.print(f"[green]Done[/] in {time.monotonic() - began:.0f} s.")
    return 0


def _demonstrate(console: Console, cleanup: ExitStack) -> None:
    with _task(console, "Starting the local cloud and the functions"):
        here = cleanup.enter_context(running.running())
    _show(console, here)
    with _task(console, "Stopping everything"):
        cleanup.close()


@contextmanager
def _task(console: Console, text: str) -> Iterator[None]:
    began = time.monotonic()
    with console.status(text):
        yield
    console.print(f"[green]✓[/] {text} [dim]{time.monotonic() - began:.1f} s[/]")


def _show(console: Console, here: RunningStack) -> None:
    urls = here.urls
    client = _bigquery_client(urls["bigquery"])
    _load_export(console, client)
    api = Api(urls["gateway"], urls["mailbox"])
    with _task(console, f"Onboarding {' and '.join(t.tenant_id for t in TENANTS)}"):
        keys = {tenant.tenant_id: api.onboard(tenant) for tenant in TENANTS}
    with _task(console, f"Running gcp/cost/cost_billing for {DATE} for both"):
        runs = {t: api.run(t, keys[t.tenant_id], date=DATE.isoformat()) for t in TENANTS}
        for tenant, run_id in runs.items():
            run = api.finished(run_id, keys[tenant.tenant_id])
            if run["status"] != "COMPLETED":
                raise DemoError(
                    f"the run of {tenant.tenant_id} ended {run['status']}: {run['error']}"
                )
    for tenant in TENANTS:
        _show_bill(console, client, tenant)
    _show_isolation(console, client)
    _show_failure(console, api, keys)


def _bigquery_client(url: str) -> "Client":
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    return bigquery.Client(
        project="convergence-local",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": url},
    )


def _load_export(console: Console, client: "Client") -> None:
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,} rows"), TimeElapsedColumn(), console=console,
    ) as progress:  # fmt: skip
        bar = progress.add_task("Loading a Cloud Billing export", total=EXPORT_ROWS)
        sample_data.write(client, on_partition=lambda _, rows: progress.advance(bar, rows))
        progress.update(bar, completed=EXPORT_ROWS)


def _query(client: "Client", sql: str, **values: Any) -> list[Any]:
    from google.cloud import bigquery

    parameters = [
        bigquery.ArrayQueryParameter(name, "STRING", list(value))
        if isinstance(value, tuple)
        else bigquery.ScalarQueryParameter(name, "DATE", value)
        for name, value in values.items()
    ]
    config = bigquery.QueryJobConfig(query_parameters=parameters)
    return list(client.query(sql, job_config=config).result())


def _show_bill(console: Console, client: "Client", tenant: Tenant) -> None:
    path = f"{tenant.tenant_id}_{_SILVER}.billing_cost_daily"
    services = _query(
        client,
        "SELECT service_description AS service, currency, SUM(gross_cost) AS gross,"  # noqa: S608
        f" SUM(credit_total) AS credits, SUM(net_cost) AS net FROM `{path}` WHERE usage_date = @day"
        " GROUP BY service, currency"
        " QUALIFY ROW_NUMBER() OVER (PARTITION BY currency ORDER BY SUM(net_cost) DESC) <= 5"
        " ORDER BY currency, net DESC",
        day=DATE,
    )
    totals = _totals(client, tenant, path)
    table = Table(title=f"{tenant.company_name} ({tenant.tenant_id}), {DATE}", title_justify="left")
    table.add_column("Service")
    for name in ("Gross", "Credits", "Net"):
        table.add_column(name, justify="right")
    table.add_column("Currency")
    for row in services:
        amounts = (f"{amount:,.2f}" for amount in (row.gross, row.credits, row.net))
        table.add_row(row.service, *amounts, row.currency)
    for currency, net in totals.items():
        table.add_section()
        table.add_row("[bold]All services[/]", "", "", f"[bold]{net}[/]", currency)
    console.print(table)
    console.print("[green]✓[/] equal to the export's own sum, to the last digit\n")


def _totals(client: "Client", tenant: Tenant, path: str) -> dict[str, Decimal]:
    """Net cost by currency, once the tenant's table and the export agree."""
    ours = _query(
        client,
        f"SELECT currency, SUM(net_cost) AS net FROM `{path}` WHERE usage_date = @day"  # noqa: S608
        " GROUP BY currency ORDER BY currency",
        day=DATE,
    )
    theirs = _query(
        client,
        "SELECT currency, SUM(CAST(cost AS NUMERIC)) + SUM(IFNULL((SELECT SUM(CAST(c.amount AS"
        " NUMERIC)) FROM UNNEST(credits) AS c), 0)) AS net"
        " FROM `billing_export.gcp_billing_export_v1` WHERE DATE(usage_start_time) = @day"
        " AND billing_account_id IN UNNEST(@accounts) GROUP BY currency ORDER BY currency",
        day=DATE,
        accounts=tenant.billing_account_ids,
    )
    mine = {row.currency: row.net for row in ours}
    control = {row.currency: row.net for row in theirs}
    if not mine or mine != control:
        raise DemoError(f"{tenant.tenant_id}: the table says {mine}, the export {control}")
    return mine


def _show_isolation(console: Console, client: "Client") -> None:
    for tenant in TENANTS:
        path = f"{tenant.tenant_id}_{_SILVER}.billing_cost_daily"
        sql = f"SELECT DISTINCT billing_account_id AS account FROM `{path}`"  # noqa: S608
        accounts = {row.account for row in _query(client, sql)}
        if accounts != set(tenant.billing_account_ids):
            raise DemoError(f"{path} holds accounts {accounts}")
        console.print(
            f"[green]✓[/] {path} holds {', '.join(sorted(accounts))} and no other account"
        )


def _show_failure(console: Console, api: Api, keys: dict[str, str]) -> None:
    tenant, other = TENANTS
    table = f"{other.tenant_id}_{_SILVER}.billing_cost_daily"
    with _task(console, f"{tenant.tenant_id} tries to read {table}"):
        key = keys[tenant.tenant_id]
        run_id = api.run(
            tenant,
            key,
            date=DATE.isoformat(),
            source_billing_table=f"convergence-local.{table}",
        )
        run = api.finished(run_id, key)
        if run["status"] != "FAILED":
            raise DemoError(f"the run ended {run['status']}")
        mail = api.mail(tenant.admin_email, "[ALERT]")
    console.print(
        Panel(f"To: {', '.join(mail['to'])}\nSubject: {mail['subject']}\n\n{mail['text']}".rstrip())
    )


if __name__ == "__main__":
    sys.exit(main())
