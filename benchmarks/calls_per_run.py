"""What a run, an onboarding and each job of the scheduler ask of the cloud: calls and bytes billed.

    PYTHONPATH=. python benchmarks/calls_per_run.py

Counted by the local BigQuery while tenants run the pipeline of two steps in `benchmarks/data`, from
the request to the end; the functions are told apart by their service accounts. Bytes are those that
BigQuery bills on demand: 10 MB at least for each table that a query references. docs/scaling.md
multiplies these numbers. Exits with 1 when a run has become more expensive.
"""

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
from google.cloud import pubsub_v1
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from benchmarks._fanout_tenants import ADMIN, PROJECT
from tests.fanout import Fanout, fanout_stack, minute

TENANTS = 40
MOST_CALLS = 36.0
MOST_MEGABYTES = 140.0
TOPICS = ("run-requests", "step-gcp", "step-shared")
CENTRAL_LOGS = (
    *("usage_ledger", "scheduled_pipeline_runs_log", "tenant_pipeline_configs_log"),
    *("tenant_profiles_log", "tenant_subscriptions_log"),
)
OWN_LOGS = ("x_meta_pipeline_runs_log", "x_meta_step_logs_log", "x_meta_dq_results_log")
MEGABYTE = 1024 * 1024
_OWN_QUERIES = "tenants.scheduled_pipeline_runs`"
"""What this benchmark itself asks; no function reads it while runs go on."""


@dataclass
class Usage:
    """What was asked of BigQuery."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By service account and method."""
    jobs: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """By the tables that they reference."""
    billed: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """Bytes, likewise."""

    @property
    def megabytes(self) -> float:
        return self.billed.total() / MEGABYTE


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="calls-") as directory,
        fanout_stack(Path(directory)) as fanout,
    ):
        run = _measure_all(fanout)
    calls, megabytes = run.calls.total() / TENANTS, run.megabytes / TENANTS
    print(f"\na run: {calls:.1f} calls (limit {MOST_CALLS:.0f}),", end=" ")
    print(f"{megabytes:.0f} MB billed (limit {MOST_MEGABYTES:.0f})")
    return 1 if calls > MOST_CALLS or megabytes > MOST_MEGABYTES else 0


def _measure_all(fanout: Fanout) -> Usage:
    """Print everything; what all runs together used."""
    _show("onboarding a tenant", _used(fanout, lambda: _onboard(fanout)), 1)
    ids = fanout.make(TENANTS)
    moment = minute()
    fanout.tenants.arm(ids, moment)
    mailbag = Mailbag(fanout)
    with fanout.stopped("dispatcher"):
        _show(f"trigger, {TENANTS} due", _used(fanout, lambda: fanout.done("trigger")), 1)
        began = datetime.now(UTC)
        fanout.forget_calls()
    fanout.ended(ids, [moment])
    run = _usage(fanout, began)
    _show(f"a run (mean of {TENANTS})", run, TENANTS)
    mailbag.show()
    _show_rows(fanout, ids[0])
    for path in ("trigger", "process-queue", "cleanup-orphaned-pipelines", "reset-daily-quotas"):
        name = f"{path}, nothing to do" if path != "reset-daily-quotas" else path
        _show(name, _used(fanout, lambda path=path: fanout.done(path)), 1)  # type: ignore[misc]
    return run


def _onboard(fanout: Fanout) -> None:
    body = {"tenant_id": "fanout_another", "admin_email": "another@example.com"}
    fanout.http.post("/api/v1/tenants/onboard", headers=ADMIN, json=body).raise_for_status()


class Mailbag:
    """What is published from now on, kept in subscriptions of its own."""

    def __init__(self, fanout: Fanout) -> None:
        host = fanout.stack.environment()["PUBSUB_EMULATOR_HOST"]
        transport = SubscriberGrpcTransport(channel=grpc.insecure_channel(host))
        self._subscriber = pubsub_v1.SubscriberClient(transport=transport)
        for topic in TOPICS:
            self._subscriber.create_subscription(name=_kept(topic), topic=_path("topics", topic))

    def show(self) -> None:
        print("  messages")
        for topic in TOPICS:
            pulled = self._subscriber.pull(
                subscription=_kept(topic), max_messages=1_000, return_immediately=True
            ).received_messages
            sizes = [_size(one.message) for one in pulled]
            print(f"  {len(sizes) / TENANTS:6.2f} of {sum(sizes) / len(sizes):6.0f} bytes  {topic}")


def _path(kind: str, name: str) -> str:
    return f"projects/{PROJECT}/{kind}/{name}"


def _kept(topic: str) -> str:
    return _path("subscriptions", f"{topic}-kept")


def _size(message: Any) -> int:
    """As Pub/Sub bills it: data, attributes, ID and 20 bytes for the time."""
    attributes = sum(len(key) + len(value) for key, value in message.attributes.items())
    return len(message.data) + attributes + len(message.message_id) + 20


def _used(fanout: Fanout, call: Callable[[], Any]) -> Usage:
    began = datetime.now(UTC)
    fanout.forget_calls()
    call()
    return _usage(fanout, began)


def _usage(fanout: Fanout, began: datetime) -> Usage:
    url = f"{fanout.stack.urls['bigquery']}/_local/calls"
    users = httpx.get(url, params={"by": "user"}, timeout=30).json()
    usage = Usage()
    for user, methods in users.items():
        if user:
            usage.calls += Counter({(user, method): n for method, n in methods.items()})
    for job in fanout.query(
        "SELECT referenced_tables, total_bytes_billed, query FROM"
        " `region-us`.INFORMATION_SCHEMA.JOBS WHERE creation_time >= @began",
        began=began,
    ):
        if _OWN_QUERIES in (job.query or "") or "INFORMATION_SCHEMA.JOBS" in (job.query or ""):
            continue
        tables = tuple(sorted({_name(table) for table in job.referenced_tables or ()}))
        usage.jobs[tables] += 1
        usage.billed[tables] += job.total_bytes_billed or 0
    return usage


def _name(table: dict[str, str]) -> str:
    dataset = re.sub(r"^fanout_\d+", "{tenant}", table["dataset_id"])
    return f"{dataset}.{table['table_id'].partition('$')[0]}"


def _show_rows(fanout: Fanout, tenant_id: str) -> None:
    """The rows of a tenant that was onboarded, given a schedule, and has had one run."""
    print("  rows of the tenant in the logs")
    for table in (*CENTRAL_LOGS, *OWN_LOGS):
        path = f"{tenant_id if table in OWN_LOGS else 'tenants'}.{table}"
        found = fanout.bigquery.get_table(f"{PROJECT}.{path}")
        (row,) = fanout.query(f"SELECT COUNT(*) AS n FROM `{path}` WHERE tenant_id = '{tenant_id}'")
        size = (found.num_bytes or 0) / max(1, found.num_rows or 0)
        print(f"  {row.n:6} rows {size:8.0f} bytes each  {path}")


def _show(what: str, usage: Usage, of: int) -> None:
    total = usage.calls.total() / of
    print(f"\n{what}: {total:.1f} calls, {usage.megabytes / of:.0f} MB billed")
    for (user, method), count in sorted(usage.calls.items()):
        print(f"  {user:14} {method:24} {count / of:8.2f}")
    for tables, count in usage.jobs.most_common():
        megabytes = usage.billed[tables] / MEGABYTE / of
        print(f"  {count / of:6.2f} jobs {megabytes:8.1f} MB  {', '.join(tables) or 'no table'}")


if __name__ == "__main__":
    sys.exit(main())
