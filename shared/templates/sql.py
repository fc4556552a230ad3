"""Placeholders in SQL: bound as typed parameters, checked as names, or refused.

    WHERE day = '{date}'   WHERE day = {date}     the parameter @date
    FROM `{project_id}.billing.{table}`            a name, checked when it is resolved
    FROM {source_table}                            the same, emitted within backticks
    '%{x}%'   t.{x}   -- {x}                       refused when the template loads

A value therefore never changes what a statement is, whoever gave it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shared.templates.placeholders import Part, Placeholder
from shared.templates.sql_lexer import MARK, SqlSyntaxError, Token, tokens
from shared.templates.value_types import ValueType, is_list

_CAST_WORDS = (
    "BIGDECIMAL",
    "BIGNUMERIC",
    "DATE",
    "DATETIME",
    "DECIMAL",
    "NUMERIC",
    "TIME",
    "TIMESTAMP",
)
_GLUE = frozenset("'\"`@$.\\" + MARK)


@dataclass(frozen=True, slots=True)
class Name:
    """A quoted identifier of a statement: literal text and placeholders between two backticks."""

    parts: tuple[Part, ...]


@dataclass(slots=True)
class SqlText:
    """A statement cut up: literal text and names, and the placeholders bound as parameters."""

    pieces: list[str | Name] = field(default_factory=list)
    bound: list[Placeholder] = field(default_factory=list)


Report = Callable[[str, int, str], None]
"""Takes the text that a problem is about, how many equal ones come before it, and the problem."""


def parameter_name(name: str) -> str:
    """The parameter for a variable or a step's output: `steps.a.rows` is `@steps__a__rows`."""
    return name.replace(".", "__")


def cut(
    parts: Sequence[Part], type_of: Callable[[str], ValueType | None], report: Report
) -> SqlText | None:
    """The statement that `parts` make; None after a problem was reported.

    Args:
        parts: the text and placeholders of the field.
        type_of: type of a variable; None where it is unknown or known only while running.
        report: takes each problem.
    """
    marks = [part for part in parts if isinstance(part, Placeholder)]
    text = "".join(part if isinstance(part, str) else MARK for part in parts)
    if text.count(MARK) != len(marks):
        report(MARK, 0, "the SQL holds the character U+E000; remove it")
        return None
    if text.strip() == MARK:
        report(
            marks[0].token,
            0,
            "the SQL itself may not come from a variable; write the statement here",
        )
        return None
    try:
        found = list(tokens(text))
    except SqlSyntaxError as error:
        line = re.split(rf"[\n{MARK}]", text[error.index :])[0]
        report(line, text[: error.index].count(line), str(error))
        return None
    return _Cutter(text, found, marks, type_of, report).run()


