"""Parts of a template, and how they become plans that are walked once per tenant.

A part is bound to what is known when the template loads. What then still varies becomes a callable
that takes the values of a run: for text a `str.format_map`, for a lone placeholder an item lookup,
for a mapping or list a copy with only its varying entries replaced. The rest is shared.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from operator import itemgetter
from typing import Any

from shared.templates import built_ins
from shared.templates.placeholders import Part, Placeholder
from shared.templates.sql import Name
from shared.templates.value_types import TABLE_PATTERN, ValueType, shown, sql_value, text_of

LATE = "$late"
"""Key of a value that is known only while running: a list of texts and `{"ref": name}`; in HTML it
says `"html": true` too."""

Values = dict[str, Any]
Maker = Callable[[Values], Any]

_WHOLE_NAME = re.compile(r"[A-Za-z0-9_-]+(?:[.:][A-Za-z0-9_-]+){0,4}(?:\.?\*)?", re.ASCII)
"""A name with its literal parts, which may add a domain-scoped project or a wildcard."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A value that is the same for everyone; shared, never copied."""

    value: Any


Bound = Fixed | Maker


class UnfitNameError(ValueError):
    """A value cannot stand where a statement names a table or column."""

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value
        self.reason = (
            "must be a name of letters, digits, _ and - with dots between its parts, as a query "
            f"uses it to name a table or column, not {shown(value)}; "
            'for example "project.dataset.table"'
        )
        super().__init__(f"{name} {self.reason}")


@dataclass(frozen=True, slots=True)
class Constant:
    """A value without placeholders."""

    value: Any


