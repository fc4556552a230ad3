"""The templates that can be run, with their variables."""

from dataclasses import asdict
from typing import Any

from pydantic import Field

from shared.http.routes import Route
from shared.models import Model


class TemplateSummary(Model):
    """A template in a list."""

    template: str = Field(description="{provider}/{domain}/{name}.", examples=["gcp/cost/dryrun"])
    provider: str
    domain: str
    name: str
    description: str = Field(description="As written: `{name}` stands for a variable.")


class Templates(Model):
    """Every template that can be run."""

    templates: tuple[TemplateSummary, ...]


class TemplateVariable(Model):
    """A variable of a template."""

    name: str
    type: str = Field(description="string, integer, number, boolean, date, email, table or list.")
    items: str | None = Field(description="Type of the items of a list.")
    default: Any = Field(description="As written: `{name}` stands for another variable.")
    required: bool = Field(description="Whether the request has to give a value.")
    overridable: bool = Field(description="Whether a request may give a value.")
    choices: tuple[Any, ...] | None = Field(description="The only values allowed.")
    pattern: str | None = Field(description="What a text must match from end to end.")
    description: str | None
    origin: str = Field(description="`template`, or `inherited from configs/…`.")


class TemplateStep(Model):
    """A step of a template."""

    step_id: str
    name: str
    ps_type: str
    trigger: str = Field(description="on_success, on_failure or always.")
    timeout_seconds: int
    max_attempts: int
    when: str | None = Field(description="Condition under which the step runs.")


class TemplateDetails(TemplateSummary):
    """A template with what a run of it may be given."""

    variables: tuple[TemplateVariable, ...]
    steps: tuple[TemplateStep, ...]


def list_templates() -> Templates:
    """Every template that can be run, by its path."""
    from shared.engine.prepare import offers

    return Templates(
        templates=tuple(
            TemplateSummary(
                template=offer.template,
                provider=offer.provider,
                domain=offer.domain,
                name=offer.name,
                description=offer.description,
            )
            for offer in offers()
        )
    )


def template(provider: str, domain: str, template: str) -> TemplateDetails:
    """A template's variables, with types and defaults, and its steps."""
    from shared.engine.prepare import library
    from shared.templates.catalog import offer

    found = offer(library().get(provider, domain, template))
    return TemplateDetails.model_validate(asdict(found))


ROUTES = (
    Route(
        "GET",
        "/api/v1/pipelines/templates",
        list_templates,
        "List templates",
        Templates,
        tag="templates",
    ),
    Route(
        "GET",
        "/api/v1/pipelines/templates/{provider}/{domain}/{template}",
        template,
        "A template and its variables",
        TemplateDetails,
        problems=(404,),
        tag="templates",
    ),
)
