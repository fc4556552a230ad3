"""A statement under construction: names are checked columns, values are parameters."""

from typing import Any

from shared.errors import FieldProblem, InvalidInputError
from shared.processors.contract import Query, QueryParameter

_PREFIX = "dq__"


class Parameters:
    """The parameters of one statement: those of the author's fragments, and our own."""

    def __init__(self) -> None:
        self._own: list[QueryParameter] = []
        self._given: dict[str, QueryParameter] = {}

    def value(self, sql_type: str, value: Any) -> str:
        """`@name` of a new parameter."""
        name = f"{_PREFIX}{len(self._own)}"
        self._own.append(QueryParameter(name=name, type=sql_type, value=value))
        return f"@{name}"

    def fragment(self, written: Query) -> str:
        """SQL of the template in parentheses of its own lines, so that a comment ends there.

        One variable has one value in a step, so fragments may share their parameters.

        Raises:
            InvalidInputError: a variable has a name that is kept for parameters of ours.
        """
        for parameter in written.parameters:
            if parameter.name.startswith(_PREFIX):
                problem = f"is a name kept for the check itself; do not begin it with {_PREFIX}"
                raise InvalidInputError([FieldProblem(f"/{parameter.name}", problem)])
            self._given[parameter.name] = parameter
        return f"(\n{written.sql.strip().rstrip(';')}\n)"

    def query(self, sql: str) -> Query:
        """The statement with all parameters."""
        return Query(sql=sql, parameters=(*self._given.values(), *self._own))
