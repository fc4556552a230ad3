"""The schedules of tenants: created, read, changed, paused, deleted. Only ever appended to.

Every change appends a revision to `tenants.tenant_pipeline_configs_log`; the view
`tenants.tenant_pipeline_configs` shows the newest, so of changes made at once the last one holds
and the others stay in the log. A revision's number is a claim: two changes never share one, which
keeps the next run time of one from being taken for that of the other.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any

from shared.engine import idempotency
from shared.errors import ConflictError, NotFoundError
from shared.schedules import revisions, runs
from shared.schedules.definitions import Definition, Schedule, ScheduleFields
from shared.schedules.times import next_run_time
from shared.tenancy.tenants import TenantProfile
from shared.warehouse import pages, rows

MAX_ACTIVE = 500
"""Active schedules of one tenant. Each costs the fan-out work every time it is due."""
_SETTLE_SECONDS = 3.0
"""How long a change waits for the one before it to show; an author who died never shows."""
_LOOK_AGAIN_SECONDS = 0.1
_AUTHORED = set(ScheduleFields.model_fields)
_TIMING = ("schedule_cron", "timezone", "max_jitter_seconds", "is_active")


class TooManySchedulesError(ConflictError):
    """The tenant has as many active schedules as there may be."""

    code = "too-many-schedules"

    def __init__(self, tenant_id: str) -> None:
        super().__init__(
            f"Tenant {tenant_id!r} has {MAX_ACTIVE} active schedules, the most there may be."
            " Pause or delete one first."
        )


class DeletedSinceError(ConflictError):
    """The key's schedule was created, and then deleted."""

    code = "deleted-since"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The schedule that Idempotency-Key {key!r} created was deleted since. To create it"
            " anew, send a new key."
        )


@dataclass(frozen=True)
class Page:
    """Some schedules, and where the next ones begin."""

    schedules: list[Schedule]
    next_cursor: str | None


def create(
    tenant: TenantProfile,
    definition: Definition,
    *,
    created_by: str,
    idempotency_key: str | None = None,
) -> Schedule:
    """Record a new schedule; it is due from its first occurrence after this moment.

    With a key, the same request again is answered with the schedule that it created, as that is
    now; without one each request creates a schedule of its own.

    Raises:
        InvalidInputError: the template does not exist, or refuses a parameter; names each.
        KeyReusedError: the key belongs to another request.
        DeletedSinceError: it is the key of a schedule that was deleted.
        TooManySchedulesError: the tenant has its share.
        Retryable: not now. The schedule may have been recorded: ask again with the same key, or
            look before asking again.
    """
    runs.check(tenant, definition)
    config_id = str(uuid.uuid4())
    if idempotency_key is not None:
        config_id = _id_of(tenant.tenant_id, idempotency_key)
        idempotency.bind(idempotency_key, config_id, [definition.model_dump(mode="json")])
        known = revisions.find(tenant.tenant_id, config_id)
        if known is not None:
            return known
        if revisions.is_deleted(tenant.tenant_id, config_id):
            raise DeletedSinceError(idempotency_key)
    if definition.is_active:
        _check_room(tenant.tenant_id)
    stamp = rows.stamp()
    now = stamp["recorded_at"]
    schedule = Schedule(
        **definition.model_dump(),
        config_id=config_id,
        tenant_id=tenant.tenant_id,
        next_run_time=next_run_time(definition, config_id, now),
        revision=1,
        created_at=now,
        created_by=created_by,
        updated_at=now,
        updated_by=created_by,
    )
    revisions.append("CREATED", schedule, stamp)
    return schedule


def _id_of(tenant_id: str, idempotency_key: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"schedule/{tenant_id}/{idempotency_key}"))


def get(tenant_id: str, config_id: str) -> Schedule:
    """The tenant's schedule of this ID as it is now.

    Raises:
        NotFoundError: the tenant has none, or has deleted it.
        WarehouseBusyError: not now.
    """
    found = revisions.find(tenant_id, config_id.lower())
    if found is None:
        raise NotFoundError("Schedule", config_id)
    return found


def listed(
    tenant_id: str,
    *,
    is_active: bool | None = None,
    limit: int = pages.DEFAULT_SIZE,
    cursor: str | None = None,
) -> Page:
    """One page of the tenant's schedules, newest first.

    Raises:
        InvalidInputError: the cursor is not one of this list.
        WarehouseBusyError: not now.
    """
    found = revisions.newest(tenant_id, is_active=is_active, cursor=cursor, count=limit + 1)
    shown = found[:limit]
    more = len(found) > limit
    return Page(shown, revisions.cursor_behind(shown[-1]) if more else None)


