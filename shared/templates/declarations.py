"""`variables:` compiled: types, defaults, their order, and cycles among them."""

import re
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pydantic import ValidationError

from shared.templates import built_ins, faults, value_types
from shared.templates.document import Mapping, Node, Scalar, Sequence, plain
from shared.templates.expressions import Expressions, Scope
from shared.templates.models import VariableDeclaration
from shared.templates.placeholders import IDENTIFIER, Placeholder, split
from shared.templates.plan import Constant, Reference, Tree, list_of
from shared.templates.problems import Problems
from shared.templates.value_types import UnfitValueError, ValueType, shown
from shared.templates.variables import Variable, checked_value, fits

RESERVED = frozenset({*built_ins.TYPES, *built_ins.RUNNING, "steps"}) - built_ins.REPLACEABLE


@dataclass
class _Entry:
    """A variable on its way: what was written."""

    name: str
    node: Node
    default: Node | None
    declaration: VariableDeclaration
    declared: bool
    uses: list[str] = field(default_factory=list)


def compile_variables(
    block: Node | None, child_file: str, problems: Problems
) -> tuple[dict[str, Variable], dict[str, ValueType]]:
    """The variables, each after those that it refers to, and the types of all names.

    Args:
        block: the value of `variables:`, inherited ones merged in.
        child_file: the template's own file; what was written elsewhere is inherited.
        problems: takes the faults; a variable with one still counts as known.
    """
    kinds: dict[str, ValueType] = dict(built_ins.TYPES)
    if not isinstance(block, Mapping):
        return {}, kinds
    entries = {}
    for name, node in block.values.items():
        entry = _entry(name, node, block, problems)
        if entry:
            entries[name] = entry
    for name in block.values:
        kinds.setdefault(name, value_types.STRING)
    order = _ordered(entries, problems)
    for name in order:
        kinds[name] = _kind(entries[name], kinds)
    compiled: dict[str, Variable] = {}
    expressions = Expressions(Scope(kinds), problems)
    for name in order:
        compiled[name] = _Compiling(entries[name], kinds, expressions, problems).run(child_file)
    return compiled, kinds


def _entry(name: str, node: Node, block: Mapping, problems: Problems) -> _Entry | None:
    if not IDENTIFIER.fullmatch(name):
        problems.add(
            block.key_place(name),
            f"variable {name!r}: a name is made of letters, digits and _, such as source_table",
        )
        return None
    if name in RESERVED:
        problems.add(
            block.key_place(name),
            f"variable {name!r} is built in and has a value already; rename it",
        )
        return None
    if isinstance(node, Mapping):
        return _declared(name, node, problems)
    if isinstance(node, Scalar) and node.value is None:
        problems.add(
            block.key_place(name),
            f"variable {name!r} has no value; give one, or declare "
            "{type: string, required: true} when the request body has to",
        )
        return None
    entry = _Entry(name, node, node, VariableDeclaration(), declared=False)
    entry.uses = _uses(node)
    return entry


def _declared(name: str, node: Mapping, problems: Problems) -> _Entry | None:
    try:
        declaration = VariableDeclaration.model_validate(plain(node))
    except ValidationError as error:
        for place, message, _ in faults.sentences(error, VariableDeclaration, node):
            problems.add(place, f"variable {name!r}: {message}")
        return None
    default = node.values.get("default")
    if declaration.required and default is not None:
        problems.add(
            node.key_place("default"),
            f"variable {name!r} is required and has a default; keep one of the two",
        )
    if default is None and "required" in node.values and not declaration.required:
        problems.add(node.place, f"variable {name!r} is not required, so it needs a default")
    if default is None and not declaration.overridable:
        problems.add(
            node.place,
            f"variable {name!r} has no default and may not be overridden; give it a default",
        )
    entry = _Entry(name, node, default, declaration, declared=True)
    entry.uses = _uses(default) if default is not None else []
    return entry


def _uses(node: Node) -> list[str]:
    """Names of the placeholders in a default."""
    if isinstance(node, Sequence):
        return [name for item in node.items for name in _uses(item)]
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return [part.name for part in split(node.value) if isinstance(part, Placeholder)]
    return []


def _ordered(entries: MappingType[str, _Entry], problems: Problems) -> list[str]:
    """Names with the ones that are referred to first; a cycle is a problem and gets any order."""
    graph = {name: [use for use in entry.uses if use in entries] for name, entry in entries.items()}
    while True:
        try:
            return list(TopologicalSorter(graph).static_order())
        except CycleError as error:
            # graphlib names each node before the one that it is needed by.
            cycle = list(reversed(error.args[1]))
            first = min(cycle)
            turn = cycle.index(first)
            cycle = [*cycle[turn:-1], *cycle[:turn], first]
            entry = entries[first]
            problems.add(
                entry.node.place,
                f"variables refer to each other in a circle: {' → '.join(cycle)}; "
                "give one of them a value of its own",
            )
            for name in cycle:
                graph[name] = []


