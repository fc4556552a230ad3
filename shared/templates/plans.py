"""A compiled template bound to what is known: what is left to do for each tenant and date."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.templates import built_ins
from shared.templates.models import Condition, ResolvedStep
from shared.templates.plan import Binder, Fixed, Maker, Tree, Values, text_key
from shared.templates.steps import CompiledStep
from shared.templates.value_types import ValueType, text_of
from shared.templates.variables import Variable


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a template before they are bound."""

    path: Mapping[str, str]
    kinds: Mapping[str, ValueType]
    variables: Mapping[str, Variable]
    pipeline_id: Tree
    description: Tree
    sources: Tree
    steps: Sequence[CompiledStep]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step: shared as it is when nothing varies, else a copy with some fields made anew."""

    prototype: ResolvedStep
    varying: tuple[tuple[str, Maker], ...]

    def make(self, values: Values) -> ResolvedStep:
        """The step of one run."""
        if not self.varying:
            return self.prototype
        return self.prototype.model_copy(
            update={field: maker(values) for field, maker in self.varying}
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What is the same for everyone, and makers for the rest."""

    constants: Mapping[str, Any]
    variables: tuple[tuple[str, Maker], ...]
    """Those that vary, in the order of their references, texts of lists and booleans among them."""
    pipeline_id: Maker
    description: Maker
    sources: Maker
    shared_sources: tuple[str, ...] | None
    """The sources when they do not vary."""
    steps: tuple[StepPlan, ...]
    texts: tuple[str, ...]
    """Which of `variables` are such texts."""


def build(parts: Parts, *, folds_defaults: bool) -> Plan:
    """Bind `parts` to the template's path and to the variables that cannot change.

    Args:
        parts: the template.
        folds_defaults: also bind defaults that a request body could replace: for runs whose body
            replaces none.
    """
    constants: dict[str, Any] = dict(parts.path)
    varying: list[tuple[str, Maker]] = []
    binder = Binder(constants, parts.kinds)
    _add_text("billing_account_ids", parts, varying)
    for name, variable in parts.variables.items():
        if variable.tree is None:
            _add_text(name, parts, varying)
            continue
        bound = binder.bind(variable.tree)
        if isinstance(bound, Fixed) and (folds_defaults or not variable.overridable):
            constants[name] = bound.value
            continue
        varying.append((name, _maker(bound)))
        _add_text(name, parts, varying)
    steps = tuple(_step(binder, step) for step in parts.steps)
    sources = binder.bind(parts.sources)
    pipeline_id, description = (
        _maker(binder.bind(tree)) for tree in (parts.pipeline_id, parts.description)
    )
    unused = {text_key(name) for name in parts.kinds if text_key(name) not in binder.texts}
    variables = tuple(entry for entry in varying if entry[0] not in unused)
    return Plan(
        constants=constants,
        variables=variables,
        pipeline_id=pipeline_id,
        description=description,
        sources=_maker(sources),
        shared_sources=tuple(sources.value) if isinstance(sources, Fixed) else None,
        steps=steps,
        texts=tuple(binder.texts),
    )


def _add_text(name: str, parts: Parts, varying: list[tuple[str, Maker]]) -> None:
    """Let text have a list or boolean in its own spelling, `a, b` and `true`."""
    if not parts.kinds[name].is_text:
        varying.append((text_key(name), lambda values: text_of(values[name])))


def _maker(bound: Fixed | Maker) -> Maker:
    if not isinstance(bound, Fixed):
        return bound
    value = bound.value
    return lambda _: value


def _step(binder: Binder, step: CompiledStep) -> StepPlan:
    fixed: dict[str, Any] = {}
    varying: list[tuple[str, Maker]] = []
    for field, tree in (("name", step.name), ("config", step.config), ("when", step.when)):
        bound = binder.bind(tree)
        if isinstance(bound, Fixed):
            fixed[field] = (
                Condition(**bound.value) if field == "when" and bound.value else bound.value
            )
        else:
            varying.append((field, _condition_maker(bound) if field == "when" else bound))
    return StepPlan(step.prototype.model_copy(update=fixed), tuple(varying))


def _condition_maker(make: Maker) -> Maker:
    return lambda values: Condition.model_construct(**make(values))


def pipeline_id_of(path: Mapping[str, str]) -> str:
    """The default of `pipeline_id`, as a template would write it."""
    names = ["tenant_id", *(name for name in built_ins.OF_PATH if path[name])]
    return "-".join(f"{{{name}}}" for name in names)
