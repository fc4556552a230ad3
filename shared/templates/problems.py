"""What is wrong with a template: places, sentences and the error that carries all of them."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from shared.errors import Permanent, nearest


class Source:
    """The text of one template file, for places and excerpts."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        starts.extend(index + 1 for index, char in enumerate(self.text) if char == "\n")
        return starts

    def place(self, start: int, end: int | None = None) -> "Place":
        """The place of the characters from `start` up to `end` of the text, counted from 0."""
        line = bisect_right(self._line_starts, start)
        line_start = self._line_starts[line - 1]
        excerpt = self.text[line_start:].partition("\n")[0].rstrip("\r")
        column = start - line_start + 1
        width = max(1, min((end or start + 1) - start, len(excerpt) - column + 1))
        return Place(self.file, line, column, width, excerpt)


@dataclass(frozen=True, order=True)
class Place:
    """A stretch of one line of a template; lines and columns count from 1."""

    file: str
    line: int
    column: int
    width: int = field(default=1, compare=False)
    excerpt: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, order=True)
class TemplateProblem:
    """One fault of a template, as a compiler would report it."""

    place: Place
    message: str

    @property
    def headline(self) -> str:
        """`configs/gcp/cost/x.yml:12:15: unknown variable …`, one line."""
        return f"{self.place}: {self.message}"

    def __str__(self) -> str:
        if not self.place.excerpt.strip():
            return self.headline
        # A tab before the caret keeps the caret below its character however wide tabs are shown.
        indent = "".join("\t" if char == "\t" else " " for char in self.place.excerpt)
        caret = (
            indent[: self.place.column - 1].ljust(self.place.column - 1) + "^" * self.place.width
        )
        return f"{self.headline}\n    {self.place.excerpt}\n    {caret}"


class TemplateError(Permanent):
    """A template that cannot be used; every problem found in it, in the order of its lines."""

    code = "broken-template"

    def __init__(self, problems: Sequence[TemplateProblem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Problems:
    """Collects the problems of one template, so that they are reported all at once."""

    def __init__(self) -> None:
        self._found: list[TemplateProblem] = []

    def add(self, place: Place, message: str) -> None:
        """Record `message`, a sentence that says what to write instead."""
        self._found.append(TemplateProblem(place, message))

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self) -> None:
        """End the compilation.

        Raises:
            TemplateError: something was added.
        """
        if self._found:
            raise TemplateError(self._found)


def suggestion(name: str, known: Sequence[str]) -> str:
    """`; did you mean tenant_id?`, or nothing when no known name is near."""
    near = nearest(name, known, 2)
    return f"; did you mean {' or '.join(near)}?" if near else ""
