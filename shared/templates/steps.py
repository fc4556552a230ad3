"""One step, compiled: its common fields checked, its processor's fields as trees."""

from collections.abc import Mapping as MappingType
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from shared.processors import registry
from shared.templates import conditions, structure
from shared.templates.conditions import Comparison, ConditionError, Expression, Literal, Variable
from shared.templates.document import Mapping, Scalar
from shared.templates.expressions import Expressions, Scope
from shared.templates.models import ResolvedStep, Step
from shared.templates.plan import Branch, Constant, Reference, Tree, mapping_of
from shared.templates.problems import Problems
from shared.templates.value_types import ValueType, shown


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """What resolving a step and checking its configuration needs."""

    prototype: ResolvedStep
    """Everything that does not vary."""
    name: Tree
    when: Tree
    config: Branch
    model: type[BaseModel]
    """The processor's configuration model."""
    node: Mapping
    """As written, for the places of faults."""


def compile_steps(
    document: Mapping,
    kinds: MappingType[str, ValueType],
    path: dict[str, str],
    problems: Problems,
) -> list[CompiledStep]:
    """The steps of a template that have a known processor; faults go to `problems`."""
    nodes = structure.step_nodes(document)
    names = [node.text("step_id") or "" for node in nodes]
    outputs: dict[str, frozenset[str]] = {}
    compiled = []
    for index, node in enumerate(nodes):
        scope = Scope(kinds, dict(outputs), frozenset(names[index:]), allows_late=True)
        ps_type = structure.processor_type(node, path, problems)
        processor = registry.load(ps_type) if ps_type else None
        step = _compile(node, ps_type, scope, problems)
        if step:
            compiled.append(step)
        outputs[names[index]] = processor.outputs if processor else _Anything()
    return compiled


class _Anything(frozenset[str]):
    """Outputs of a step whose processor is unknown, which is one fault, not several."""

    def __iter__(self) -> Any:
        return iter(())

    def __contains__(self, name: object) -> bool:
        return True


def _compile(
    node: Mapping, ps_type: str | None, scope: Scope, problems: Problems
) -> CompiledStep | None:
    expressions = Expressions(scope, problems)
    common = structure.common_fields(node)
    model = registry.load(ps_type).config_model if ps_type else None
    own = {key: value for key, value in node.values.items() if key not in Step.model_fields}
    keys = {key: node.keys[key] for key in own}
    config_node = Mapping(node.source, node.start, node.end, keys, own)
    config = expressions.tree(config_node, (model,) if model else ())
    when = _condition(node, expressions)
    title = node.values.get("name")
    name = (
        Expressions(replace(scope, allows_late=False), problems).as_text(title)
        if isinstance(title, Scalar) and isinstance(title.value, str)
        else Constant(common["step_id"])
    )
    if model is None or ps_type is None:
        return None
    assert isinstance(config, Branch)  # noqa: S101 - the tree of a mapping
    prototype = ResolvedStep(
        step_id=common["step_id"],
        name=common["step_id"],
        ps_type=ps_type,
        family=registry.family(ps_type),
        trigger=common["trigger"],
        timeout_seconds=common["timeout_seconds"],
        retry=common["retry"],
        config={},
    )
    return CompiledStep(prototype, name, when, config, model, config_node)


def _condition(node: Mapping, expressions: Expressions) -> Tree:
    """The tree of `when`: its text and its variables; a constant None without one."""
    written = node.values.get("when")
    if not isinstance(written, Scalar) or not isinstance(written.value, str):
        return Constant(None)
    try:
        expression = conditions.parse(written.value)
    except ConditionError as error:
        expressions.problems.add(written.place, f"when: {error}")
        return Constant(None)
    names = dict.fromkeys(conditions.variables(expression))
    seen: dict[str, Tree] = {}
    for name in names:
        fault = expressions.scope.fault(name)
        if fault:
            expressions.problems.add(written.place_of(f"{{{name}}}"), f"when: {fault}")
        elif name in expressions.scope.kinds:
            seen[name] = Reference(name)
    if all(expressions.scope.fault(name) is None for name in names):
        for fault in _type_faults(expression, expressions.scope):
            expressions.problems.add(written.place, f"when: {fault}")
    return mapping_of({"text": Constant(written.value), "values": mapping_of(seen)})


def _type_faults(expression: Expression, scope: Scope) -> list[str]:
    """Comparisons that cannot come out well, whatever their values will be."""
    faults = []
    for atom in conditions.atoms(expression):
        if isinstance(atom, Comparison):
            left, right = _example(atom.left, scope), _example(atom.right, scope)
            if not conditions.comparable(atom.operator, left, right):
                faults.append(
                    f"cannot compare {_described(atom.left, scope)} {atom.operator} "
                    f"{_described(atom.right, scope)}; compare two numbers or two texts"
                )
        elif not isinstance(_example(atom, scope), bool | _Unknown):
            faults.append(
                f"{_described(atom, scope)} is not true or false; compare it with something"
            )
    return faults


class _Unknown:
    """An output without a declared type, which is compared when it is there."""


def _example(operand: Expression, scope: Scope) -> Any:
    if isinstance(operand, Literal):
        return operand.value
    kind = scope.type_of(operand.name) if isinstance(operand, Variable) else None
    return kind.example if kind else _Unknown()


def _described(operand: Expression, scope: Scope) -> str:
    if isinstance(operand, Literal):
        return shown(operand.value)
    assert isinstance(operand, Variable)  # noqa: S101 - the other kind of operand
    kind = scope.type_of(operand.name)
    return f"{{{operand.name}}} ({kind.wanted if kind else 'of unknown type'})"
