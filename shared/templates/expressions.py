"""Parts of a document become trees; unknown names and misplaced placeholders are faults."""

from collections.abc import Iterator
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field

from shared.templates import built_ins, fields, sql
from shared.templates.document import Mapping, Node, Scalar, Sequence, plain
from shared.templates.fields import Shapes
from shared.templates.placeholders import Placeholder, split
from shared.templates.plan import (
    LATE,
    Branch,
    Constant,
    Markup,
    Names,
    Reference,
    Text,
    Tree,
    is_late,
    list_of,
    mapping_of,
)
from shared.templates.problems import Place, Problems, suggestion
from shared.templates.value_types import INTEGER, STRING, ValueType

OUTPUTS_OF_ALL: MappingType[str, ValueType] = {
    "rows_processed": INTEGER,
    "bytes_processed": INTEGER,
    "status": STRING,
    "error": STRING,
}
"""What `{steps.<step_id>.…}` has for every step; processors declare the rest."""


@dataclass(frozen=True)
class Scope:
    """The names that placeholders may use in one place of a template."""

    kinds: MappingType[str, ValueType]
    """Variables and built-ins."""
    steps: MappingType[str, frozenset[str]] = field(default_factory=dict)
    """Outputs of the steps before this place."""
    later_steps: frozenset[str] = frozenset()
    """This step and those after it: named, but without a result yet."""
    allows_late: bool = False

    def type_of(self, name: str) -> ValueType | None:
        """The type of a placeholder; None where it is known only while running."""
        if name in built_ins.RUNNING:
            return STRING
        if name.startswith("steps."):
            return OUTPUTS_OF_ALL.get(name.rpartition(".")[2])
        return self.kinds.get(name)

    def fault(self, name: str) -> str | None:
        """What is wrong with the placeholder `{name}` here; None when nothing is."""
        if name.startswith(("steps.", "step.")):
            return self._late_fault(name)
        if name in built_ins.RUNNING:
            return None if self.allows_late else _too_early(name)
        if name in self.kinds:
            return None
        known = [*self.kinds, *(built_ins.RUNNING if self.allows_late else ())]
        hint = suggestion(name, known) or (
            f"; declare it under variables, or write {{{{{name}}}}} for the text {{{name}}}"
        )
        return f"unknown variable {name!r}{hint}"

    def _late_fault(self, name: str) -> str | None:
        parts = name.split(".")
        if len(parts) != 3 or parts[0] != "steps":
            return f"{{{name}}} is not a step's output; write {{steps.<step_id>.<output>}}"
        if not self.allows_late:
            return _too_early(name)
        step_id, output = parts[1:]
        if step_id in self.later_steps:
            return f"{{{name}}}: step {step_id!r} has no result yet; use an earlier step"
        if step_id not in self.steps:
            return f"{{{name}}}: unknown step {step_id!r}{suggestion(step_id, list(self.steps))}"
        known = sorted({*OUTPUTS_OF_ALL, *self.steps[step_id]})
        if output not in known:
            hint = suggestion(output, known) or f"; it has {', '.join(known)}"
            return f"{{{name}}}: step {step_id!r} has no output {output!r}{hint}"
        return None


def _too_early(name: str) -> str:
    return f"{{{name}}} is known only while a run is under way; use it in a field of a step"


