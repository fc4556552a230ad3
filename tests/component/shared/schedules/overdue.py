"""Tenants and runs past their deadline, for tests of what becomes of them."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.engine import launch
from shared.engine.prepare import RunRequest, TemplatePath, prepare
from shared.processors.contract import RunIdentity
from shared.tenancy import tenants
from shared.tenancy.tenants import TenantProfile, TenantStatus
from shared.warehouse import rows
from shared.warehouse.queries import query
from tests.api_processes import subscribe

PLENTY = 1_000_000


def onboarded(tenant_id: str) -> TenantProfile:
    """The tenant of an existing dataset, active, with a plan that allows everything."""
    state = TenantProfile(
        tenant_id=tenant_id,
        admin_email=f"{tenant_id}@acme.example",
        status=TenantStatus.ACTIVE,
        created_at=datetime.now(UTC),
    )
    tenants.record(state, recorded_by="test")
    subscribe(tenant_id, PLENTY, PLENTY, PLENTY)
    return state


def overdue_run(
    tenant: TenantProfile,
    monkeypatch: pytest.MonkeyPatch,
    template: str = "chain",
    **variables: Any,
) -> RunIdentity:
    """A run that was started as ever, except that its deadline has passed already."""
    pipeline, run = prepare(
        RunRequest(TemplatePath("gcp", "test", template), variables=variables), tenant
    )
    with monkeypatch.context() as patch:
        patch.setattr(launch, "time_for", lambda _: timedelta(hours=-1))
        launch.launch(pipeline, run)
    return run


def ledger(tenant_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of the tenants' slots."""
    return rows.read(
        query(
            "SELECT * FROM `tenants.usage_ledger` WHERE tenant_id IN UNNEST(@tenants)"
            " ORDER BY tenant_id, slot",
            tenants=list(tenant_ids),
        )
    )


def released(run: RunIdentity) -> list[dict[str, Any]]:
    """The ledger's rows that say that the run's slot was given back."""
    return [
        row
        for row in ledger([run.tenant_id])
        if row["event"] == "RELEASED" and row["pipeline_logging_id"] == run.pipeline_logging_id
    ]


def logged(run: RunIdentity, status: str) -> int:
    """How often the log, not its view, has this state of the run."""
    found = rows.read(
        query(
            f"SELECT COUNT(*) AS n FROM `{run.tenant_id}.x_meta_pipeline_runs_log`"
            " WHERE pipeline_logging_id = @id AND status = @status",
            id=run.pipeline_logging_id,
            status=status,
        )
    )
    return int(found[0]["n"])


def admitted_row(tenant_id: str, slot: int, run_id: str, deadline: datetime) -> rows.Row:
    """A row of the ledger that lets a run in."""
    now = datetime.now(UTC)
    return rows.Row(
        str(uuid.uuid4()),
        {
            "tenant_id": tenant_id,
            "slot": slot,
            "event": "ADMITTED",
            "pipeline_logging_id": run_id,
            "usage_date": now.date(),
            "deadline": deadline,
            "trigger_type": "manual",
            "recorded_at": now - timedelta(hours=2),
        },
    )