@dataclass(frozen=True, slots=True)
class Reference:
    """A value that is exactly one placeholder; keeps the type of what it refers to."""

    name: str
    sql_type: ValueType | None = None
    """Set when the value becomes a query parameter of this type."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text with placeholders in it."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Markup:
    """HTML with placeholders in it, whose values are escaped."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """SQL text with names that hold placeholders."""

    pieces: tuple[str | Name, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """A mapping or a list, by key or index."""

    container: dict[str, Any] | list[Any]
    """In its final shape, with nothing of use in it."""
    children: tuple[tuple[Any, "Tree"], ...]


Tree = Constant | Reference | Text | Markup | Names | Branch


def mapping_of(children: Mapping[str, Tree]) -> Branch:
    """A branch with these entries."""
    return Branch(dict.fromkeys(children), tuple(children.items()))


def list_of(children: Sequence[Tree]) -> Branch:
    """A branch with these items."""
    return Branch([None] * len(children), tuple(enumerate(children)))


def is_late(name: str) -> bool:
    """Whether the placeholder has a value only while a run is under way."""
    return name.startswith("steps.") or name in built_ins.RUNNING


def text_key(name: str) -> str:
    """Where the values of a run hold the text of a list or boolean; no variable has such a name."""
    return f"{name} as text"


@dataclass(frozen=True, slots=True)
class Binder:
    """Binds parts to `constants`; `kinds` are the types of all variables."""

    constants: Mapping[str, Any]
    kinds: Mapping[str, ValueType]
    texts: set[str] = field(default_factory=set)
    """Keys of the texts of lists and booleans that were asked for."""

    def bind(self, tree: Tree) -> Bound:
        """The value of a part where it is known, else what makes it.

        Raises:
            UnfitNameError: a known value cannot name a table or column.
        """
        if isinstance(tree, Constant):
            return Fixed(tree.value)
        if isinstance(tree, Reference):
            return self._reference(tree)
        if isinstance(tree, Text):
            return self._text(tree.parts)
        if isinstance(tree, Markup):
            return self._markup(tree.parts)
        if isinstance(tree, Names):
            return self._names(tree)
        return self._branch(tree)

    def _reference(self, tree: Reference) -> Bound:
        name, kind = tree.name, tree.sql_type
        if is_late(name):
            return Fixed({LATE: [{"ref": name}]})
        if name in self.constants:
            value = self.constants[name]
            return Fixed(sql_value(kind, value) if kind else value)
        if kind and "NUMERIC" in kind.sql:
            return lambda values: sql_value(kind, values[name])
        return itemgetter(name)

    def _text(self, parts: Sequence[Part]) -> Bound:
        if not any(isinstance(part, Placeholder) and is_late(part.name) for part in parts):
            return self._format(parts)
        segments: list[Tree] = []
        known: list[Part] = []
        for part in parts:
            if isinstance(part, Placeholder) and is_late(part.name):
                segments.extend([Text(tuple(known)), Constant({"ref": part.name})])
                known = []
            else:
                known.append(part)
        segments.append(Text(tuple(known)))
        return self._branch(mapping_of({LATE: list_of(segments)}))

    def _markup(self, parts: Sequence[Part]) -> Bound:
        constants = self.constants

        def make(values: Values) -> Any:
            segments = [
                part
                if isinstance(part, str)
                else {"ref": part.name, "html": True}
                if is_late(part.name)
                else escape(text_of((constants if part.name in constants else values)[part.name]))
                for part in parts
            ]
            if all(isinstance(segment, str) for segment in segments):
                return "".join(map(str, segments))
            return {LATE: ["", *segments]}  # never of one segment, which would keep its type

        names = [part.name for part in parts if isinstance(part, Placeholder)]
        varies = any(name not in constants and not is_late(name) for name in names)
        return make if varies else Fixed(make({}))

    def _format(self, parts: Sequence[Part]) -> Bound:
        template = ""
        varies = False
        for part in parts:
            if isinstance(part, str):
                template += _escaped(part)
            elif part.name in self.constants:
                template += _escaped(text_of(self.constants[part.name]))
            else:
                varies = True
                template += f"{{{self._key(part.name)}}}"
        return template.format_map if varies else Fixed(template.format_map({}))

    def _key(self, name: str) -> str:
        if self.kinds[name].is_text:
            return name
        self.texts.add(text_key(name))
        return text_key(name)

    def _names(self, tree: Names) -> Bound:
        parts: list[Part] = []
        checked: dict[str, None] = {}
        compound: list[Maker] = []
        for piece in tree.pieces:
            if isinstance(piece, str):
                parts.append(piece)
                continue
            parts.extend(["`", *piece.parts, "`"])
            varying = [name for name in _names_in(piece.parts) if self._check(name)]
            checked.update(dict.fromkeys(varying))
            whole = self._format(piece.parts)
            if isinstance(whole, Fixed):
                _check_whole(piece.parts, whole.value)
            elif len(piece.parts) > 1:
                compound.append(_whole_check(piece.parts, whole))
        make = self._format(parts)
        if isinstance(make, Fixed):
            return make
        return _checking(tuple(checked), tuple(compound), make)

    def _check(self, name: str) -> bool:
        """Whether a placeholder in a name varies; what does not is checked here and now."""
        if name in self.constants:
            _check_name(name, self.constants[name])
        return name not in self.constants

    def _branch(self, tree: Branch) -> Bound:
        shared = tree.container.copy()
        varying: list[tuple[Any, Maker]] = []
        for key, child in tree.children:
            bound = self.bind(child)
            if isinstance(bound, Fixed):
                shared[key] = bound.value
            else:
                varying.append((key, bound))
        return _filling(shared, tuple(varying)) if varying else Fixed(shared)


def _filling(shared: Any, varying: tuple[tuple[Any, Maker], ...]) -> Maker:
    copy = shared.copy

    def make(values: Values) -> Any:
        result = copy()
        for key, maker in varying:
            result[key] = maker(values)
        return result

    return make


def _checking(names: tuple[str, ...], compound: tuple[Maker, ...], make: Maker) -> Maker:
    def check_and_make(values: Values) -> Any:
        for name in names:
            _check_name(name, values[name])
        for check in compound:
            check(values)
        return make(values)

    return check_and_make


def _whole_check(parts: tuple[Part, ...], make: Maker) -> Maker:
    return lambda values: _check_whole(parts, make(values))


def _check_name(name: str, value: Any) -> None:
    if not TABLE_PATTERN.fullmatch(value if isinstance(value, str) else text_of(value)):
        raise UnfitNameError(name, value)


def _check_whole(parts: Sequence[Part], value: str) -> None:
    if not _WHOLE_NAME.fullmatch(value):
        raise UnfitNameError(_names_in(parts)[0], value)


def _names_in(parts: Sequence[Part]) -> list[str]:
    return [part.name for part in parts if isinstance(part, Placeholder)]


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
