r"""`{name}` in text: what is a placeholder and what is left alone.

    {tenant_id}  {steps.extract.rows_processed}     placeholders
    {{name}}                                         the text {name}
    \d{4}   {"a": {"b": 1}}   { x }   {}              left alone

`}}` closes a `{{` and is left alone where none is open, so that nested JSON keeps its braces.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_TOKEN = re.compile(
    r"\{\{|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*|steps?\.[A-Za-z0-9_.-]*)\}|[{}]", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One `{name}`; `occurrence` counts equal ones in the same text from 0."""

    name: str
    occurrence: int

    @property
    def token(self) -> str:
        """As it is written."""
        return f"{{{self.name}}}"


Part = str | Placeholder


def split(text: str) -> list[Part]:
    """The parts of `text` in order: literal text with its escapes undone, and placeholders."""
    parts: list[Part] = []
    seen: dict[str, int] = {}
    for piece, is_name in _pieces(text):
        if is_name:
            seen[piece] = seen.get(piece, -1) + 1
            parts.append(Placeholder(piece, seen[piece]))
        elif parts and isinstance(parts[-1], str):
            parts[-1] += piece
        elif piece:
            parts.append(piece)
    return parts


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Literal pieces and placeholder names; `open_braces` remembers what a `}` closes."""
    open_braces: list[str] = []
    position = 0
    while token := _TOKEN.search(text, position):
        yield text[position : token.start()], False
        position = token.end()
        if name := token["name"]:
            yield name, True
            continue
        brace = token[0]
        if brace != "}":
            open_braces.append(brace)
        elif open_braces and open_braces[-1] == "{":
            open_braces.pop()
        elif open_braces and text.startswith("}", position):
            open_braces.pop()
            position += 1
        yield brace[0], False
    yield text[position:], False
