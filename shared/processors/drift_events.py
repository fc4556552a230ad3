"""Schema drift, told once: the step that sees it first records it and has it to tell."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from shared.processors import dq_results
from shared.processors.contract import StepContext
from shared.processors.dq_results import DqResult
from shared.settings import settings
from shared.tenancy.names import check_tenant_id
from shared.warehouse import claims, rows
from shared.warehouse.claims import ClaimHeldError
from shared.warehouse.drift import DriftEvent
from shared.warehouse.queries import query

OUTPUTS = frozenset({"drift", "new_drift", "drift_summary"})
"""What a step that writes leaves of drift: all of it, how much is to tell, and in which words."""

_PREFIX = "schema_drift:"
_LEASE_SECONDS = 300.0
"""How long a step that claimed an event may take to record it; then the next one may."""
_WORDS = {
    "column_added": "is new in the source; it was added to the table",
    "column_missing": "is no longer in the source; it is NULL from now on",
    "type_changed": "is of another type in the source; the step was stopped",
}


def record(context: StepContext, events: Sequence[DriftEvent]) -> tuple[DriftEvent, ...]:
    """Record in `x_meta_dq_results` what no step has recorded before.

    An event is what table, column, kind and types say; it is recorded by one step of one run, in
    one row, however many runs see it. A claim keeps concurrent steps apart; if its winner dies
    before the row is written, a later step that sees the event takes over. A repetition of the
    step gets what it recorded again, also where it no longer sees it, as a column that it added.

    Returns:
        The events that are this step's to tell the tenant: those it recorded.

    Raises:
        WarehouseBusyError: not now; call again.
        WarehouseError: the tenant's dataset is gone.
    """
    if not events and not context.is_repeated:
        return ()
    by_id = {_rule_id(event): event for event in events}
    recorded = _recorded(context, by_id)
    known = {row["rule_id"] for row in recorded}
    new = [rule_id for rule_id in by_id if rule_id not in known and _is_ours(rule_id, context)]
    if new:
        dq_results.append(context, [_result(rule_id, by_id[rule_id]) for rule_id in new])
    before = [_event(row) for row in recorded if row["is_ours"]]
    return (*before, *(by_id[rule_id] for rule_id in new))


def outputs(events: Iterable[DriftEvent], news: Iterable[DriftEvent]) -> dict[str, Any]:
    """The outputs of a step that has seen `events`, of which `news` are its own to tell."""
    told = list(dict.fromkeys(news))
    return {
        "drift": [asdict(event) for event in dict.fromkeys(events)],
        "new_drift": len(told),
        "drift_summary": summary(told),
    }


def summary(events: Iterable[DriftEvent]) -> str:
    """The events in words, a line each, for a mail."""
    return "\n".join(f"{event.table}: {_sentence(event)}" for event in events)


def _is_ours(rule_id: str, context: StepContext) -> bool:
    key = f"drift--{context.run.tenant_id}--{rule_id.removeprefix(_PREFIX)}"
    try:
        claims.take(key, owner=context.work_id, lease_seconds=_LEASE_SECONDS)
    except ClaimHeldError:
        return False
    return True


def _recorded(context: StepContext, rule_ids: Iterable[str]) -> list[dict[str, Any]]:
    """Rows of these events, and of all that this step has recorded."""
    dataset = check_tenant_id(context.run.tenant_id)
    return rows.read(
        query(
            "SELECT rule_id, dataset_id, table_name, column_name, expected, observed,"  # noqa: S608 - checked dataset
            " ANY_VALUE(details) AS details,"
            " LOGICAL_OR(pipeline_logging_id = @run_id AND step_id = @step_id) AS is_ours"
            f" FROM `{dataset}.x_meta_dq_results_log`"
            " WHERE rule_id IN UNNEST(@rule_ids) OR (STARTS_WITH(rule_id, @prefix)"
            " AND pipeline_logging_id = @run_id AND step_id = @step_id)"
            " GROUP BY rule_id, dataset_id, table_name, column_name, expected, observed"
            " ORDER BY rule_id",
            run_id=context.run.pipeline_logging_id,
            step_id=context.step_id,
            rule_ids=list(rule_ids),
            prefix=_PREFIX,
        )
    )


def _event(row: Mapping[str, Any]) -> DriftEvent:
    return DriftEvent(
        kind=row["details"]["drift"],
        table=f"{settings().GCP_PROJECT_ID}.{row['dataset_id']}.{row['table_name']}",
        column=row["column_name"],
        before=row["expected"],
        after=row["observed"],
    )


def _rule_id(event: DriftEvent) -> str:
    """The same for the same event in every run."""
    facts = json.dumps([event.table, event.column, event.kind, event.before, event.after])
    return f"{_PREFIX}{hashlib.sha256(facts.encode()).hexdigest()[:32]}"


def _sentence(event: DriftEvent) -> str:
    types = f" ({event.before or 'absent'} before, {event.after or 'absent'} now)"
    return f"column {event.column} {_WORDS[event.kind]}{types}"


def _result(rule_id: str, event: DriftEvent) -> DqResult:
    return DqResult(
        rule_id=rule_id,
        rule_name=_sentence(event),
        passed=False,
        severity="fail" if event.kind == "type_changed" else "warn",
        table=event.table,
        column=event.column,
        expected=event.before,
        observed=event.after,
        details={"drift": event.kind},
    )
