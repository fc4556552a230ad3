"""Tenants with schedules that are due, and what is published for them."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from google.api_core.exceptions import DeadlineExceeded
from google.cloud import pubsub_v1

from shared.errors import Retryable
from shared.schedules import dispatch, history
from shared.schedules.requests import RunRequestMessage
from shared.schedules.revisions import CONFIGS_LOG
from shared.tenancy import tenants
from shared.tenancy.tenants import TenantProfile, TenantStatus
from shared.warehouse import rows
from shared.warehouse.queries import query
from shared.warehouse.rows import Row
from tests.api_processes import subscribe
from tests.component.conftest import PROJECT
from tests.waiting import wait_until

_PATIENCE_SECONDS = 0.2
"""A published message is there at once; a pull without one waits for the next."""
FAR = 1_000_000
DUE = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
"""An occurrence of `0 * * * *`."""
NOW = DUE + timedelta(minutes=5)
"""When it is due and no other one since; tests that wait for nothing do not care for the clock."""


def an_active_tenant(
    tenant_id: str, *, daily: int = FAR, monthly: int = FAR, concurrent: int = FAR
) -> TenantProfile:
    """A profile and a subscription with these limits."""
    state = TenantProfile(
        tenant_id=tenant_id,
        admin_email=f"{tenant_id}@acme.example",
        status=TenantStatus.ACTIVE,
        created_at=datetime.now(UTC),
    )
    tenants.record(state, recorded_by="test")
    subscribe(tenant_id, daily, monthly, concurrent)
    return state


def become(tenant_id: str, status: TenantStatus) -> None:
    """Put the tenant into this status."""
    known = tenants.find(tenant_id)
    assert known is not None
    tenants.record(known.model_copy(update={"status": status}), recorded_by="test")


def a_due_schedule(tenant_id: str, due: datetime, **changes: Any) -> str:
    """The ID of a schedule whose next run time is `due`, every hour by default."""
    config_id = changes.pop("config_id", str(uuid.uuid4()))
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "config_id": config_id,
        "change": "CREATED",
        "revision": 1,
        "provider": "gcp",
        "domain": "test",
        "pipeline_template": "chain",
        "schedule_cron": "0 * * * *",
        "timezone": "UTC",
        "is_active": True,
        "catch_up": False,
        "priority": 5,
        "parameters": {},
        "max_jitter_seconds": 0,
        "next_run_time": due,
        "created_at": due - timedelta(days=1),
        "created_by": "alice",
        "recorded_by": "alice",
        **rows.stamp(),
    }
    rows.append(CONFIGS_LOG, [Row(config_id, values | changes)])
    return str(config_id)


def history_of(tenant_id: str, config_id: str) -> list[history.ScheduledRun]:
    """What became of the schedule's occurrences, oldest first."""
    return list(history.listed(tenant_id, config_id, limit=200).runs)[::-1]


def queue_of(tenant_id: str) -> list[dict[str, Any]]:
    """The tenant's waiting runs as users see them."""
    return rows.read(
        query(
            "SELECT * FROM `tenants.pipeline_execution_queue` WHERE tenant_id = @tenant_id"
            " ORDER BY priority DESC, enqueued_at",
            tenant_id=tenant_id,
        )
    )


def left_queue(tenant_id: str) -> dict[str, str]:
    """Run → how it left the queue."""
    found = rows.read(
        query(
            "SELECT pipeline_logging_id, state FROM `tenants.pipeline_execution_queue_log`"
            " WHERE tenant_id = @tenant_id AND state != 'QUEUED'",
            tenant_id=tenant_id,
        )
    )
    return {row["pipeline_logging_id"]: row["state"] for row in found}


class RunRequests:
    """A subscription to `run-requests` that sees the requests of some tenants only."""

    def __init__(self, *tenant_ids: str) -> None:
        self._client = pubsub_v1.SubscriberClient()
        self._subscriptions = [
            self._client.create_subscription(
                request={
                    "name": f"projects/{PROJECT}/subscriptions/{tenant_id}-requests",
                    "topic": f"projects/{PROJECT}/topics/run-requests",
                    "filter": f'attributes.tenant_id = "{tenant_id}"',
                    "ack_deadline_seconds": 600,
                }
            ).name
            for tenant_id in tenant_ids
        ]

    def close(self) -> None:
        for name in self._subscriptions:
            self._client.delete_subscription(request={"subscription": name})
        self._client.close()

    def received(self) -> list[RunRequestMessage]:
        """Those that have arrived since the last call, in the order of their publication."""
        found = []
        for name in self._subscriptions:
            while messages := self._pulled(name):
                found += messages
        found.sort(key=lambda message: message.publish_time)
        return [RunRequestMessage.model_validate_json(message.data) for message in found]

    def _pulled(self, name: str) -> list[Any]:
        try:
            answer = self._client.pull(
                request={"subscription": name, "max_messages": 1000}, timeout=_PATIENCE_SECONDS
            )
        except DeadlineExceeded:
            return []
        ids = [message.ack_id for message in answer.received_messages]
        if ids:
            self._client.acknowledge(request={"subscription": name, "ack_ids": ids})
        return [message.message for message in answer.received_messages]

    def dispatch_all(self, *, copies: int = 1) -> list[RunRequestMessage]:
        """Deliver what has arrived to the dispatcher."""
        found = self.received()
        for request in found:
            for _ in range(copies):
                deliver(request)
        return found


def deliver(
    request: RunRequestMessage,
    handle: Callable[[RunRequestMessage], None] = dispatch.handle,
) -> None:
    """Deliver a request as Pub/Sub does: again and again until it is acknowledged."""

    def acknowledged() -> bool:
        try:
            handle(request)
        except Retryable:
            return False
        return True

    wait_until(acknowledged, timeout=90, message=f"the end of {request.pipeline_logging_id}")
