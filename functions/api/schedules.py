"""Schedules of a tenant."""

import datetime as dt

from pydantic import Field

from functions.api.runs import Accepted
from shared.errors import FieldProblem, InvalidInputError
from shared.http import auth
from shared.http.auth import Caller
from shared.http.inputs import idempotency_key
from shared.http.routes import Route
from shared.models import Model
from shared.schedules.definitions import Definition, Occurrence, Schedule, ShortDefinition
from shared.tenancy import tenants

_SHOWN = 5


class Schedules(Model):
    """Schedules, newest first."""

    schedules: tuple[Schedule, ...]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page.")


class ScheduleQuery(Model):
    """Which schedules."""

    is_active: bool | None = Field(default=None, description="Only active or only paused ones.")
    limit: int = Field(default=50, ge=1, le=200, description="Schedules a page.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")


class Occurrences(Model):
    """The next occurrences of a schedule, of a paused one as if it were resumed now."""

    config_id: str
    timezone: str
    is_active: bool
    occurrences: tuple[Occurrence, ...]


def create(tenant_id: str, body: Definition) -> Schedule:
    """Let a template run for the tenant at the times of a cron expression.

    The template is resolved with `parameters` now, so what would fail at two in the morning is
    refused here, field by field.
    """
    return _create(auth.caller_for(tenant_id), body)


def create_for_key(body: ShortDefinition) -> Schedule:
    """Let a template run for the tenant of the API key at the times of a cron expression.

    Short: `{"pipeline_config": "gcp/cost/cost_billing", "schedule": "0 2 * * *"}`, or the fields of
    `/scheduler/customer/{tenant_id}/pipelines`.
    """
    try:
        return _create(auth.caller(), body.long())
    except InvalidInputError as error:
        if body.pipeline_config is None:
            raise
        raise InvalidInputError([_in_short_form(found) for found in error.problems]) from None


def _create(caller: Caller, definition: Definition) -> Schedule:
    from shared.schedules import configs

    tenant = tenants.profile(caller.tenant_id)
    return configs.create(
        tenant, definition, created_by=caller.name, idempotency_key=idempotency_key()
    )


def _in_short_form(found: FieldProblem) -> FieldProblem:
    """What is wrong with a part of the template's path is wrong with `pipeline_config`."""
    if found.pointer in {"/provider", "/domain", "/pipeline_template"}:
        return FieldProblem("/pipeline_config", found.problem, found.value)
    return found


def listed(tenant_id: str, query: ScheduleQuery) -> Schedules:
    """The tenant's schedules, newest first; deleted ones are not among them."""
    from shared.schedules import configs

    page = configs.listed(
        auth.caller_for(tenant_id).tenant_id,
        is_active=query.is_active,
        limit=query.limit,
        cursor=query.cursor,
    )
    return Schedules(schedules=tuple(page.schedules), next_cursor=page.next_cursor)


def get(tenant_id: str, config_id: str) -> Schedule:
    """The schedule with its next run."""
    from shared.schedules import configs

    return configs.get(auth.caller_for(tenant_id).tenant_id, config_id)


def replace(tenant_id: str, config_id: str, body: Definition) -> Schedule:
    """Put the body in the schedule's place; fields that it leaves out have their default.

    `is_active` too: without it a paused schedule is resumed. Of two requests at once the later one
    holds. An occurrence that is due already stays due unless the times change.
    """
    from shared.schedules import configs

    caller = auth.caller_for(tenant_id)
    tenant = tenants.profile(caller.tenant_id)
    return configs.replace(tenant, config_id, body, changed_by=caller.name)


def delete(tenant_id: str, config_id: str) -> Schedule:
    """Delete the schedule for good and show it as it was; runs that have begun go on."""
    from shared.schedules import configs

    caller = auth.caller_for(tenant_id)
    return configs.delete(caller.tenant_id, config_id, deleted_by=caller.name)


def pause(tenant_id: str, config_id: str) -> Schedule:
    """Let the schedule not run until it is resumed; runs that have begun go on."""
    from shared.schedules import configs

    caller = auth.caller_for(tenant_id)
    return configs.pause(caller.tenant_id, config_id, changed_by=caller.name)


def resume(tenant_id: str, config_id: str) -> Schedule:
    """Let a paused schedule run again from its next occurrence on; what it missed stays missed."""
    from shared.schedules import configs

    caller = auth.caller_for(tenant_id)
    tenant = tenants.profile(caller.tenant_id)
    return configs.resume(tenant, config_id, changed_by=caller.name)


