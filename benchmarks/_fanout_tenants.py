"""Many onboarded tenants on a local stack, all with one schedule.

One tenant is onboarded by the API, gets its schedule from the API and runs the pipeline once. All
others are made alike: its datasets, tables and views through `datasets.insert` and `tables.insert`,
its rows in the central logs through load jobs.
"""

import asyncio
import io
import json
import shutil
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import yaml
from google.cloud import bigquery

from infra.local.running import RunningStack
from tests.waiting import wait_until

PROJECT = "convergence-local"
ADMIN = {"X-Admin-Key": "local-admin-key"}
MODEL = "fanout_model"
TEMPLATE = ("gcp", "bench", "fanout")
SOURCE = "fanout_source.costs"
COST = Decimal("12.34")
CONFIGS_LOG = "tenants.tenant_pipeline_configs_log"
_AT_ONCE = 24
_TRIES = 3
_SERVER_FIELDS = ("etag", "id", "selfLink", "creationTime", "lastModifiedTime", "numRows",
                  "numBytes", "numLongTermBytes", "numTotalLogicalBytes",
                  "numActiveLogicalBytes", "kind", "location", "type")  # fmt: skip
_REPOSITORY = Path(__file__).resolve().parents[1]
Tick = Callable[[], None]


def bench_topology(directory: Path, *, backoff_seconds: tuple[float, float] | None = None) -> Path:
    """The deployed topology with the benchmark's template, its jobs paused.

    Args:
        directory: to write it to.
        backoff_seconds: shortest and longest pause before a message comes again, if others.
    """
    configs = directory / "configs"
    shutil.copytree(_REPOSITORY / "configs", configs)
    template = configs.joinpath(*TEMPLATE).with_suffix(".yml")
    template.parent.mkdir(parents=True)
    shutil.copy(_REPOSITORY / "benchmarks" / "data" / "fanout.yml", template)
    content = yaml.safe_load((_REPOSITORY / "infra" / "topology.yaml").read_text("utf-8"))
    content["environment"]["CONFIGS_DIR"] = str(configs)
    content["environment"]["LOG_LEVEL"] = "WARNING"
    content["local"]["pause_scheduler_jobs"] = True
    if backoff_seconds:
        for subscription in content["subscriptions"].values():
            subscription["minimum_backoff_seconds"] = backoff_seconds[0]
            subscription["maximum_backoff_seconds"] = backoff_seconds[1]
            if "dead_letter_topic" in subscription:
                subscription["max_delivery_attempts"] = 100  # which the short pauses use up sooner
    path = directory / "topology.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def tenant_ids(count: int) -> list[str]:
    return [f"fanout_{number:06d}" for number in range(count)]


def account_of(tenant_id: str) -> str:
    """The one billing account of a tenant."""
    return f"{int(tenant_id.rpartition('_')[2]):06X}-FA4007-000000"


def yesterday() -> date:
    """The day that a scheduled run of today processes."""
    return datetime.now(UTC).date() - timedelta(days=1)


DAYS = (yesterday(), yesterday() - timedelta(days=1), yesterday() + timedelta(days=1))
"""Of which every tenant has a cost: a run of the last hours may be one of yesterday."""


