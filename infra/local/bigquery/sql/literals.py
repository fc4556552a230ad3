"""Literals taken out of a query's text, so that queries that differ only in them share one plan.

Only integers and plain strings that are compared with something, or listed after IN, are taken
out: there a typed value means the same as the literal. Whatever cannot be translated so is
translated as it is written, which also gives errors their own places.
"""

import re
from dataclasses import dataclass
from typing import Any

from infra.local.bigquery.sql.typesystem import INT64, STRING, SqlType

PREFIX = "__literal_"
_LONG = 4_000  # characters; longer texts are rarely repeated with other literals
_TOKEN = re.compile(
    r"""(?P<skip>\s+|--[^\n]*|\#[^\n]*|/\*.*?\*/)
    |(?P<odd>\w*(?:'''|\"\"\").*|(?i:[rb]{1,2})['"].*)
    |(?P<string>'[^'\\\n]*'|"[^"\\\n]*")
    |(?P<quoted>`[^`]*`)
    |(?P<number>\d+(?![\w.]))
    |(?P<word>[\w@.]+)
    |(?P<operator>=>|<=|>=|<>|!=|\|\||<<|>>|[^\s\w])""",
    re.VERBOSE | re.DOTALL,
)
_COMPARISONS = {"=", "<", ">", "<=", ">=", "<>", "!="}
_FOLLOWERS = {"", ")", ",", ";", "AND", "OR", "ORDER", "GROUP", "LIMIT", "QUALIFY", "HAVING",
              "WINDOW", "UNION", "THEN", "LEFT", "JOIN", "INNER"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Template:
    """A query text with named parameters in place of some literals."""

    sql: str
    values: dict[str, tuple[SqlType, Any]]


def take_out(sql: str) -> Template | None:
    """The template of a SELECT, or None where there is nothing to take out."""
    if len(sql) > _LONG or not sql.lstrip()[:6].upper().startswith(("SELECT", "WITH ")):
        return None
    tokens = _scan(sql)
    if tokens is None:
        return None
    places = _places(tokens)
    if not places:
        return None
    parts, values, last = [], {}, 0
    for number, index in enumerate(places):
        kind, text, start = tokens[index]
        name = f"{PREFIX}{number}"
        parts.append(sql[last:start])
        parts.append(f"@{name}")
        last = start + len(text)
        values[name] = (INT64, int(text)) if kind == "number" else (STRING, text[1:-1])
    parts.append(sql[last:])
    return Template("".join(parts), values)


def _scan(sql: str) -> list[tuple[str, str, int]] | None:
    """Kind, text and start of each token; None where the text has what is not read here."""
    tokens = []
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup or ""
        if kind == "odd" or PREFIX in match.group():
            return None
        if kind != "skip":
            tokens.append((kind, match.group(), match.start()))
    return tokens


def _places(tokens: list[tuple[str, str, int]]) -> list[int]:
    places: list[int] = []
    for index, (kind, text, _) in enumerate(tokens):
        if kind == "word" and text.upper() == "IN":
            places.extend(_list_places(tokens, index + 1))
        elif kind in {"string", "number"} and _is_compared(tokens, index):
            places.append(index)
    return sorted(
        index for index in places if tokens[index][0] == "string" or len(tokens[index][1]) < 19
    )


def _is_compared(tokens: list[tuple[str, str, int]], index: int) -> bool:
    before = tokens[index - 1] if index else ("", "", 0)
    after = tokens[index + 1][1].upper() if index + 1 < len(tokens) else ""
    return before[0] == "operator" and before[1] in _COMPARISONS and after in _FOLLOWERS


def _list_places(tokens: list[tuple[str, str, int]], index: int) -> list[int]:
    """The literals of `(1, 2)`; none where anything else is in the parentheses."""
    if index >= len(tokens) or tokens[index][1] != "(":
        return []
    places = []
    for position in range(index + 1, len(tokens)):
        kind, text, _ = tokens[position]
        if kind in {"string", "number"}:
            places.append(position)
        elif text == ")":
            return places
        elif text != ",":
            return []
    return []
