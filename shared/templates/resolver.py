"""A compiled template, a tenant and a date become a resolved pipeline."""

from collections.abc import Mapping
from html import escape
from typing import Any

from shared.errors import FieldProblem, InvalidInputError, Permanent
from shared.templates import conditions, value_types
from shared.templates.built_ins import BuiltIns
from shared.templates.compiled import CompiledTemplate
from shared.templates.models import Condition, ResolvedPipeline
from shared.templates.plan import LATE, UnfitNameError
from shared.templates.plans import Plan
from shared.templates.value_types import TABLE_PATTERN, shown, text_of
from shared.templates.variables import check_overrides, missing

_PROTOTYPE = ResolvedPipeline(
    provider="", domain="", template_name="", pipeline_id="", description="", variables={}, steps=()
)


class MissingOutputError(Permanent):
    """A query needs a step's output that the step did not leave."""

    code = "missing-output"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{{{name}}} has no value in this run, and a query cannot go without it.")


def resolve(
    compiled: CompiledTemplate, facts: BuiltIns, overrides: Mapping[str, Any] | None = None
) -> ResolvedPipeline:
    """The pipeline of one run.

    Args:
        compiled: the template.
        facts: the run's built-in variables.
        overrides: what the request body gives: `date` and `trigger_by`, which then replace those of
            `facts`, and variables of the template. Values are data; no placeholder in them is
            resolved.

    Raises:
        InvalidInputError: names every value that is of the wrong type, unknown, built in, missing,
            or cannot stand where a query names a table.
    """
    values = facts.values()
    checked, problems = check_overrides(compiled.variables, overrides or {})
    problems.extend(missing(compiled.variables, overrides or {}))
    if facts.admin_email is None and compiled.needs_admin_email and "admin_email" not in checked:
        problems.append(FieldProblem("/admin_email", "is required: the tenant's profile has none"))
    if problems:
        raise InvalidInputError(problems)
    plan = compiled.open if not checked.keys().isdisjoint(compiled.variables) else compiled.closed
    try:
        return apply(compiled, plan, values, checked)
    except UnfitNameError as error:
        raise InvalidInputError(
            [FieldProblem(f"/{error.name}", error.reason, error.value)]
        ) from None


def apply(
    compiled: CompiledTemplate, plan: Plan, values: dict[str, Any], checked: dict[str, Any]
) -> ResolvedPipeline:
    """The pipeline for values that have been checked; `values` becomes part of it.

    Raises:
        UnfitNameError: a value cannot stand where a query names a table.
        InvalidInputError: a source is not the name of a table.
    """
    sources = _sources(compiled, plan, values, checked)
    return _PROTOTYPE.model_copy(
        update={
            "provider": compiled.provider,
            "domain": compiled.domain,
            "template_name": compiled.template_name,
            "pipeline_id": values["pipeline_id"],
            "description": plan.description(values),
            "sources": sources,
            "max_bytes_billed": compiled.max_bytes_billed,
            "variables": _without(values, plan.texts),
            "steps": tuple([step.make(values) for step in plan.steps]),
        }
    )


def _fill_values(plan: Plan, values: dict[str, Any], checked: dict[str, Any]) -> None:
    values.update(plan.constants)
    values["pipeline_id"] = plan.pipeline_id(values)
    if checked:
        values.update(checked)
    for name, maker in plan.variables:
        if name not in checked:
            values[name] = maker(values)


def _without(values: dict[str, Any], texts: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in texts} if texts else values


def _sources(
    compiled: CompiledTemplate, plan: Plan, values: dict[str, Any], checked: dict[str, Any]
) -> tuple[str, ...]:
    """Complete `values`; give the tables that the run may read beside its own.

    Sources come from built-ins and the template's own defaults, never from a request body.

    Raises:
        InvalidInputError: one is not the name of a table.
    """
    closed = compiled.closed
    defaults = values.copy() if plan is not closed and closed.shared_sources is None else values
    _fill_values(plan, values, checked)
    if closed.shared_sources is not None:
        return closed.shared_sources
    if defaults is not values:
        _fill_values(closed, defaults, {name: checked[name] for name in checked if name == "date"})
    sources = tuple(closed.sources(defaults))
    for source in sources:
        if not TABLE_PATTERN.fullmatch(source):
            problem = f"{shown(source)} of {compiled.path} is not the name of a table"
            raise InvalidInputError([FieldProblem("/sources", problem)])
    return sources