@dataclass
class Tenants:
    """The tenants of a stack, and how to arm their schedules."""

    stack: RunningStack
    client: bigquery.Client
    http: httpx.Client
    plan: str = "STARTER"

    def onboard_model(self) -> None:
        """The tenant that all others are made from, after one run of the pipeline."""
        self.client.create_dataset(SOURCE.partition(".")[0])
        rows = [{"account": "FFFFFF-FA4007-000000", **_cost(day)} for day in DAYS]
        self._load(SOURCE, rows, _source_schema())
        body = {
            "tenant_id": MODEL,
            "admin_email": "model@example.com",
            "subscription_plan": self.plan,
            "billing_account_ids": ["FFFFFF-FA4007-000000"],
        }
        answer = self.http.post("/api/v1/tenants/onboard", json=body, headers=ADMIN)
        key = {"X-API-Key": _ok(answer)["api_key"], "X-User-ID": "bench"}
        schedule = {
            "provider": TEMPLATE[0],
            "domain": TEMPLATE[1],
            "pipeline_template": TEMPLATE[2],
            "schedule_cron": "0 2 * * *",
        }
        path = f"/api/v1/scheduler/customer/{MODEL}/pipelines"
        _ok(wait_until(lambda: _if_ready(self.http.post(path, json=schedule, headers=key))))
        run = self.http.post(
            f"/api/v1/pipelines/run/{MODEL}/{'/'.join(TEMPLATE)}",
            json={"date": yesterday().isoformat()},
            headers=key,
        )
        status = f"/api/v1/pipelines/runs/{_ok(run)['pipeline_logging_id']}"

        def ended() -> dict[str, Any] | None:
            found = self.http.get(status, headers=key).json()
            return found if found.get("status") in {"COMPLETED", "FAILED"} else None

        ended_run = wait_until(ended, timeout=120, message="the model's run")
        if not ended_run or ended_run["status"] != "COMPLETED":
            raise SystemExit(f"the model's run did not complete: {ended_run}")

    def make(self, ids: list[str], tick: Tick) -> None:
        """Make tenants alike; `tick` is called for each."""
        asyncio.run(_make_datasets(self.stack.urls["bigquery"], self._resources(), ids, tick))
        self.enter(ids)
        self.spend(ids, DAYS)

    def enter(self, ids: list[str]) -> None:
        """Have tenants in the central tables only: enough for their schedules to be due."""
        for log in ("tenants.tenant_profiles_log", "tenants.tenant_subscriptions_log"):
            known = self._latest(log)
            self._load(log, (_for_tenant(known, tenant_id) for tenant_id in ids))

    def spend(self, ids: Iterable[str], days: Iterable[date]) -> None:
        """Let each tenant have one cost of each day."""
        self._load(
            SOURCE,
            ({"account": account_of(one), **_cost(day)} for day in days for one in ids),
        )

    def arm(self, ids: list[str], moment: datetime, **changes: Any) -> None:
        """Give each tenant a schedule that is due at `moment` and at that time of every day.

        `changes` are columns of it.
        """
        known = self._latest(CONFIGS_LOG)
        known |= {
            "schedule_cron": f"{moment.minute} {moment.hour} * * *",
            "next_run_time": moment.isoformat(),
            "recorded_at": datetime.now(UTC).isoformat(),
            **changes,
        }
        self._load(CONFIGS_LOG, (_for_tenant(known, tenant_id) for tenant_id in ids))

    def disarm(self) -> None:
        """As if no tenant but the model had ever had a schedule."""
        for log in (CONFIGS_LOG, "tenants.scheduled_pipeline_runs_log"):
            self.client.query(f"DELETE FROM `{log}` WHERE tenant_id != '{MODEL}'").result()

    def _latest(self, log: str) -> dict[str, Any]:
        sql = f"SELECT TO_JSON_STRING(t) AS row FROM `{log}` AS t WHERE tenant_id = '{MODEL}'"
        found = [json.loads(row.row) for row in self.client.query_and_wait(sql)]
        return max(found, key=lambda row: row["recorded_at"])

    def _resources(self) -> list[tuple[str, str]]:
        """(path, body) of the calls that make the model's datasets, with the model's name."""
        calls = []
        prefix = f"/bigquery/v2/projects/{PROJECT}/datasets"
        with httpx.Client(base_url=self.stack.urls["bigquery"], timeout=60) as http:
            for name in [dataset.dataset_id for dataset in self.client.list_datasets()]:
                if name != MODEL and not name.startswith(f"{MODEL}_"):
                    continue
                calls.append((prefix, _body(http.get(f"{prefix}/{name}").json())))
                tables = http.get(f"{prefix}/{name}/tables").json()["tables"]
                # Tables before the views over them.
                for table in sorted(tables, key=lambda table: table["type"]):
                    path = f"{prefix}/{name}/tables"
                    found = http.get(f"{path}/{table['tableReference']['tableId']}").json()
                    calls.append((path, _body(found)))
        return calls

    def _load(
        self,
        table: str,
        rows: Iterable[dict[str, Any]],
        config: bigquery.LoadJobConfig | None = None,
    ) -> None:
        lines = "\n".join(json.dumps(row) for row in rows).encode()
        job_config = config or bigquery.LoadJobConfig(
            source_format="NEWLINE_DELIMITED_JSON",
            schema=self.client.get_table(f"{PROJECT}.{table}").schema,
        )
        self.client.load_table_from_file(
            io.BytesIO(lines), f"{PROJECT}.{table}", job_config=job_config, size=len(lines)
        ).result()


