"""Every attempt to change something leaves an entry in the audit log: here, for all routes."""

from typing import Any

from flask import Response, g, request

from shared.http import auth
from shared.telemetry import current_traceparent
from shared.tenancy import audit
from shared.tenancy.audit import Entry, Outcome

_DENIED = frozenset({401, 403})
_UNRECORDED = frozenset({429})
"""A refusal that protects the service must not cost it a write; the request is in the log."""


def note(**facts: str | None) -> None:
    """Remember what the entry of this request will say: `tenant_id`, `resource_id`."""
    known: dict[str, Any] = g.setdefault("audited", {})
    known.update({name: str(value)[:200] for name, value in facts.items() if value})


def record(action: str, response: Response) -> None:
    """Write the entry of a request that is answered with `response`."""
    status = response.status_code
    if status in _UNRECORDED:
        return
    caller: auth.Caller | None = g.get("caller")
    facts: dict[str, str] = g.get("audited", {})
    trace = (current_traceparent() or "").split("-")
    audit.record(
        Entry(
            action=action,
            outcome=_outcome(status),
            actor_type=_actor_type(caller),
            actor_id=(caller.api_key_id or caller.service_account) if caller else None,
            tenant_id=facts.get("tenant_id") or (caller.tenant_id if caller else None) or None,
            user_id=auth.user_id(),
            resource_type=action.partition(".")[0],
            resource_id=facts.get("resource_id"),
            reason=None if status < 400 else _reason(response),
            request_id=g.get("request_id"),
            trace_id=trace[1] if len(trace) == 4 else None,
            source_address=_source_address(),
            details={"method": request.method, "path": request.path[:500], "status": status},
        )
    )


def _outcome(status: int) -> Outcome:
    if status < 400:
        return "ALLOWED"
    return "DENIED" if status in _DENIED else "FAILED"


def _actor_type(caller: "auth.Caller | None") -> audit.ActorType:
    if caller is None:
        return "anonymous"
    if caller.service_account:
        return "system"
    return "admin" if caller.is_admin else "api_key"


def _reason(response: Response) -> str:
    """The problem's kind and sentence; of bad fields only their names, never what was sent."""
    body = response.get_json(silent=True) or {}
    code = str(body.get("type", "")).rpartition(":")[2]
    errors = body.get("errors")
    text = ", ".join(e["pointer"] for e in errors) if errors else str(body.get("detail", ""))
    return f"{code}: {text}"[:1000]


def _source_address() -> str | None:
    return (request.headers.get("X-Forwarded-For") or request.remote_addr or "")[:200] or None