def run(tenant_id: str, config_id: str) -> Accepted:
    """Start a run as the schedule would, at once, also of a paused one; its times do not change.

    It processes the last complete day of the schedule's time zone and counts against the quota.
    """
    from shared.schedules import configs, runs

    caller = auth.caller_for(tenant_id)
    started = runs.run_now(
        auth.active_tenant(caller.tenant_id),
        configs.get(caller.tenant_id, config_id),
        user_id=caller.user_id,
        idempotency_key=idempotency_key(),
    )
    return Accepted(
        pipeline_logging_id=started.pipeline_logging_id,
        pipeline_id=started.pipeline_id,
        status="PENDING",
    )


def occurrences(tenant_id: str, config_id: str) -> Occurrences:
    """The schedule's next five occurrences."""
    from shared.schedules import configs, times

    schedule = configs.get(auth.caller_for(tenant_id).tenant_id, config_id)
    return Occurrences(
        config_id=schedule.config_id,
        timezone=schedule.timezone,
        is_active=schedule.is_active,
        occurrences=tuple(times.upcoming(schedule, dt.datetime.now(dt.UTC), _SHOWN)),
    )


_PIPELINES = "/api/v1/scheduler/customer/{tenant_id}/pipelines"
_PIPELINE = f"{_PIPELINES}/{{config_id}}"
_CONFIG_ID = {"config_id": "ID that the creation of the schedule answered."}
_NAMED = {"Idempotency-Key": "Names the schedule: the same key of a tenant creates it once."}

ROUTES = (
    Route(
        "POST",
        _PIPELINES,
        create,
        "Create a schedule",
        Schedule,
        status=201,
        body=Definition,
        action="schedule.create",
        resource="config_id",
        headers=_NAMED,
        problems=(404, 409),
        tag="schedules",
    ),
    Route(
        "POST",
        "/api/v1/scheduler/configs",
        create_for_key,
        "Create a schedule for the key's tenant",
        Schedule,
        status=201,
        body=ShortDefinition,
        action="schedule.create",
        resource="config_id",
        headers=_NAMED,
        problems=(404, 409),
        tag="schedules",
    ),
    Route(
        "GET",
        _PIPELINES,
        listed,
        "The tenant's schedules",
        Schedules,
        query=ScheduleQuery,
        problems=(422,),
        tag="schedules",
    ),
    Route(
        "GET",
        _PIPELINE,
        get,
        "One schedule",
        Schedule,
        problems=(404,),
        tag="schedules",
        path_descriptions=_CONFIG_ID,
    ),
    Route(
        "PUT",
        _PIPELINE,
        replace,
        "Replace a schedule",
        Schedule,
        body=Definition,
        action="schedule.replace",
        resource="config_id",
        problems=(404, 409),
        tag="schedules",
        path_descriptions=_CONFIG_ID,
    ),
    Route(
        "DELETE",
        _PIPELINE,
        delete,
        "Delete a schedule",
        Schedule,
        action="schedule.delete",
        resource="config_id",
        problems=(404,),
        tag="schedules",
        path_descriptions=_CONFIG_ID,
    ),
    Route(
        "POST",
        f"{_PIPELINE}/pause",
        pause,
        "Pause a schedule",
        Schedule,
        action="schedule.pause",
        resource="config_id",
        problems=(404,),
        tag="schedules",
        path_descriptions=_CONFIG_ID,
    ),
    Route(
        "POST",
        f"{_PIPELINE}/resume",
        resume,
        "Resume a schedule",
        Schedule,
        action="schedule.resume",
        resource="config_id",
        problems=(404, 409, 422),
        tag="schedules",
        path_descriptions=_CONFIG_ID,
    ),
    Route(
        "POST",
        f"{_PIPELINE}/run",
        run,
        "Run a schedule now",
        Accepted,
        status=202,
        scope="run",
        action="schedule.run",
        resource="config_id",
        starts_run=True,
        headers={"Idempotency-Key": "Names the run: the same key of a schedule starts it once."},
        problems=(404, 409, 422, 429),
        tag="schedules",
        path_descriptions=_CONFIG_ID,
    ),
    Route(
        "GET",
        f"{_PIPELINE}/occurrences",
        occurrences,
        "A schedule's next occurrences",
        Occurrences,
        problems=(404,),
        tag="schedules",
        path_descriptions=_CONFIG_ID,
    ),
)