def _cost(day: date) -> dict[str, Any]:
    return {"service": "Compute Engine", "cost": str(COST), "usage_date": day.isoformat()}


def _source_schema() -> bigquery.LoadJobConfig:
    columns = {"account": "STRING", "service": "STRING", "cost": "NUMERIC", "usage_date": "DATE"}
    return bigquery.LoadJobConfig(
        source_format="NEWLINE_DELIMITED_JSON",
        schema=[bigquery.SchemaField(name, kind) for name, kind in columns.items()],
        time_partitioning=bigquery.TimePartitioning(field="usage_date"),
    )


def _for_tenant(row: dict[str, Any], tenant_id: str) -> dict[str, Any]:
    """A row of the model as the tenant's own."""
    made = {key: _renamed(value, tenant_id) for key, value in row.items() if value is not None}
    for key in ("config_id", "subscription_id"):
        if key in made:
            made[key] = str(uuid.uuid4())
    if "billing_account_ids" in made:
        made["billing_account_ids"] = [account_of(tenant_id)]
    return made


def _renamed(value: Any, tenant_id: str) -> Any:
    return value.replace(MODEL, tenant_id) if isinstance(value, str) else value


def _body(resource: dict[str, Any]) -> str:
    kept = {key: value for key, value in resource.items() if key not in _SERVER_FIELDS}
    if "view" in kept:
        kept.pop("schema", None)
    return json.dumps(kept)


async def _make_datasets(
    url: str, calls: list[tuple[str, str]], ids: list[str], tick: Tick
) -> None:
    waiting = iter(ids)
    limits = httpx.Limits(max_connections=_AT_ONCE)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=120) as http:

        async def work() -> None:
            for tenant_id in waiting:
                for path, body in calls:
                    await _post(http, path.replace(MODEL, tenant_id), body, tenant_id)
                tick()

        workers: list[Awaitable[None]] = [work() for _ in range(_AT_ONCE)]
        await asyncio.gather(*workers)


async def _post(http: httpx.AsyncClient, path: str, body: str, tenant_id: str) -> None:
    """Make one thing; a connection that was closed in between is no reason to give up."""
    made = {200}
    for _ in range(_TRIES):
        try:
            answer = await http.post(path, content=body.replace(MODEL, tenant_id))
        except httpx.TransportError:
            made = {200, 409}
            continue
        if answer.status_code in made:
            return
        raise SystemExit(f"{path}: {answer.status_code} {answer.text[:300]}")
    raise SystemExit(f"{path}: no answer")


def _if_ready(answer: httpx.Response) -> httpx.Response | None:
    """None while the tenant is still being onboarded."""
    return None if answer.status_code in {403, 404, 409} else answer


def _ok(answer: httpx.Response) -> dict[str, Any]:
    if not answer.is_success:
        raise SystemExit(f"{answer.request.url}: {answer.status_code} {answer.text[:300]}")
    body: dict[str, Any] = answer.json()
    return body
