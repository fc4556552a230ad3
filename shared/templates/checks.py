"""A processor's configuration held against its model: with samples at load, with a run's values."""

from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from shared.errors import FieldProblem, InvalidInputError
from shared.processors.contract import REBINDS
from shared.templates import built_ins, faults
from shared.templates.compiled import CompiledTemplate
from shared.templates.document import Mapping, Node, Sequence, plain
from shared.templates.expressions import OUTPUTS_OF_ALL, names_in, place_of_use, reached
from shared.templates.models import ResolvedPipeline, Step
from shared.templates.plan import Binder, Fixed, Tree, UnfitNameError, is_late
from shared.templates.plans import Parts
from shared.templates.problems import Place, Problems
from shared.templates.resolver import fill
from shared.templates.steps import CompiledStep
from shared.templates.value_types import TABLE_PATTERN, shown
from shared.templates.variables import Variable


class _AnyOutput(dict[str, Any]):
    """A value for each output that there may be."""

    def get(self, name: str, _default: Any = None) -> Any:
        kind = OUTPUTS_OF_ALL.get(name)
        return kind.example if kind else "text"


class _AnyStep(dict[str, MappingType[str, Any]]):
    """Outputs of every step there may be."""

    def get(self, _step_id: str, _default: Any = None) -> MappingType[str, Any]:
        return _AnyOutput()


class _Samples(dict[str, Any]):
    """Values of all names; the unknown ones, each a fault already, are a text."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Any:
        return "text"


@dataclass(frozen=True)
class _Finding:
    """What a processor refuses."""

    place: Place
    message: str
    names: tuple[str, ...]
    """The variables that the refused value is made of; none for a field that is not there."""


def check_samples(parts: Parts, document: Mapping, problems: Problems) -> None:
    """Resolve the template for a sample tenant and report what its processors would refuse.

    A part whose content nobody knows yet (a required text, a step's output) is checked when it is
    known.
    """
    samples = _Samples(built_ins.SAMPLE.values() | dict(parts.path))
    samples["pipeline_id"] = "sample-pipeline"
    binder = Binder(samples, parts.kinds)
    unknown = set(parts.kinds) - set(built_ins.TYPES) - set(parts.variables)
    for name, variable in parts.variables.items():
        samples[name] = _bound(binder, variable.tree) if variable.tree else variable.sample
        if variable.tree is None and _is_free_text(variable):
            unknown.add(name)
    _check_sources(binder, parts, document, problems)
    for step in parts.steps:
        _check_rebinding(step, document.values.get("variables"), problems)
        try:
            config = _bound(binder, step.config)
        except UnfitNameError as error:
            place = place_of_use(step.node, error.name) or step.node.place
            problems.add(place, f"variable {error.name!r} {error.reason}")
            continue
        for finding in _findings(step, config, document.values.get("variables")):
            if all(name in parts.kinds and name not in unknown for name in finding.names):
                problems.add(finding.place, finding.message)


def verify(
    compiled: CompiledTemplate,
    pipeline: ResolvedPipeline,
    overrides: MappingType[str, Any] | None = None,
) -> None:
    """Hold every step's configuration against its processor's model, once, before a run starts.

    Raises:
        InvalidInputError: names the variable of the body that a refused value came from, or the
            step and field.
    """
    problems: list[FieldProblem] = []
    for step, resolved in zip(compiled.steps, pipeline.steps, strict=True):
        for finding in _findings(step, resolved.config, compiled.variable_nodes):
            given = [name for name in finding.names if name in (overrides or {})]
            pointers = [f"/{name}" for name in given] or [f"/steps/{resolved.step_id}"]
            problems.extend(FieldProblem(pointer, finding.message) for pointer in pointers)
    if problems:
        raise InvalidInputError(problems)


def _findings(
    step: CompiledStep, config: dict[str, Any], variable_nodes: Node | None
) -> list[_Finding]:
    """What the processor refuses, as far as it is made of values that are known."""
    filled = fill(config, _AnyStep(), error_message="text", failed_step="text")
    try:
        step.model.model_validate(filled)
    except ValidationError as error:
        known = list(Step.model_fields)
        found = faults.sentences(error, step.model, step.node, known)
    else:
        return []
    findings = []
    for place, message, node in found:
        names = () if isinstance(node, Mapping) else tuple(reached(node, variable_nodes))
        if not any(is_late(name) for name in names):
            findings.append(_Finding(place, message, names))
    return findings


def _check_sources(binder: Binder, parts: Parts, document: Mapping, problems: Problems) -> None:
    node = document.values.get("sources")
    items = node.items if isinstance(node, Sequence) else ()
    items = tuple(item for item in items if isinstance(plain(item), str))
    for item, source in zip(items, _bound(binder, parts.sources), strict=True):
        if not TABLE_PATTERN.fullmatch(source):
            problems.add(
                item.place, f"sources: {shown(source)} is not a table such as project.dataset.table"
            )


def _check_rebinding(step: CompiledStep, variable_nodes: Node | None, problems: Problems) -> None:
    """Report variables of a query that would not change with the one that a field rebinds."""
    for field, info in step.model.model_fields.items():
        extra = info.json_schema_extra
        rebound = extra.get(REBINDS) if isinstance(extra, dict) else None
        if field not in step.node.values or not isinstance(rebound, str):
            continue
        source = step.node.values.get("source")
        for name in dict.fromkeys(names_in(source) if source else ()):
            used = variable_nodes.values.get(name) if isinstance(variable_nodes, Mapping) else None
            if used is not None and rebound in reached(used, variable_nodes):
                problems.add(
                    place_of_use(step.node, name) or step.node.place,
                    f"{{{name}}} is made of {{{rebound}}} and stays the same for every {rebound}"
                    f" that {field} runs the query for; use {{{rebound}}} itself",
                )
                return


def _bound(binder: Binder, tree: Tree) -> Any:
    """The value of a part when all names have one."""
    bound = binder.bind(tree)
    assert isinstance(bound, Fixed)  # noqa: S101 - nothing is left that could vary
    return bound.value


def _is_free_text(variable: Variable) -> bool:
    """Whether a required variable can hold texts that its sample does not speak for."""
    free = variable.kind.name == "string" or variable.kind.sql == "ARRAY<STRING>"
    return free and not variable.choices
