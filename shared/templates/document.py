"""YAML with places: every value of a template knows where it was written.

Scalars follow YAML 1.2, as editors do: `on`, `yes` and `1:30` are text, `true`, `12` and
`2025-11-15` are a boolean, a number and a date.
"""

import re
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any

from shared.templates.problems import Place, Problems, Source

if TYPE_CHECKING:
    import yaml

MAX_VALUES = 20_000
"""Values a template may hold with its aliases expanded."""

_TAGS = {
    "bool": re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"),
    "null": re.compile(r"^(?:~|null|Null|NULL|)$"),
    "int": re.compile(r"^[-+]?[0-9]+$"),
    "float": re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
    "timestamp": re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
}
_TAG_PREFIX = "tag:yaml.org,2002:"

_BARE_PLACEHOLDER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_.]*\}", re.ASCII)

_PLACEHOLDER_FIRST = re.compile(r"(?::|-)\s+\{[A-Za-z_][A-Za-z0-9_.]*\}\s*[^\s#]", re.ASCII)

ScalarValue = str | int | float | bool | date | None


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value and the stretch of its file that it was written in."""

    source: Source
    start: int
    end: int

    @property
    def place(self) -> Place:
        """Where the value starts."""
        return self.source.place(self.start, self.end)


@dataclass(frozen=True, slots=True, eq=False)
class Scalar(Node):
    """Text, a number, a boolean, a date or nothing."""

    value: ScalarValue

    def place_of(self, token: str, occurrence: int = 0) -> Place:
        """Where `token` is written in the value for the nth time; else where the value starts."""
        index = self.start - 1
        for _ in range(occurrence + 1):
            index = self.source.text.find(token, index + 1, self.end)
            if index < 0:
                return self.place
        return self.source.place(index, index + len(token))


@dataclass(frozen=True, slots=True, eq=False)
class Sequence(Node):
    """A list."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Mapping(Node):
    """Keys with their values, and the keys' own places."""

    keys: dict[str, Scalar]
    values: dict[str, Node]

    def text(self, key: str) -> str | None:
        """The text under `key`; None when it is absent or something else than text."""
        node = self.values.get(key)
        return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None

    def key_place(self, key: str) -> Place:
        """Where `key` is written, or the mapping's start when it is not."""
        return self.keys[key].place if key in self.keys else self.place


