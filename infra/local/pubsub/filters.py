"""The filter language of subscriptions: conditions on message attributes.

    attributes.region = "eu" AND NOT hasPrefix(attributes.name, "test-")
    attributes:urgent OR (attributes."a key" != "x")

As in Google's grammar, AND and OR mix only with parentheses, operators are upper case, and a
filter is at most 256 bytes long.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from infra.local.pubsub.errors import RequestError, invalid

Predicate = Callable[[Mapping[str, str]], bool]

LONGEST_FILTER = 256
"""Bytes (Pub/Sub, "Filter messages from a subscription")."""

_TOKEN = re.compile(
    r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[A-Za-z_][A-Za-z0-9_-]*)|(?P<mark>!=|[=().,:-]))'
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def compiled(expression: str) -> Predicate:
    """A function that says whether a message with these attributes passes the filter.

    Raises:
        RequestError: the expression is too long or not of the filter language; names the place.
    """
    if len(expression.encode()) > LONGEST_FILTER:
        raise invalid(
            f"The filter is too long: {len(expression.encode())} bytes, at most {LONGEST_FILTER}."
        )
    if not expression.strip():
        return _everything
    parser = _Parser(expression)
    predicate = parser.expression()
    parser.expect_end()
    return predicate


def _everything(_attributes: Mapping[str, str]) -> bool:
    return True


class _Parser:
    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = list(self._scan())
        self._next = 0

    def expression(self) -> Predicate:
        """Terms joined by AND, or terms joined by OR."""
        terms = [self._term()]
        operator = self._peek()
        if operator not in {"AND", "OR"}:
            return terms[0]
        while self._accept(operator):
            terms.append(self._term())
        if self._peek() in {"AND", "OR"}:
            raise self._error("AND and OR need parentheses to be combined")
        if operator == "AND":
            return lambda attributes: all(term(attributes) for term in terms)
        return lambda attributes: any(term(attributes) for term in terms)

    def expect_end(self) -> None:
        if self._next < len(self._tokens):
            raise self._error("expected AND, OR or the end")

    def _scan(self) -> list[_Token]:
        tokens = []
        position = 0
        text = self._expression.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                blanks = len(text[position:]) - len(text[position:].lstrip())
                raise _refusal(self._expression, position + blanks, "unexpected character")
            tokens.append(
                _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))
            )
            position = match.end()
        return tokens

    def _term(self) -> Predicate:
        if self._accept("NOT") or self._accept("-"):
            negated = self._term()
            return lambda attributes: not negated(attributes)
        if self._accept("("):
            inner = self.expression()
            self._expect(")")
            return inner
        if self._accept("hasPrefix"):
            return self._prefix()
        return self._comparison()

    def _prefix(self) -> Predicate:
        self._expect("(")
        self._expect("attributes")
        self._expect(".")
        key = self._key()
        self._expect(",")
        prefix = self._string()
        self._expect(")")
        return lambda attributes: (
            attributes.get(key, None) is not None and attributes[key].startswith(prefix)
        )

    def _comparison(self) -> Predicate:
        self._expect("attributes")
        if self._accept(":"):
            present = self._key()
            return lambda attributes: present in attributes
        self._expect(".")
        key = self._key()
        if self._accept("="):
            equal = self._string()
            return lambda attributes: attributes.get(key) == equal
        self._expect("!=")
        unequal = self._string()
        return lambda attributes: attributes.get(key) != unequal

    def _key(self) -> str:
        token = self._take()
        if token.kind == "mark":
            self._next -= 1
            raise self._error("expected an attribute key")
        return _unquoted(token.text) if token.kind == "string" else token.text

    def _string(self) -> str:
        token = self._take()
        if token.kind != "string":
            self._next -= 1
            raise self._error("expected a string in double quotes")
        return _unquoted(token.text)

    def _peek(self) -> str:
        return self._tokens[self._next].text if self._next < len(self._tokens) else ""

    def _take(self) -> _Token:
        if self._next == len(self._tokens):
            raise self._error("the expression ends too early")
        self._next += 1
        return self._tokens[self._next - 1]

    def _accept(self, text: str) -> bool:
        found = self._peek() == text
        self._next += found
        return found

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._error(f"expected {text}")

    def _error(self, problem: str) -> RequestError:
        at = (
            self._tokens[self._next].position
            if self._next < len(self._tokens)
            else len(self._expression)
        )
        return _refusal(self._expression, at, problem)


def _unquoted(text: str) -> str:
    return str(json.loads(text, strict=False))


def _refusal(expression: str, position: int, problem: str) -> RequestError:
    return invalid(f"Invalid filter at position {position}: {problem} (filter={expression}).")
