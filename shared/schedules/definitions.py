"""What a schedule says: which template runs for the tenant, when, and with which variables."""

import re
from datetime import datetime
from typing import Any

from pydantic import Field, field_validator

from shared.errors import FieldProblem, InvalidInputError
from shared.models import Model

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_ONE_LINE = r"^[^\x00-\x1f\x7f]*$"


def path_part(text: str) -> str:
    """A part of a template's path, in lower case.

    Raises:
        ValueError: it is none.
    """
    lower = text.strip().lower()
    if not _NAME.fullmatch(lower):
        raise ValueError(
            "must be one part of a template's path: letters, digits and _, such as the three"
            " of gcp/cost/cost_billing"
        )
    return lower


def without_own_names(parameters: dict[str, Any]) -> dict[str, Any]:
    """The variables that many runs share, if none of them is each run's own.

    Raises:
        ValueError: names the one that is.
    """
    for name in ("date", "trigger_by"):
        if name in parameters:
            raise ValueError(f"must not have {name!r}: each run gets its own; leave it out")
    return parameters


class ScheduleFields(Model):
    """The part of a schedule that its author writes."""

    provider: str = Field(
        min_length=1, description="First part of the template's path.", examples=["GCP"]
    )
    domain: str = Field(
        min_length=1, description="Second part of the template's path.", examples=["COST"]
    )
    pipeline_template: str = Field(
        min_length=1, description="The template's name.", examples=["billing_cost"]
    )
    schedule_cron: str = Field(
        description="Five fields: minute, hour, day of month, month, day of week; as in crontab(5)"
        " and Cloud Scheduler. A time that the clocks skip comes at the first moment after, one"
        " that they repeat comes once; intervals (`*/30 * * * *`) stay intervals.",
        examples=["0 2 * * *"],
    )
    timezone: str = Field(
        default="UTC",
        description="IANA time zone that the expression is read in.",
        examples=["America/New_York"],
    )
    is_active: bool = Field(default=True, description="False while the schedule is paused.")
    priority: int = Field(
        default=5, ge=1, le=10, description="Higher leaves the waiting queue first."
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Variables of the template that its runs replace."
    )
    catch_up: bool = Field(
        default=False,
        description="After an outage, run every missed occurrence; otherwise one for all of them.",
    )
    max_jitter_seconds: int = Field(
        default=0,
        ge=0,
        le=3600,
        description="Runs start up to this much after their occurrences, always the same for one"
        " schedule, so that many schedules of one time spread.",
    )
    description: str | None = Field(
        default=None, max_length=500, pattern=_ONE_LINE, description="What it is for."
    )


class Definition(ScheduleFields):
    """A schedule as it is to be; names are taken in any case and kept in lower case."""

    @field_validator("provider", "domain", "pipeline_template")
    @classmethod
    def _name(cls, text: str) -> str:
        return path_part(text)

    @field_validator("schedule_cron")
    @classmethod
    def _cron(cls, text: str) -> str:
        return _checked_cron(text)

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        from shared.schedules import time_zones

        problem = time_zones.problem(name)
        if problem:
            raise ValueError(problem)
        return name

    @field_validator("parameters")
    @classmethod
    def _no_date(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        return without_own_names(parameters)


class ShortDefinition(Definition):
    """A schedule as it is to be, in one of two forms.

    Short: `pipeline_config` and `schedule`; long: `provider`, `domain`, `pipeline_template` and
    `schedule_cron`.
    """

    provider: str = Field(default="", description="First part of the template's path.")
    domain: str = Field(default="", description="Second part of the template's path.")
    pipeline_template: str = Field(default="", description="The template's name.")
    schedule_cron: str = Field(default="", description="The long form of `schedule`.")
    pipeline_config: str | None = Field(
        default=None, description="The template's path.", examples=["gcp/cost/cost_billing"]
    )
    schedule: str | None = Field(
        default=None, description="Five-field cron expression.", examples=["0 2 * * *"]
    )

    @field_validator("pipeline_config")
    @classmethod
    def _path(cls, text: str | None) -> str | None:
        if text is None:
            return None
        lower = text.strip().lower()
        if [bool(_NAME.fullmatch(part)) for part in lower.split("/")] != [True, True, True]:
            raise ValueError("must be a template's path, such as gcp/cost/cost_billing")
        return lower

    @field_validator("schedule")
    @classmethod
    def _short_cron(cls, text: str | None) -> str | None:
        return text if text is None else _checked_cron(text)

    def long(self) -> Definition:
        """The same in the long form.

        Raises:
            InvalidInputError: template or times are said twice, or not at all.
        """
        long = (self.provider, self.domain, self.pipeline_template)
        problems = [
            *_said_once(
                "/pipeline_config", self.pipeline_config, "".join(long), "gcp/cost/cost_billing"
            ),
            *_said_once("/schedule", self.schedule, self.schedule_cron, "0 2 * * *"),
        ]
        if not (problems or self.pipeline_config or all(long)):
            problems = [
                FieldProblem(f"/{name}", "is required")
                for name in ("provider", "domain", "pipeline_template")
                if not getattr(self, name)
            ]
        if problems:
            raise InvalidInputError(problems)
        provider, domain, template = (self.pipeline_config or "/".join(long)).split("/")
        return Definition(
            **self.model_dump(include=set(ScheduleFields.model_fields) - _TIMES_AND_TEMPLATE),
            provider=provider,
            domain=domain,
            pipeline_template=template,
            schedule_cron=self.schedule or self.schedule_cron,
        )


_TIMES_AND_TEMPLATE = {"provider", "domain", "pipeline_template", "schedule_cron"}


def _said_once(pointer: str, short: str | None, long: str, example: str) -> list[FieldProblem]:
    if short and long:
        return [FieldProblem(pointer, "says again what other fields say; leave one out", short)]
    if not short and not long:
        return [FieldProblem(pointer, f"is required, such as {example}")]
    return []


def _checked_cron(text: str) -> str:
    from shared.schedules.expressions import parse

    parse(text)
    return " ".join(text.split())


class Schedule(ScheduleFields):
    """A schedule as it is."""

    config_id: str = Field(description="UUID of the schedule.")
    tenant_id: str
    next_run_time: datetime | None = Field(
        default=None,
        description="When it runs next, UTC, jitter included; null while it is paused.",
    )
    last_run_time: datetime | None = Field(
        default=None, description="When it was due last and was triggered, UTC."
    )
    revision: int = Field(description="Counts the changes; some numbers may be missing.")
    created_at: datetime | None = None
    created_by: str | None = None
    updated_at: datetime | None = None
    updated_by: str | None = None


class Occurrence(Model):
    """One time at which a schedule is due."""

    scheduled_time: datetime = Field(description="The occurrence, UTC.")
    local_time: str = Field(description="The same on the clock of the schedule's time zone.")
    run_time: datetime = Field(description="When the run starts, UTC: with the schedule's jitter.")
