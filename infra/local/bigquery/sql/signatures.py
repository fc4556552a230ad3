"""Function signatures: one line of text each, and the choice of the one that a call means.

    NAME(STRING, T...) -> ARRAY<T> : duckdb_function({0}, {1*})

`T` and `U` stand for any type (all of one letter become their common type), `ANY` for any type
as it is, `...` repeats the last argument zero or more times. In the template `{0}` is an
argument, `{*}` all of them, `{1*}` those from the second on, joined with commas; `{||}` joins
them with that operator, and `{null}` tests whether any is NULL.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from infra.local.bigquery.sql import casts
from infra.local.bigquery.sql.context import Context
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import SCALARS, SqlType, array_of

_LINE = re.compile(r"(\w+(?:\.\w+)?)\((.*?)\)\s*->\s*(\S+)\s*:\s*(.+)", re.DOTALL)
_SLOT = re.compile(r"\{(\d*)(\*?)\}")
_GENERIC = {"T", "U"}


@dataclass(frozen=True, slots=True)
class Signature:
    """One overload of a function."""

    arguments: tuple[str, ...]
    repeated: bool
    result: str
    template: str

    def accepts(self, count: int) -> bool:
        """Whether it takes that many arguments."""
        if self.repeated:
            return count >= len(self.arguments) - 1
        return count == len(self.arguments)

    def argument(self, position: int) -> str:
        """The type of an argument as the signature writes it."""
        return self.arguments[min(position, len(self.arguments) - 1)]


@dataclass(slots=True)
class Match:
    """A signature bound to the arguments of a call."""

    signature: Signature
    arguments: list[Typed]
    result: SqlType

    def render(self) -> Typed:
        """The call as DuckDB text."""
        return Typed(fill(self.signature.template, self.arguments), self.result)


def read_signatures(text: str) -> dict[str, list[Signature]]:
    """The table written in `text`: overloads by upper-case name."""
    table: dict[str, list[Signature]] = {}
    for line in text.strip().split("\n"):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"not a signature: {line}")
        name, arguments, result, template = match.groups()
        names = [part.strip() for part in _split(arguments)]
        repeated = bool(names) and names[-1].endswith("...")
        cleaned = tuple(part.removesuffix("...") for part in names)
        table.setdefault(name, []).append(Signature(cleaned, repeated, result, template))
    return table


def _split(text: str) -> list[str]:
    return [part for part in re.split(r",\s*(?![^<]*>)", text) if part]


@lru_cache(maxsize=256)
def written_type(text: str) -> SqlType:
    """The type that a signature's text names, without generics."""
    if text.startswith("ARRAY<"):
        return array_of(written_type(text[6:-1]))
    return SCALARS[text]


def fill(template: str, arguments: list[Typed]) -> str:
    """The template with the arguments' text in its slots."""

    def slot(match: re.Match[str]) -> str:
        index, rest = match.groups()
        if rest:
            return ", ".join(argument.sql for argument in arguments[int(index or 0) :])
        return arguments[int(index)].sql

    if "{||}" in template:
        return template.replace("{||}", " || ".join(argument.sql for argument in arguments))
    if "{null}" in template:
        tests = " OR ".join(f"{argument.sql} IS NULL" for argument in arguments)
        template = template.replace("{null}", tests)
    return _SLOT.sub(slot, template)


def choose(context: Context, signatures: Iterable[Signature], given: list[Typed]) -> Match | None:
    """The signature that fits the arguments with the fewest conversions, or None."""
    best: tuple[int, Match] | None = None
    for signature in signatures:
        if not signature.accepts(len(given)):
            continue
        bound = _bind(context, signature, given)
        if bound is None:
            continue
        cost, match = bound
        if cost == 0:
            return match
        if best is None or cost < best[0]:
            best = (cost, match)
    return None if best is None else best[1]


def _bind(context: Context, signature: Signature, given: list[Typed]) -> tuple[int, Match] | None:
    generics = _generics(signature, given)
    if generics is None:
        return None
    cost = 0
    coerced = []
    for position, value in enumerate(given):
        wanted = signature.argument(position)
        if wanted == "ANY":
            coerced.append(value)
            continue
        target = _resolve(wanted, generics)
        one = casts.coerce(context, value, target)
        if one is None:
            return None
        cost += _cost(value, target)
        coerced.append(one)
    result = _resolve(signature.result, generics)
    return cost, Match(signature, coerced, result)


_DISTANCE = {"INT64": 1, "NUMERIC": 2, "BIGNUMERIC": 3, "FLOAT64": 4}


def _cost(value: Typed, target: SqlType) -> int:
    if value.kind == target:
        return 0
    if value.kind.kind == "NULL":
        return 1
    if value.kind.kind in _DISTANCE and target.kind in _DISTANCE:
        if value.coercion == "literal" and value.kind.kind == "FLOAT64":
            return 3
        return 1 + abs(_DISTANCE[target.kind] - _DISTANCE[value.kind.kind])
    return 10


def _generics(signature: Signature, given: list[Typed]) -> dict[str, SqlType] | None:
    members: dict[str, list[Typed]] = {}
    for position, value in enumerate(given):
        wanted = signature.argument(position)
        if wanted in _GENERIC:
            members.setdefault(wanted, []).append(value)
        elif wanted.startswith("ARRAY<") and wanted[6:-1] in _GENERIC:
            if not value.kind.is_array and value.kind.kind != "NULL":
                return None
            element = value.kind.item if value.kind.is_array else value.kind
            members.setdefault(wanted[6:-1], []).append(Typed("", element, coercion=value.coercion))
    bound = {}
    for letter, values in members.items():
        kind = casts.supertype(values)
        if kind is None:
            return None
        bound[letter] = kind
    return bound


def _resolve(text: str, generics: dict[str, SqlType]) -> SqlType:
    if text in _GENERIC:
        return generics[text]
    if text.startswith("ARRAY<") and text[6:-1] in _GENERIC:
        return array_of(generics[text[6:-1]])
    return written_type(text)
