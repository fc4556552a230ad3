"""The api function as several processes, as Cloud Run runs it: to be raced and to be killed."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from infra.local.processes import reserve_port
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]
_NO_RATE_LIMITS = {
    "RATE_LIMIT_RUNS": "off",
    "RATE_LIMIT_ENDPOINT": "off",
    "RATE_LIMIT_GLOBAL": "off",
}


@dataclass
class ApiProcess:
    """One process; its port stays its own when it is killed and started again."""

    environment: Mapping[str, str]
    log: Path
    _process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self._reserved = reserve_port("127.0.0.1", 0)
        self.port: int = self._reserved.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; it answers a little later."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("functions-framework")),
                    *("--target", "api", "--source", str(ROOT / "functions/api/main.py")),
                    *("--signature-type", "http"),
                    *("--host", "127.0.0.1", "--port", str(self.port)),
                ],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(ROOT),
                    "THREADS": "80",
                    "LOG_LEVEL": "ERROR",
                    **_NO_RATE_LIMITS,
                    **self.environment,
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until it answers."""
        wait_until(self._answers, timeout=90, message=f"an answer of {self.url}/health")

    def kill(self) -> None:
        """As a crashed instance: no handler runs, nothing is finished."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=10)

    def close(self) -> None:
        """Kill it for good."""
        self.kill()
        self._reserved.close()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text(encoding="utf-8")[-2000:]
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health", timeout=2).is_success
        return False


@contextmanager
def api_processes(count: int, environment: Mapping[str, str]) -> Iterator[list[ApiProcess]]:
    """So many processes of the api function, without rate limits, answering."""
    with tempfile.TemporaryDirectory() as directory:
        processes = [
            ApiProcess(environment, Path(directory) / f"api-{number}.log")
            for number in range(count)
        ]
        try:
            for process in processes:
                process.start()
            for process in processes:
                process.wait()
            yield processes
        finally:
            for process in processes:
                process.close()


@dataclass(frozen=True)
class Customer:
    """A tenant that may run pipelines, with a key and limits of the test's choice."""

    tenant_id: str
    key: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-Key": self.key}

    def run_url(self, process: ApiProcess) -> str:
        return f"{process.url}/api/v1/pipelines/run/{self.tenant_id}/gcp/cost/cost_billing"


@dataclass(frozen=True)
class Burst:
    """What became of requests that were sent at once."""

    answers: tuple[httpx.Response, ...]
    """Of those that were answered; a killed process answers nothing."""

    @property
    def admitted(self) -> set[str]:
        """The runs that were promised."""
        return {
            answer.json()["pipeline_logging_id"]
            for answer in self.answers
            if answer.status_code == 202
        }

    @property
    def refused(self) -> list[httpx.Response]:
        return [answer for answer in self.answers if answer.status_code == 429]

    @property
    def others(self) -> list[str]:
        """What was said beside yes and no."""
        return [answer.text for answer in self.answers if answer.status_code not in {202, 429}]


def burst(
    processes: Sequence[ApiProcess],
    customer: Customer,
    requests: int,
    chance: random.Random,
    meanwhile: Callable[[], None] = lambda: None,
) -> Burst:
    """Send so many run requests at once to processes picked at random."""

    async def send() -> list[httpx.Response | BaseException]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(headers=customer.headers, timeout=60, limits=limits) as http:
            posts = [
                http.post(customer.run_url(chance.choice(processes)), json={"date": "2025-11-15"})
                for _ in range(requests)
            ]
            extra = asyncio.to_thread(meanwhile)
            *found, _ = await asyncio.gather(*posts, extra, return_exceptions=True)
            return found

    found = asyncio.run(send())
    return Burst(tuple(answer for answer in found if isinstance(answer, httpx.Response)))


def runs_of(customer: Customer) -> set[str]:
    """Every run of the tenant's log, promised or not."""
    from shared.warehouse import rows
    from shared.warehouse.queries import query

    sql = f"SELECT pipeline_logging_id AS run FROM `{customer.tenant_id}.x_meta_pipeline_runs`"
    return {row["run"] for row in rows.read(query(sql))}


def one_day(seconds: float) -> None:
    """Let midnight, UTC, pass first if it is nearer than that; counts begin anew."""
    from datetime import UTC, datetime

    from shared.tenancy.quota import day_ends

    left = (day_ends(datetime.now(UTC)) - datetime.now(UTC)).total_seconds()
    if left < seconds:
        wait_until(
            lambda: datetime.now(UTC).hour == 0, timeout=seconds + 5, message="midnight", every=0.5
        )


def a_customer(daily: int, monthly: int, concurrent: int) -> Customer:
    """A fresh tenant in the warehouse that this process's environment names."""
    from datetime import UTC, datetime

    from shared.tenancy import api_keys, tenants
    from shared.tenancy.tenants import TenantProfile, TenantStatus
    from shared.warehouse import tables
    from shared.warehouse.schemas import load_folder

    tenant_id = f"t_{uuid.uuid4().hex[:12]}"
    tables.ensure_dataset(tenant_id, labels={tables.OWNER_LABEL: tenant_id})
    tables.ensure(tenant_id, load_folder("tenant"))
    tenants.record(
        TenantProfile(
            tenant_id=tenant_id,
            status=TenantStatus.ACTIVE,
            admin_email="admin@example.com",
            billing_account_ids=("01A2B3-C4D5E6-F7A8B9",),
            created_at=datetime.now(UTC),
        ),
        recorded_by="test",
    )
    subscribe(tenant_id, daily, monthly, concurrent)
    key = api_keys.mint(tenant_id, name="test", created_by="test")
    return Customer(tenant_id, key.secret)


def subscribe(tenant_id: str, daily: int, monthly: int, concurrent: int) -> None:
    """Give the tenant a subscription with these limits."""
    from shared.warehouse import rows
    from shared.warehouse.rows import Row

    values = {
        "tenant_id": tenant_id,
        "subscription_id": "s",
        "plan_name": "TEST",
        "status": "ACTIVE",
        "daily_limit": daily,
        "monthly_limit": monthly,
        "concurrent_limit": concurrent,
        **rows.stamp(),
    }
    rows.append("tenants.tenant_subscriptions_log", [Row(str(uuid.uuid4()), values)])
