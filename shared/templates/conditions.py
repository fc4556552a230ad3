"""The grammar of `when`: comparisons over placeholders and literals, joined by and, or, not.

    {steps.extract.rows_processed} > 0 and not ({mode} == 'dry' or {days} >= 30)

Operands are placeholders, numbers, strings in quotes, true, false and null. A comparison of
different types is false for == and true for !=; ordering them is an error.
"""

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from shared.errors import Permanent
from shared.templates.placeholders import Placeholder, split

MAX_DEPTH = 20

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<placeholder>\{[A-Za-z_][A-Za-z0-9_.]*\})
    | (?P<number>-?[0-9]+(?:\.[0-9]+)?)(?![\w.])
    | (?P<string>'[^']*'|"[^"]*")
    | (?P<operator>==|!=|<=|>=|<|>)
    | (?P<bracket>[()])
    | (?P<word>[A-Za-z_]+)
    )""",
    re.VERBOSE | re.ASCII,
)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}


class ConditionError(Permanent):
    """A `when` that cannot be read, or whose values cannot be compared."""

    code = "bad-condition"


@dataclass(frozen=True, slots=True)
class Literal:
    """A value written in the condition."""

    value: Any


@dataclass(frozen=True, slots=True)
class Variable:
    """A placeholder of the condition."""

    name: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left operator right`."""

    operator: str
    left: "Literal | Variable"
    right: "Literal | Variable"


@dataclass(frozen=True, slots=True)
class Combination:
    """`and` or `or` of several, `not` of one."""

    operator: str
    parts: tuple["Expression", ...]


Expression = Literal | Variable | Comparison | Combination


@lru_cache(maxsize=256)
def parse(text: str) -> Expression:
    """The condition that `text` says.

    Raises:
        ConditionError: it is not of the grammar; says what was expected.
    """
    return _Parser(text).parse()


def variables(expression: Expression) -> list[str]:
    """The names of its placeholders, in order."""
    if isinstance(expression, Variable):
        return [expression.name]
    if isinstance(expression, Comparison):
        return [*variables(expression.left), *variables(expression.right)]
    if isinstance(expression, Combination):
        return [name for part in expression.parts for name in variables(part)]
    return []


def atoms(expression: Expression) -> list[Expression]:
    """Its comparisons and lone operands."""
    if isinstance(expression, Combination):
        return [atom for part in expression.parts for atom in atoms(part)]
    return [expression]


def evaluate(expression: Expression, value_of: Callable[[str], Any]) -> bool:
    """Whether the condition holds.

    Raises:
        ConditionError: values cannot be ordered, or a lone value is not a boolean.
    """
    if isinstance(expression, Combination):
        results = (evaluate(part, value_of) for part in expression.parts)
        if expression.operator == "not":
            return not next(results)
        return all(results) if expression.operator == "and" else any(results)
    if isinstance(expression, Comparison):
        return _compare(
            expression.operator,
            _value(expression.left, value_of),
            _value(expression.right, value_of),
        )
    value = _value(expression, value_of)
    if not isinstance(value, bool):
        raise ConditionError(f"{value!r} is not true or false; compare it, as in {{x}} > 0")
    return value


def _value(operand: Literal | Variable, value_of: Callable[[str], Any]) -> Any:
    return operand.value if isinstance(operand, Literal) else value_of(operand.name)


def _compare(sign: str, left: Any, right: Any) -> bool:
    same = _kind(left) == _kind(right)
    if sign == "==":
        return same and bool(left == right)
    if sign == "!=":
        return not same or bool(left != right)
    if not same or _kind(left) not in {"number", "text"}:
        raise ConditionError(
            f"cannot order {left!r} {sign} {right!r}; compare two numbers or two texts"
        )
    return _ORDER[sign](left, right)


def comparable(sign: str, left: Any, right: Any) -> bool:
    """Whether values of the kinds of these two can be compared by `sign` at all.

    Null can be held against anything; what is neither number, text, boolean nor null is not known.
    """
    kinds = {_kind(left), _kind(right)}
    if not kinds <= {"boolean", "number", "text", "NoneType"}:
        return True
    if sign in {"==", "!="}:
        return len(kinds) == 1 or "NoneType" in kinds
    return kinds in ({"number"}, {"text"})


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else type(value).__name__


class _Parser:
    """Recursive descent: or, and, not, comparison."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0

    def parse(self) -> Expression:
        expression = self._any()
        if self._next < len(self._tokens):
            raise ConditionError(f"expected and, or, or the end before {self._peek()[1]!r}")
        return expression

    def _any(self) -> Expression:
        return self._joined("or", lambda: self._joined("and", self._negation))

    def _joined(self, word: str, part: Callable[[], Expression]) -> Expression:
        parts = [part()]
        while self._take("word", word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Combination(word, tuple(parts))

    def _negation(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ConditionError(f"nested deeper than {MAX_DEPTH}; split the step")
        if self._take("word", "not"):
            result: Expression = Combination("not", (self._negation(),))
        elif self._take("bracket", "("):
            result = self._any()
            if not self._take("bracket", ")"):
                raise ConditionError(f"expected ) before {self._peek()[1] or 'the end'!r}")
        else:
            result = self._comparison()
        self._depth -= 1
        return result

    def _comparison(self) -> Expression:
        left = self._operand()
        kind, sign = self._peek()
        if kind != "operator":
            return left
        self._next += 1
        return Comparison(sign, left, self._operand())

    def _operand(self) -> Literal | Variable:
        kind, text = self._peek()
        self._next += 1
        if kind == "placeholder":
            return Variable(text[1:-1])
        if kind == "number":
            return Literal(float(text) if "." in text else int(text))
        if kind == "string":
            return _string(text[1:-1])
        if kind == "word" and text in _WORDS:
            return Literal(_WORDS[text])
        raise ConditionError(
            f"expected a {{variable}}, a number or a 'text' before {text or 'the end'!r}"
        )

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "")

    def _take(self, kind: str, text: str) -> bool:
        if self._peek() != (kind, text):
            return False
        self._next += 1
        return True


def _string(body: str) -> Literal | Variable:
    """`'{x}'` is the variable, as in SQL; a text with a placeholder in it is refused."""
    parts = split(body)
    if len(parts) == 1 and isinstance(parts[0], Placeholder):
        return Variable(parts[0].name)
    if any(isinstance(part, Placeholder) for part in parts):
        raise ConditionError(f"{body!r} mixes text and a variable; compare the variable alone")
    return Literal("".join(str(part) for part in parts))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if not match:
            raise ConditionError(f"cannot read {text[position:].strip()[:20]!r}")
        kind = match.lastgroup or ""
        yield kind, match[kind]
        position = match.end()
