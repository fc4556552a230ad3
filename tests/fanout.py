"""A stack of its own with many tenants alike, whose schedules come due when a test says so."""

import contextlib
import os
import signal
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, pubsub_v1
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from benchmarks._fanout_tenants import ADMIN, PROJECT, Tenants, bench_topology, tenant_ids
from infra.local.running import RunningStack, running
from shared.engine.queued_runs import QUEUE_LOG
from shared.schedules import waiting
from shared.schedules.requests import RunRequestMessage
from tests.waiting import wait_until

SCHEDULER = "/api/v1/scheduler"
FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT", "SKIPPED"})
IMPATIENT = (0.2, 1.0)
"""Seconds before a message comes again, at least and at most."""
_AT_ONCE = 250
"""Tenants whose tables one query reads; BigQuery takes 1,000 tables."""


@dataclass
class Fanout:
    """The stack, its tenants, and what a test does to them."""

    stack: RunningStack
    bigquery: bigquery.Client
    http: httpx.Client
    tenants: Tenants
    _made: int = field(default=0, init=False)

    def make(self, count: int) -> list[str]:
        """So many fresh tenants."""
        ids = tenant_ids(self._made + count)[self._made :]
        self.tenants.make(ids, lambda: None)
        self._made += count
        return ids

    def limit(self, tenant_id: str, *, daily: int, monthly: int, concurrent: int) -> None:
        """Give a tenant a plan of its own."""
        row = {
            "tenant_id": tenant_id,
            "subscription_id": str(uuid.uuid4()),
            "plan_name": "TEST",
            "status": "ACTIVE",
            "daily_limit": daily,
            "monthly_limit": monthly,
            "concurrent_limit": concurrent,
            "recorded_at": datetime.now(UTC).isoformat(),
            "sequence": 0,
        }
        self._append("tenants.tenant_subscriptions_log", [row])

    def let_wait(self, requests: Sequence[RunRequestMessage]) -> None:
        """Put runs into the waiting queue, as dispatchers do for want of a slot."""
        rows = [waiting.row(request, "QUEUED", "Concurrent limit.") for request in requests]
        self._append(QUEUE_LOG, [row.sent for row in rows])

    # --- the scheduler

    def call(self, path: str, **body: Any) -> httpx.Response:
        """A POST to the scheduler, as its operator."""
        return self.http.post(f"{SCHEDULER}/{path}", headers=ADMIN, json=body or None)

    def done(self, path: str) -> dict[str, Any]:
        """A call that is repeated until it is answered with 200, as Cloud Scheduler does."""

        def answered() -> dict[str, Any] | None:
            with contextlib.suppress(httpx.TransportError):
                answer = self.call(path)
                if answer.is_success:
                    found: dict[str, Any] = answer.json()
                    return found
                assert answer.status_code >= 429, answer.text
            return None

        found = wait_until(answered, timeout=240, every=0.3, message=f"a 200 of {path}")
        assert found is not None
        return found

    # --- what goes wrong

    def kill(self, function: str) -> None:
        """kill -9; returns once another process is there."""
        before = self.stack.function_processes()[function]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(before, signal.SIGKILL)
        wait_until(
            lambda: self.stack.function_processes()[function] != before,
            timeout=60,
            message=f"the restart of {function}",
        )

    @contextlib.contextmanager
    def stopped(self, function: str) -> Iterator[None]:
        """Its process stands still: what is sent to it waits."""
        process = self.stack.function_processes()[function]
        os.killpg(process, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(process, signal.SIGCONT)

    def lose_messages(self, *topics: str) -> None:
        """What waits for these topics' functions is gone, as no cloud would lose it."""
        host = self.stack.environment()["PUBSUB_EMULATOR_HOST"]
        transport = SubscriberGrpcTransport(channel=grpc.insecure_channel(host))
        with pubsub_v1.SubscriberClient(transport=transport) as subscriber:
            for topic in topics:
                path = f"projects/{PROJECT}/subscriptions/{topic}"
                known = subscriber.get_subscription(subscription=path)
                subscriber.delete_subscription(subscription=path)
                subscriber.create_subscription(request=known)

    def an_hour_passes(self, ids: Sequence[str]) -> None:
        """For the ledger of these tenants, by setting back what it says."""
        self.query(
            "UPDATE `tenants.usage_ledger`"
            " SET recorded_at = TIMESTAMP_SUB(recorded_at, INTERVAL 70 MINUTE),"
            " deadline = TIMESTAMP_SUB(deadline, INTERVAL 70 MINUTE)"
            " WHERE tenant_id IN UNNEST(@ids)",
            ids=ids,
        )

    def fail(self, **fault: Any) -> None:
        """Let calls of BigQuery meet a fault."""
        httpx.post(
            f"{self.stack.urls['bigquery']}/_local/faults", json=fault, timeout=30
        ).raise_for_status()

    @contextlib.contextmanager
    def published_limits(self) -> Iterator[None]:
        """BigQuery's published rates and delays hold."""
        self._enforce(on=True)
        try:
            yield
        finally:
            self._enforce(on=False)

    def _enforce(self, *, on: bool) -> None:
        httpx.post(
            f"{self.stack.urls['bigquery']}/_local/limits", json={"enforced": on}, timeout=30
        ).raise_for_status()

    # --- what came of it

    def query(self, sql: str, **values: Any) -> list[Any]:
        """The rows of a query with parameters: texts and moments, and lists of them."""
        config = bigquery.QueryJobConfig(
            query_parameters=[
                bigquery.ArrayQueryParameter(name, _kind(value[0]), list(value))
                if isinstance(value, list | tuple)
                else bigquery.ScalarQueryParameter(name, _kind(value), value)
                for name, value in values.items()
            ]
        )
        return list(self.bigquery.query_and_wait(sql, job_config=config))

    def runs(self, ids: Sequence[str], moments: Sequence[datetime]) -> list[Any]:
        """The history's rows of these occurrences of these tenants."""
        return self.query(
            "SELECT tenant_id, config_id, pipeline_logging_id, scheduled_time, state, reason,"
            " priority, date, admitted_at, started_at, completed_at"
            " FROM `tenants.scheduled_pipeline_runs`"
            " WHERE tenant_id IN UNNEST(@ids)"
            " AND scheduled_time IN UNNEST(@moments)",
            ids=ids,
            moments=moments,
        )

    def ended(
        self, ids: Sequence[str], moments: Sequence[datetime], timeout: float = 900
    ) -> list[Any]:
        """Those rows once there is one for each tenant and moment at least, and all are final."""

        def found() -> list[Any] | None:
            runs = self.runs(ids, moments)
            open_ones = [run for run in runs if run.state not in FINAL]
            return None if open_ones or len(runs) < len(ids) * len(moments) else runs

        try:
            rows = wait_until(found, timeout=timeout, every=0.7, message="the end of every run")
        except AssertionError:
            states = sorted((run.state, run.tenant_id) for run in self.runs(ids, moments))
            raise AssertionError(f"of {len(ids)} tenants: {states}") from None
        assert rows is not None
        return rows

    def run_log(self, ids: Sequence[str], since: datetime) -> list[Any]:
        """The runs of these tenants that began since, as each tenant sees them."""
        return self._of_each(
            ids,
            "SELECT tenant_id, pipeline_logging_id, status, trigger_type, rows_processed"
            " FROM `{0}.x_meta_pipeline_runs` WHERE start_time >= @since",
            since=since,
        )

    def costs(self, ids: Sequence[str]) -> list[Any]:
        """The rows that the pipeline has written, with `tenant_id`."""
        return self._of_each(ids, "SELECT '{0}' AS tenant_id, t.* FROM `{0}.costs_daily` AS t")

    def live_runs(self) -> dict[str, int]:
        """Tenant → runs that have a slot and have not given it back, whatever their deadline."""
        rows = self.query(
            "WITH slots AS ("
            " SELECT tenant_id, slot, MAX(pipeline_logging_id) AS run_id,"
            " LOGICAL_OR(event = 'ADMITTED') AND NOT LOGICAL_OR(event = 'REFUNDED') AS counts,"
            " LOGICAL_OR(event = 'RELEASED') AS released"
            " FROM `tenants.usage_ledger` GROUP BY tenant_id, slot"
            "), live AS ("
            " SELECT tenant_id, run_id FROM slots WHERE counts"
            " GROUP BY tenant_id, run_id HAVING NOT LOGICAL_OR(released)"
            ") SELECT tenant_id, COUNT(*) AS runs FROM live GROUP BY tenant_id"
        )
        return {row.tenant_id: row.runs for row in rows}

    def admitted(self, ids: Sequence[str], since: datetime) -> list[str]:
        """The tenants of the runs that were let in since, in that order."""
        rows = self.query(
            "SELECT tenant_id, pipeline_logging_id, MIN(recorded_at) AS admitted_at"
            " FROM `tenants.usage_ledger`"
            " WHERE event = 'ADMITTED' AND recorded_at >= @since AND tenant_id IN UNNEST(@ids)"
            " GROUP BY tenant_id, pipeline_logging_id ORDER BY admitted_at",
            ids=ids,
            since=since,
        )
        return [row.tenant_id for row in rows]

    def released(self, ids: Sequence[str], since: datetime) -> dict[str, datetime]:
        """Tenant → when its first run since then was over."""
        rows = self.query(
            "SELECT tenant_id, MIN(recorded_at) AS released_at FROM `tenants.usage_ledger`"
            " WHERE event = 'RELEASED' AND recorded_at >= @since AND tenant_id IN UNNEST(@ids)"
            " GROUP BY tenant_id",
            ids=ids,
            since=since,
        )
        return {row.tenant_id: row.released_at for row in rows}

    def dead_letters(self) -> list[Any]:
        return self.query("SELECT * FROM `tenants.dead_letters`")

    def calls(self) -> dict[str, int]:
        """Calls of BigQuery since the last `forget_calls`, by method."""
        found = self._calls().json()
        return {method: count for method, count in found.items() if isinstance(count, int)}

    def central_dml(self) -> dict[str, int]:
        """Mutating statements on tables of `tenants` since then."""
        found: dict[str, int] = self._calls().json()["dml"]
        return {t: n for t, n in found.items() if t.startswith(f"{PROJECT}.tenants.")}

    def forget_calls(self) -> None:
        httpx.delete(f"{self.stack.urls['bigquery']}/_local/calls", timeout=30)

    def _calls(self) -> httpx.Response:
        return httpx.get(f"{self.stack.urls['bigquery']}/_local/calls", timeout=30)

    def _append(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        assert self.bigquery.insert_rows_json(f"{PROJECT}.{table}", rows) == []

    def _of_each(self, ids: Sequence[str], sql: str, **values: Any) -> list[Any]:
        found: list[Any] = []
        for begin in range(0, len(ids), _AT_ONCE):
            parts = [sql.format(tenant_id) for tenant_id in ids[begin : begin + _AT_ONCE]]
            found += self.query(" UNION ALL ".join(parts), **values)
        return found


def _kind(value: Any) -> str:
    return "TIMESTAMP" if isinstance(value, datetime) else "STRING"


def minute(moment: datetime | None = None) -> datetime:
    """The last full minute."""
    return (moment or datetime.now(UTC)).replace(second=0, microsecond=0)


def pause(seconds: float) -> None:
    """A moment that a dice threw: for kills at random, never for something to come true."""
    threading.Event().wait(seconds)


@contextlib.contextmanager
def fanout_stack(
    directory: Path, *, plan: str = "SCALE", backoff_seconds: tuple[float, float] | None = IMPATIENT
) -> Iterator[Fanout]:
    """A stack with the tenant that all others are made from."""
    topology = bench_topology(directory, backoff_seconds=backoff_seconds)
    with running(topology=topology, ephemeral=True, free_ports=True) as stack:
        client = bigquery.Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": stack.environment()["BIGQUERY_EMULATOR_HOST"]},
        )
        with httpx.Client(base_url=stack.urls["gateway"], timeout=120) as http:
            tenants = Tenants(stack, client, http, plan=plan)
            tenants.onboard_model()
            yield Fanout(stack, client, http, tenants)
