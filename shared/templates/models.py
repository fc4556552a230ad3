"""What an author writes and what resolving it gives.

`schemas/pipeline.schema.json` is generated from the first half, for editors.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from shared.models import Model

ScalarType = Literal["string", "integer", "number", "boolean", "date", "email", "table"]
VariableType = Literal["string", "integer", "number", "boolean", "date", "email", "table", "list"]
Trigger = Literal["on_success", "on_failure", "always"]

STEP_ID_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
EXTENDS_PATTERN = r"^[a-z0-9_]+(/[a-z0-9_]+){1,2}$"


class Retry(Model):
    """How often a step is tried when it fails for a reason that may pass."""

    max_attempts: int = Field(
        default=3, ge=1, le=10, strict=True, description="Attempts in all, the first one included."
    )
    backoff_seconds: int = Field(
        default=30,
        ge=0,
        le=600,
        strict=True,
        description="Pause before the second attempt; it doubles with each further one.",
    )


class VariableDeclaration(Model):
    """A variable with a type, for values that the request body gives or replaces."""

    type: VariableType = Field(
        default="string",
        description="What a value must be. `table` is a name such as project.dataset.table.",
    )
    items: ScalarType = Field(default="string", description="Type of the items of a `list`.")
    default: Any = Field(
        default=None, description="Value when the body gives none; may hold placeholders."
    )
    required: bool = Field(
        default=False, strict=True, description="The body has to give a value; excludes `default`."
    )
    choices: list[Any] | None = Field(
        default=None, min_length=1, description="The only values allowed."
    )
    pattern: str | None = Field(
        default=None, description="Regular expression that a text must match from end to end."
    )
    overridable: bool = Field(
        default=True, strict=True, description="Whether a request body may replace the value."
    )
    description: str | None = Field(default=None, description="What the variable is for.")


Plain = Annotated[str | bool | int | float | list[Any], Field(description="A plain value.")]


class Step(Model):
    """One step; fields beside these belong to its processor."""

    model_config = ConfigDict(extra="allow")

    step_id: str = Field(
        pattern=STEP_ID_PATTERN, description="Name of the step, unique in the template."
    )
    name: str | None = Field(default=None, description="Title for people; the step_id when absent.")
    ps_type: str = Field(description="The processor that does the work.")
    trigger: Trigger = Field(
        default="on_success",
        description="Runs after success of the steps before it, after a failure, or in any case.",
    )
    timeout_seconds: int = Field(
        default=300,
        ge=1,
        le=21_600,
        strict=True,
        description="Longest time that one attempt may take. Work inside BigQuery may take hours;"
        " what runs inside a function, such as a notification, ends with the function.",
    )
    retry: Retry = Field(default_factory=Retry, description="How often to try again.")
    when: str | None = Field(
        default=None,
        max_length=1000,
        description='Condition, such as "{steps.extract.rows_processed} > 0"; skipped when false.',
    )


class PipelineTemplate(Model):
    """A file `configs/{provider}/{domain}/{template_name}.yml`."""

    pipeline_id: str | None = Field(
        default=None,
        description="Name of the pipeline for a tenant; "
        "{tenant_id}-{provider}-{domain}-{template_name} when absent. Not inherited.",
    )
    description: str | None = Field(default=None, description="What the pipeline does.")
    extends: str | None = Field(
        default=None,
        pattern=EXTENDS_PATTERN,
        description="Template to inherit from, such as gcp/cost/cost_billing.",
    )
    variables: dict[str, Plain | VariableDeclaration] = Field(
        default_factory=dict, description="Values that steps refer to as {name}."
    )
    sources: list[str] = Field(
        default_factory=list,
        description="Tables outside the tenant's own datasets that queries may read.",
    )
    max_bytes_billed: int | None = Field(
        default=None,
        ge=1,
        strict=True,
        description="Refuse every query of the pipeline that would scan more bytes than this. Of"
        " the limits of step, template and plan the smallest holds.",
    )
    steps: list[Step] = Field(default_factory=list, description="What runs, in order.")


class Condition(Model):
    """A step's `when`: its text, and the values of those of its variables that are known."""

    text: str
    values: dict[str, Any] = Field(default_factory=dict)


class ResolvedStep(Model):
    """A step of one run. Values known only while running stand in `config` as `$late` entries."""

    step_id: str
    name: str
    ps_type: str
    """The processor's own name, also where the template used an alias."""
    family: str
    trigger: Trigger
    timeout_seconds: int
    retry: Retry
    when: Condition | None = None
    config: dict[str, Any]
    """JSON values; parts that do not vary are shared between runs and must not be changed."""


class ResolvedPipeline(Model):
    """A template resolved for one tenant and date; survives JSON both ways."""

    provider: str
    domain: str
    """Empty for templates directly below their provider, such as customer/onboarding."""
    template_name: str
    pipeline_id: str
    description: str
    sources: tuple[str, ...] = ()
    max_bytes_billed: int | None = None
    """Most bytes that one query may scan."""
    variables: dict[str, Any]
    """Every variable with its value, built-in ones included."""
    steps: tuple[ResolvedStep, ...]