def plain(node: Node) -> Any:
    """The value as Python and JSON know it; dates as ISO text."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.values.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    assert isinstance(node, Scalar)  # noqa: S101 - there are three kinds of nodes
    return node.value.isoformat() if isinstance(node.value, date) else node.value


def read(source: Source, problems: Problems) -> Mapping | None:
    """The mapping that a template file holds; None when `problems` were found that leave none."""
    import yaml

    text = source.text
    if text.startswith("\ufeff"):
        problems.add(source.place(0), "starts with a byte order mark; save the file as plain UTF-8")
        return None
    try:
        root = _loader_class()(text).get_single_node()
        node = _Reading(source, problems).convert(root) if root else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        index = min(mark.index, max(len(text) - 1, 0)) if mark else 0
        problems.add(source.place(index), _yaml_fault(error, text, index))
        return None
    except yaml.reader.ReaderError as error:
        code_point = error.character if isinstance(error.character, int) else ord(error.character)
        problems.add(
            source.place(error.position),
            f"not valid YAML: the character U+{code_point:04X} is not allowed; remove it",
        )
        return None
    except RecursionError:
        problems.add(source.place(0), "nested too deeply to be read; flatten it")
        return None
    if node is None:
        problems.add(source.place(0), "the template is empty; it needs at least `steps:`")
        return None
    if not isinstance(node, Mapping):
        problems.add(
            node.place, "a template is a mapping with `steps:`, not a list or a single value"
        )
        return None
    return node


def _yaml_fault(error: "yaml.MarkedYAMLError", text: str, index: int) -> str:
    context = f" ({error.context})" if error.context else ""
    line = text[: text.find("\n", index)].rpartition("\n")[2] if "\n" in text[index:] else text
    hint = "; indent with spaces" if text[index : index + 1] == "\t" else ""
    if _PLACEHOLDER_FIRST.search(line):
        hint = "; a value that starts with a placeholder needs quotes around it"
    return f"not valid YAML: {error.problem or 'unreadable'}{context}{hint}"


class _Reading:
    """Turns the parser's nodes into ours, once per node however many aliases point to it."""

    def __init__(self, source: Source, problems: Problems) -> None:
        self._source = source
        self._problems = problems
        self._done: dict[int, tuple[Node, int]] = {}
        self._open: set[int] = set()

    def convert(self, node: "yaml.Node") -> Node:
        return self._convert(node)[0]

    def _convert(self, node: "yaml.Node") -> tuple[Node, int]:
        """The node and how many values it stands for, aliases expanded."""
        if id(node) in self._done:
            return self._done[id(node)]
        if id(node) in self._open:
            self._problems.add(self._place(node), "an alias may not point to what contains it")
            return self._scalar(node, None), 1
        self._open.add(id(node))
        result = self._new(node)
        self._open.discard(id(node))
        self._done[id(node)] = result
        return result

    def _new(self, node: "yaml.Node") -> tuple[Node, int]:
        import yaml

        if isinstance(node, yaml.MappingNode):
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode):
            parts = [self._convert(item) for item in node.value]
            size = self._limited(node, 1 + sum(size for _, size in parts))
            start, end = node.start_mark.index, node.end_mark.index
            return Sequence(self._source, start, end, tuple(item for item, _ in parts)), size
        return self._scalar(node, self._value(node)), 1

    def _mapping(self, node: "yaml.MappingNode") -> tuple[Mapping, int]:
        keys: dict[str, Scalar] = {}
        values: dict[str, Node] = {}
        size = 1
        start, end = node.start_mark.index, node.end_mark.index
        written = self._source.text[start:end]
        if _BARE_PLACEHOLDER.fullmatch(written):
            self._problems.add(
                self._place(node), f'{written} without quotes is a mapping; write "{written}"'
            )
        for key_node, value_node in node.value:
            value, value_size = self._convert(value_node)
            size += value_size
            key = self._convert(key_node)[0]
            if not isinstance(key, Scalar) or not isinstance(key.value, str):
                self._problems.add(key.place, "a key must be text; write it within quotes")
            elif key.value in keys:
                first = keys[key.value].place.line
                self._problems.add(
                    key.place,
                    f"duplicate key {key.value!r}, first on line {first}; keep one of them",
                )
            else:
                keys[key.value], values[key.value] = key, value
        return Mapping(self._source, start, end, keys, values), self._limited(node, size)

    def _limited(self, node: "yaml.Node", size: int) -> int:
        if size > MAX_VALUES:
            self._problems.add(
                self._place(node),
                f"holds {size} values with its aliases; {MAX_VALUES} is the limit",
            )
            self._problems.raise_if_any()
        return size

    def _value(self, node: "yaml.Node") -> ScalarValue:
        text: str = node.value
        tag = node.tag.removeprefix(_TAG_PREFIX)
        if tag == "str":
            return text
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() == "true"
        if tag == "int":
            return int(text)
        if tag == "float":
            return float(text)
        if tag == "timestamp":
            return _date_or_text(text)
        self._problems.add(self._place(node), f"the tag {node.tag!r} is not used in templates")
        return text

    def _scalar(self, node: "yaml.Node", value: ScalarValue) -> Scalar:
        return Scalar(self._source, node.start_mark.index, node.end_mark.index, value)

    def _place(self, node: "yaml.Node") -> Place:
        return self._source.place(node.start_mark.index, node.end_mark.index)


def _date_or_text(text: str) -> date | str:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return text


@cache
def _loader_class() -> Any:
    """The parser in pure Python: its marks count characters, which libyaml's do not give."""
    from yaml.composer import Composer
    from yaml.parser import Parser
    from yaml.reader import Reader
    from yaml.resolver import BaseResolver
    from yaml.scanner import Scanner

    class Resolver(BaseResolver):
        pass

    for tag, pattern in _TAGS.items():
        Resolver.add_implicit_resolver(_TAG_PREFIX + tag, pattern, None)

    class Loader(Reader, Scanner, Parser, Composer, Resolver):
        def __init__(self, text: str) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)
            Composer.__init__(self)
            Resolver.__init__(self)

    return Loader