def _kind(entry: _Entry, kinds: MappingType[str, ValueType]) -> ValueType:
    declaration = entry.declaration
    untyped = isinstance(entry.node, Mapping) and "type" not in entry.node.values
    if entry.declared and not (untyped and entry.default is not None):
        if declaration.type == "list":
            return value_types.list_of(value_types.SCALARS[declaration.items])
        return value_types.SCALARS[declaration.type]
    if entry.name in built_ins.REPLACEABLE:
        return built_ins.TYPES[entry.name]
    return _inferred(entry.default or entry.node, kinds)


def _inferred(node: Node, kinds: MappingType[str, ValueType]) -> ValueType:
    if isinstance(node, Sequence):
        items = {_inferred(item, kinds) for item in node.items}
        if len(items) == 1:
            item = items.pop()
            return value_types.list_of(item) if item in value_types.SCALARS.values() else _TEXTS
        return _TEXTS
    if isinstance(node, Scalar) and isinstance(node.value, str):
        parts = split(node.value)
        if len(parts) == 1 and isinstance(parts[0], Placeholder):
            return kinds.get(parts[0].name, value_types.STRING)
    value = node.value if isinstance(node, Scalar) else None
    return value_types.inferred(value) or value_types.STRING


_TEXTS = value_types.list_of(value_types.STRING)


@dataclass(frozen=True)
class _Compiling:
    """One variable, when the types of all are known."""

    entry: _Entry
    kinds: MappingType[str, ValueType]
    expressions: Expressions
    problems: Problems

    def run(self, child_file: str) -> Variable:
        entry, declaration = self.entry, self.entry.declaration
        kind = self.kinds[entry.name]
        faults_before = len(self.problems)
        tree = self._default(kind) if entry.default is not None else None
        own = entry.node.source.file == child_file
        variable = Variable(
            name=entry.name,
            kind=kind,
            tree=tree,
            place=entry.node.place,
            origin="template" if own else f"inherited from {entry.node.source.file}",
            choices=self._choices(kind),
            pattern=self._pattern(),
            overridable=declaration.overridable,
            description=declaration.description,
        )
        if isinstance(tree, Constant) and entry.default is not None:
            self._try(variable, tree.value, entry.default)
        # Without its bad default it counts as a value nobody knows, and causes no further faults.
        return variable if len(self.problems) == faults_before else replace(variable, tree=None)

    def _default(self, kind: ValueType) -> Tree:
        node = self.entry.default
        assert node is not None  # noqa: S101 - asked with a default only
        if isinstance(node, Sequence) and value_types.is_list(kind):
            trees = [self.expressions.tree(item) for item in node.items]
            for item, tree in zip(node.items, trees, strict=True):
                if not isinstance(item, Scalar):
                    self._fault(item, "a list holds plain values only")
                elif not isinstance(tree, Constant):
                    self._check_type(item, tree, _item_type(kind))
            if all(isinstance(tree, Constant) for tree in trees):
                return Constant([tree.value for tree in trees if isinstance(tree, Constant)])
            return list_of(trees)
        if not isinstance(node, Scalar):
            self._fault(node, f"must be {kind.wanted}, not {shown(plain(node))}")
            return Constant(kind.example)
        tree = self.expressions.tree(node)
        if not isinstance(tree, Constant):
            self._check_type(node, tree, kind)
        return tree

    def _check_type(self, node: Node, tree: Tree, wanted: ValueType) -> None:
        """A default with placeholders is of the type of its only placeholder, else text."""
        given = self.kinds.get(tree.name) if isinstance(tree, Reference) else value_types.STRING
        if given is not None and not fits(wanted, given):
            self._fault(
                node, f"must be {wanted.wanted}, but {shown(plain(node))} gives {given.wanted}"
            )

    def _try(self, variable: Variable, value: Any, node: Node) -> None:
        try:
            variable.check(value)
        except UnfitValueError as error:
            self._fault(node, str(error))

    def _choices(self, kind: ValueType) -> tuple[Any, ...] | None:
        choices = self.entry.declaration.choices
        if choices is None:
            return None
        checked = []
        for choice in choices:
            try:
                checked.append(checked_value(kind, choice))
            except UnfitValueError as error:
                self._fault(self.entry.node, f"choices: {error}")
        return tuple(checked) or None

    def _pattern(self) -> re.Pattern[str] | None:
        pattern = self.entry.declaration.pattern
        try:
            return re.compile(pattern) if pattern else None
        except re.error as error:
            self._fault(
                self.entry.node, f"pattern {pattern!r} is not a regular expression: {error}"
            )
            return None

    def _fault(self, node: Node, message: str) -> None:
        self.problems.add(node.place, f"variable {self.entry.name!r}: {message}")


def _item_type(kind: ValueType) -> ValueType:
    element = kind.sql.removeprefix("ARRAY<").removesuffix(">")
    found = next(scalar for scalar in value_types.SCALARS.values() if scalar.sql == element)
    return value_types.STRING if found.sql == "STRING" else found