def replace(
    tenant: TenantProfile, config_id: str, definition: Definition, *, changed_by: str
) -> Schedule:
    """Put `definition` in the schedule's place; what it leaves out has its default.

    Of two at once the later one holds. An occurrence that is due and has not been triggered yet
    stays due, unless the times or the zone change.

    Raises:
        NotFoundError: the tenant has no such schedule.
        InvalidInputError: the template does not exist, or refuses a parameter; names each.
        TooManySchedulesError: it would become active, and the tenant has its share.
        Retryable: not now; ask again.
    """
    runs.check(tenant, definition)
    return _change(tenant.tenant_id, config_id, lambda _: definition, changed_by, settle_seconds=0)


def pause(tenant_id: str, config_id: str, *, changed_by: str) -> Schedule:
    """Let the schedule not run until it is resumed.

    Raises:
        NotFoundError: the tenant has no such schedule.
        Retryable: not now; ask again.
    """
    return _change(tenant_id, config_id, _switched(active=False), changed_by)


def resume(tenant: TenantProfile, config_id: str, *, changed_by: str) -> Schedule:
    """Let a paused schedule run again, from its next occurrence on: what it missed stays missed.

    Raises:
        NotFoundError: the tenant has no such schedule.
        InvalidInputError: its template is gone or no longer takes its parameters.
        TooManySchedulesError: the tenant has its share.
        Retryable: not now; ask again.
    """

    def resumed(current: Schedule) -> ScheduleFields:
        runs.check(tenant, current)
        return _switched(active=True)(current)

    return _change(tenant.tenant_id, config_id, resumed, changed_by)


def delete(tenant_id: str, config_id: str, *, deleted_by: str) -> Schedule:
    """Delete the schedule for good, whatever else changes it at this moment; its history stays.

    Raises:
        NotFoundError: the tenant has no such schedule.
        Retryable: not now; ask again.
    """
    current = get(tenant_id, config_id)
    stamp = rows.stamp()
    deleted = _revised(current, {"is_active": False}, current.revision + 1, stamp, deleted_by)
    revisions.append("DELETED", deleted, stamp)
    return deleted


def _switched(*, active: bool) -> Callable[[Schedule], ScheduleFields]:
    return lambda current: current.model_copy(update={"is_active": active})


def _change(
    tenant_id: str,
    config_id: str,
    change: Callable[[Schedule], ScheduleFields],
    changed_by: str,
    *,
    settle_seconds: float = _SETTLE_SECONDS,
) -> Schedule:
    """Append what `change` makes of the schedule; nothing when that is what it is.

    A change of a part builds on the revision before it, so it waits for one that is being written.
    """
    give_up = time.monotonic() + settle_seconds
    pause = Event()
    while True:
        current = get(tenant_id, config_id)
        authored = change(current).model_dump(include=_AUTHORED)
        if authored == current.model_dump(include=_AUTHORED):
            return current
        if authored["is_active"] and not current.is_active:
            _check_room(tenant_id)
        revision = current.revision + 1
        if revisions.claim(config_id, revision):
            break
        if time.monotonic() >= give_up:
            revision = revisions.claim_from(config_id, revision + 1)
            break
        pause.wait(_LOOK_AGAIN_SECONDS)
    stamp = rows.stamp()
    edited = _revised(current, authored, revision, stamp, changed_by)
    revisions.append("EDITED", edited, stamp)
    return edited


def _revised(
    current: Schedule,
    authored: dict[str, Any],
    revision: int,
    stamp: dict[str, Any],
    revised_by: str,
) -> Schedule:
    """The next revision. While times stay, so does the next run: it may be due already."""
    now = stamp["recorded_at"]
    revised = current.model_copy(
        update={**authored, "revision": revision, "updated_at": now, "updated_by": revised_by}
    )
    if all(getattr(current, name) == getattr(revised, name) for name in _TIMING):
        return revised
    due = next_run_time(revised, current.config_id, now)
    return revised.model_copy(update={"next_run_time": due})


def _check_room(tenant_id: str) -> None:
    """Refuse one more active schedule; a few more may pass that come at the same moment."""
    if revisions.count_active(tenant_id) >= MAX_ACTIVE:
        raise TooManySchedulesError(tenant_id)