@dataclass(frozen=True)
class Expressions:
    """Makes trees out of nodes; faults go to `problems`."""

    scope: Scope
    problems: Problems

    def tree(self, node: Node, shapes: Shapes = ()) -> Tree:
        """The tree of a node; `shapes` are the types that its processor expects there."""
        if isinstance(node, Mapping):
            return self._mapping(node, shapes)
        if isinstance(node, Sequence):
            items = [
                self.tree(item, fields.below(shapes, index))
                for index, item in enumerate(node.items)
            ]
            return list_of(items)
        assert isinstance(node, Scalar)  # noqa: S101 - there are three kinds of nodes
        if not isinstance(node.value, str):
            return Constant(plain(node))
        if fields.is_query(shapes):
            return self._sql(node, node.value)
        tree = self.text(node)
        if fields.is_html(shapes) and not isinstance(tree, Constant):
            return Markup(tuple(split(node.value)))
        return tree

    def text(self, node: Scalar) -> Tree:
        """The tree of a text."""
        parts = split(str(node.value))
        known = [self._check(node, part) for part in parts if isinstance(part, Placeholder)]
        if not all(known):
            return Constant("text")
        if len(parts) == 1 and isinstance(parts[0], Placeholder):
            return Reference(parts[0].name)
        if all(isinstance(part, str) for part in parts):
            return Constant("".join(str(part) for part in parts))
        return Text(tuple(parts))

    def as_text(self, node: Scalar) -> Tree:
        """The tree of a text that stays text when it is one placeholder for a number or list."""
        tree = self.text(node)
        return Text((Placeholder(tree.name, 0),)) if isinstance(tree, Reference) else tree

    def _mapping(self, node: Mapping, shapes: Shapes) -> Tree:
        if fields.is_query(shapes) and not fields.models(shapes):
            self.problems.add(node.place, "SQL is written as text, not as a mapping")
        if LATE in node.keys:
            place = node.key_place(LATE)
            self.problems.add(place, f"the key {LATE!r} is kept for step outputs; rename it")
        return mapping_of(
            {
                key: self.tree(value, fields.below(shapes, key))
                for key, value in node.values.items()
                if key != LATE
            }
        )

    def _check(self, node: Scalar, placeholder: Placeholder) -> bool:
        fault = self.scope.fault(placeholder.name)
        if fault:
            place = node.place_of(placeholder.token, placeholder.occurrence)
            self.problems.add(place, fault)
        return not fault

    def _sql(self, node: Scalar, text: str) -> Tree:
        parts = split(text)
        placeholders = [part for part in parts if isinstance(part, Placeholder)]
        known = [self._check(node, placeholder) for placeholder in placeholders]

        def report(token: str, occurrence: int, message: str) -> None:
            self.problems.add(node.place_of(token, occurrence), message)

        statement = sql.cut(parts, self.scope.type_of, report)
        if statement is None or not all(known):
            return Constant({"sql": "", "parameters": []})
        pieces = tuple(statement.pieces)
        has_names = any(isinstance(piece, sql.Name) for piece in pieces)
        return mapping_of(
            {
                "sql": Names(pieces) if has_names else Constant("".join(map(str, pieces))),
                "parameters": list_of([self._parameter(found.name) for found in statement.bound]),
            }
        )

    def _parameter(self, name: str) -> Branch:
        kind = self.scope.type_of(name)
        # An output that its processor declares without a type gets the type of its value.
        sql_type = Constant(kind.sql if kind else {LATE: [{"type_of": name}]})
        return mapping_of(
            {
                "name": Constant(sql.parameter_name(name)),
                "type": sql_type,
                "value": Reference(name, None if is_late(name) else kind),
            }
        )


def reached(node: Node, variable_nodes: Node | None) -> list[str]:
    """Every name that a value depends on, through variables too."""
    found: dict[str, None] = {}
    waiting = list(names_in(node))
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = None
        if isinstance(variable_nodes, Mapping) and name in variable_nodes.values:
            waiting.extend(names_in(variable_nodes.values[name]))
    return list(found)


def names_in(node: Node) -> Iterator[str]:
    """Names of all placeholders in a part of a document."""
    if isinstance(node, Mapping):
        for value in node.values.values():
            yield from names_in(value)
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from names_in(item)
    elif isinstance(node, Scalar) and isinstance(node.value, str):
        yield from (part.name for part in split(node.value) if isinstance(part, Placeholder))


def place_of_use(node: Node, name: str) -> Place | None:
    """Where a part of a document first refers to `{name}`."""
    if isinstance(node, Mapping | Sequence):
        below = node.values.values() if isinstance(node, Mapping) else node.items
        return next((place for child in below if (place := place_of_use(child, name))), None)
    if isinstance(node, Scalar) and name in names_in(node):
        return node.place_of(f"{{{name}}}")
    return None