def fill(
    config: Any,
    step_outputs: Mapping[str, Mapping[str, Any]],
    *,
    error_message: str | None = None,
    failed_step: str | None = None,
) -> Any:
    """`config` with the values that are known only while running put in.

    Args:
        config: a step's resolved configuration; it is not changed, parts of it are shared.
        step_outputs: by step_id, what the steps before have left.
        error_message: why the run failed, for steps on failure.
        failed_step: the step that failed.

    Raises:
        MissingOutputError: a query parameter would have no value.
    """
    return _Filling(step_outputs, error_message, failed_step).fill(config)


def holds(
    when: Condition | None,
    step_outputs: Mapping[str, Mapping[str, Any]],
    *,
    error_message: str | None = None,
    failed_step: str | None = None,
) -> bool:
    """Whether a step's `when` lets it run; True without one.

    Raises:
        ConditionError: values cannot be compared.
    """
    if when is None:
        return True
    late = _Filling(step_outputs, error_message, failed_step)

    def value_of(name: str) -> Any:
        return when.values[name] if name in when.values else late.value(name)

    return conditions.evaluate(conditions.parse(when.text), value_of)


_PARAMETER = frozenset({"name", "type", "value"})
"""Keys of a query parameter."""

_WITHOUT_RESULT: Mapping[str, Any] = {
    "rows_processed": 0,
    "bytes_processed": 0,
    "status": "NOT_RUN",
    "error": "",
}
"""What a step counts as that has not run, because it was skipped or a step before it failed."""


class _Filling:
    def __init__(
        self,
        step_outputs: Mapping[str, Mapping[str, Any]],
        error_message: str | None,
        failed_step: str | None,
    ) -> None:
        self._outputs = step_outputs
        self._running = {"error_message": error_message or "", "failed_step": failed_step or ""}

    def value(self, name: str) -> Any:
        if name in self._running:
            return self._running[name]
        _, step_id, output = name.split(".")
        value = self._outputs.get(step_id, {}).get(output)
        return _WITHOUT_RESULT.get(output) if value is None else value

    def fill(self, config: Any) -> Any:
        if isinstance(config, dict):
            if LATE in config:
                return self._late(config[LATE])
            filled = {key: self.fill(value) for key, value in config.items()}
            return self._parameter(config, filled) if filled.keys() == _PARAMETER else filled
        if isinstance(config, list | tuple):
            return [self.fill(item) for item in config]
        return config

    def _late(self, segments: list[Any]) -> Any:
        if len(segments) == 1:
            segment = segments[0]
            if "type_of" in segment:
                return _sql_type(self.value(segment["type_of"]))
            return self.value(segment["ref"])
        return "".join(map(self._text, segments))

    def _text(self, segment: Any) -> str:
        if isinstance(segment, str):
            return segment
        text = text_of(self.value(segment["ref"]))
        return escape(text) if "html" in segment else text

    def _parameter(self, config: dict[str, Any], filled: dict[str, Any]) -> dict[str, Any]:
        late = config["value"]
        if not isinstance(late, dict) or LATE not in late:
            return filled
        if filled["value"] is None:
            raise MissingOutputError(late[LATE][0]["ref"])
        if "NUMERIC" in filled["type"]:
            filled["value"] = value_types.sql_value(value_types.NUMBER, filled["value"])
        return filled


def _sql_type(value: Any) -> str:
    if isinstance(value, list | tuple):
        kind = value_types.inferred(value[0]) if value else value_types.STRING
        return f"ARRAY<{(kind or value_types.STRING).sql}>"
    return (value_types.inferred(value) or value_types.STRING).sql
