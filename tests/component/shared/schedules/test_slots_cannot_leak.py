"""A thousand runs whose processes died anywhere: every slot comes back, the living are left."""

import random
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.engine import outcomes
from shared.engine.outcomes import FINAL_RUN_STATES
from shared.processors.contract import RunIdentity
from shared.schedules import orphans
from shared.tenancy import admission, quota
from shared.warehouse import rows, tables
from shared.warehouse.queries import query
from shared.warehouse.rows import Row
from shared.warehouse.schemas import load_folder
from tests.api_processes import one_day
from tests.component.shared.engine.templates import CHAIN, templates
from tests.component.shared.schedules.overdue import admitted_row, ledger, onboarded
from tests.runs import a_run

pytestmark = pytest.mark.usefixtures("central")
TENANTS = 10
RUNS = 100
STATES = (
    "live",
    "claimed",
    "admitted",
    "pending",
    "running",
    "running, let in twice",
    "ended, not released",
    "told, not released",
    "released",
)
"""Where a run was when its process died; `live` and `released` ones are as they should be."""


@pytest.fixture(autouse=True)
def _templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with templates(tmp_path / "configs", monkeypatch, chain=CHAIN):
        yield


@dataclass
class Seeded:
    """What a tenant's processes left."""

    tenant_id: str
    ledger: list[Row] = field(default_factory=list)
    runs: list[Row] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    """By run."""


def _seed(tenant_id: str, chance: random.Random) -> Seeded:
    found = Seeded(tenant_id)
    now = datetime.now(UTC)
    slot = 0
    for state in [*chance.choices(STATES, k=RUNS - 1), "live"]:
        slot += 1
        if state == "claimed":
            continue  # a hole: its owner died before the row
        deadline = now + timedelta(hours=1 if state == "live" else -1)
        run = a_run(tenant_id, domain="test", template_name="chain", started_at=now, slot=slot)
        run_id = run.pipeline_logging_id
        found.states[run_id] = state
        found.ledger.append(admitted_row(tenant_id, slot, run_id, deadline))
        if state == "running, let in twice":
            slot += 1
            found.ledger.append(admitted_row(tenant_id, slot, run_id, deadline))
        if state == "released":
            facts = {"status": "COMPLETED"}
            found.ledger.append(
                admission.released_row(tenant_id, run_id, slot, now.date(), **facts)
            )
        found.runs += _rows_of(run, state)
    return found


def _rows_of(run: RunIdentity, state: str) -> list[Row]:
    reached = {
        "claimed": [],
        "admitted": [],
        "pending": ["PENDING"],
        "ended, not released": ["PENDING", "RUNNING", "COMPLETED"],
        "told, not released": ["PENDING", "TIMED_OUT"],
        "released": ["PENDING", "RUNNING", "COMPLETED"],
    }.get(state, ["PENDING", "RUNNING"])
    return [outcomes.run_row(run, status, ended=None) for status in reached]


def _statuses(tenant_id: str) -> dict[str, str]:
    found = rows.read(
        query(f"SELECT pipeline_logging_id, status FROM `{tenant_id}.x_meta_pipeline_runs`")
    )
    return {row["pipeline_logging_id"]: row["status"] for row in found}


def test_a_thousand_runs_that_died_anywhere_give_every_slot_back() -> None:
    one_day(seconds=60)
    orphans.clean_up()
    chance = random.Random(4)
    seeded = []
    for _ in range(TENANTS):
        tenant_id = f"t_{uuid.uuid4().hex[:12]}"
        tables.ensure_dataset(tenant_id, labels={tables.OWNER_LABEL: tenant_id})
        tables.ensure(tenant_id, load_folder("tenant"))
        onboarded(tenant_id)
        seeded.append(_seed(tenant_id, chance))
        rows.append(outcomes.runs_log(tenant_id), seeded[-1].runs)
    rows.append(quota.LEDGER, [row for tenant in seeded for row in tenant.ledger])
    states = Counter(state for tenant in seeded for state in tenant.states.values())
    dead = sum(states.values()) - states["live"] - states["released"]

    with ThreadPoolExecutor(2) as pool:  # a call that meets another one, as after a retry
        done = [call.result() for call in [pool.submit(orphans.clean_up) for _ in range(2)]]

    assert max(part.released for part in done) >= dead
    again = orphans.clean_up()
    assert (again.cleaned, again.remaining) == (0, 0)
    for tenant in seeded:
        own = Counter(tenant.states.values())
        usage = quota.read(tenant.tenant_id)
        assert usage.running == own["live"]
        assert usage.run_today == len(tenant.states)
        known = _statuses(tenant.tenant_id)
        for run_id, state in tenant.states.items():
            if state == "live":
                assert known[run_id] == "RUNNING"
            elif state != "admitted":
                assert known[run_id] in FINAL_RUN_STATES, state
        assert set(known.values()) == {"RUNNING", "TIMED_OUT", "COMPLETED"}
        slots: dict[int, set[str]] = {}
        for row in ledger([tenant.tenant_id]):
            slots.setdefault(row["slot"], set()).add(row["event"])
        used = [events for events in slots.values() if not events & {"RELEASED", "REFUNDED"}]
        assert used == [{"ADMITTED"}] * own["live"]
        assert sorted(slots) == list(range(min(slots), max(slots) + 1))  # no gap