class _Cutter:
    """Walks the tokens once; `_marks` runs along with the placeholders met."""

    def __init__(
        self,
        text: str,
        found: list[Token],
        marks: list[Placeholder],
        type_of: Callable[[str], ValueType | None],
        report: Report,
    ) -> None:
        self._text = text
        self._tokens = found
        self._marks = iter(marks)
        self._type_of = type_of
        self._report = report
        self._result = SqlText()
        self._failed = False
        self._solid: list[Token] = []
        """Tokens so far without gaps."""
        self._openers: list[str] = []
        """The word before each parenthesis that is open."""

    def run(self) -> SqlText | None:
        for token in self._tokens:
            self._take(token)
            if not token.is_blank:
                self._track(token)
        return None if self._failed else self._result

    def _take(self, token: Token) -> None:
        if MARK not in token.text:
            self._emit(token.text)
        elif token.kind == "mark":
            self._bare(token, next(self._marks))
        elif token.kind == "quoted":
            self._quoted(token)
        elif token.kind == "string":
            self._string(token)
        else:
            for _ in range(token.text.count(MARK)):
                placeholder = next(self._marks)
                self._refuse(
                    placeholder, f"{placeholder.token} stands in a comment; remove it there"
                )

    def _track(self, token: Token) -> None:
        if token.text == "(":
            before = self._solid[-1] if self._solid else None
            self._openers.append(before.text.upper() if before and before.kind == "word" else "")
        elif token.text == ")" and self._openers:
            self._openers.pop()
        self._solid.append(token)

    def _bare(self, token: Token, placeholder: Placeholder) -> None:
        if self._is_glued(token):
            self._refuse(
                placeholder,
                f"{placeholder.token} touches other text; let it stand alone as a value, "
                f"or within backticks as a name: `…{placeholder.token}…`",
            )
        elif self._names_a_table():
            self._add_name((placeholder,))
        elif self._is_list_after_in(placeholder):
            self._refuse(placeholder, f"a list needs UNNEST: IN UNNEST({placeholder.token})")
        else:
            self._emit(self._bind(placeholder))

    def _is_glued(self, token: Token) -> bool:
        before = self._text[token.start - 1] if token.start else " "
        after = self._text[token.end] if token.end < len(self._text) else " "
        return any(char in _GLUE or char == "_" or char.isalnum() for char in (before, after)) or (
            after == "("
        )

    def _names_a_table(self) -> bool:
        """Directly behind FROM or JOIN, but not in EXTRACT(day FROM x) or IS DISTINCT FROM x."""
        if not self._solid or not self._solid[-1].is_word("FROM", "JOIN"):
            return False
        if self._solid[-1].is_word("JOIN"):
            return True
        in_extract = bool(self._openers) and self._openers[-1] == "EXTRACT"
        distinct = len(self._solid) > 1 and self._solid[-2].is_word("DISTINCT")
        return not in_extract and not distinct

    def _is_list_after_in(self, placeholder: Placeholder) -> bool:
        kind = self._type_of(placeholder.name)
        if kind is None or not is_list(kind):
            return False
        last = self._solid[-1:]
        if last and last[0].text == "(":
            last = self._solid[-2:-1]
        return bool(last) and last[0].is_word("IN")

    def _quoted(self, token: Token) -> None:
        parts: list[Part] = []
        for index, literal in enumerate(token.body.split(MARK)):
            if index:
                parts.append(next(self._marks))
            if literal:
                parts.append(literal)
        if "\\" in token.body:
            first = next(part for part in parts if isinstance(part, Placeholder))
            self._refuse(first, "a name with a placeholder may not hold a backslash; write it out")
            return
        self._add_name(tuple(parts))

    def _add_name(self, parts: tuple[Part, ...]) -> None:
        for part in parts:
            if not isinstance(part, Placeholder):
                continue
            kind = self._type_of(part.name)
            if part.name.startswith("steps.") or (kind is not None and is_list(kind)):
                self._refuse(
                    part, f"{part.token} cannot name a table or column; use a variable with text"
                )
        self._result.pieces.append(Name(parts))

    def _string(self, token: Token) -> None:
        placeholders = [next(self._marks) for _ in range(token.text.count(MARK))]
        first = placeholders[0]
        if token.body != MARK:
            self._refuse(
                first,
                f"{first.token} is only a part of a string; join the parts: "
                f"{_concatenation(token.body, placeholders)}",
            )
        elif "b" in token.prefix:
            self._refuse(
                first,
                f"{first.token} stands in a bytes literal; use CAST('{first.token}' AS BYTES)",
            )
        elif (kind := self._type_of(first.name)) is not None and is_list(kind):
            self._refuse(
                first, f"{first.token} is a list; write UNNEST({first.token}) without quotes"
            )
        else:
            self._emit(self._cast(token, self._bind(first)))

    def _cast(self, token: Token, parameter: str) -> str:
        """`DATE '{x}'` takes a literal only; with a parameter it has to be a CAST."""
        word = self._solid[-1] if self._solid else None
        if word is None or not word.is_word(*_CAST_WORDS):
            return parameter
        # What follows the word are blanks, emitted as they stand, so its place can be counted back.
        between = self._text[word.end : token.start]
        pieces = self._result.pieces
        emitted = pieces.pop()
        assert isinstance(emitted, str)  # noqa: S101 - the word itself was emitted as text
        before = emitted[: len(emitted) - len(between) - len(word.text)]
        self._emit(f"{before}CAST({between if between.strip() else ''}")
        return f"{parameter} AS {word.text})"

    def _bind(self, placeholder: Placeholder) -> str:
        if all(known.name != placeholder.name for known in self._result.bound):
            self._result.bound.append(placeholder)
        return f"@{parameter_name(placeholder.name)}"

    def _emit(self, text: str) -> None:
        pieces = self._result.pieces
        if pieces and isinstance(pieces[-1], str):
            pieces[-1] += text
        else:
            pieces.append(text)

    def _refuse(self, placeholder: Placeholder, message: str) -> None:
        self._failed = True
        self._report(placeholder.token, placeholder.occurrence, message)


def _concatenation(body: str, placeholders: list[Placeholder]) -> str:
    """`CONCAT('%', '{x}', '%')` for the body of '%{x}%'."""
    arguments: list[str] = []
    for index, literal in enumerate(body.split(MARK)):
        if index:
            arguments.append(f"'{placeholders[index - 1].token}'")
        if literal:
            arguments.append(f"'{literal}'")
    return f"CONCAT({', '.join(arguments)})"
