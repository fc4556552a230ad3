"""SQL functions of a script (CREATE TEMP FUNCTION), expanded where they are called."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from infra.local.bigquery.sql import casts
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.scope import Column, Relation, Scope
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import SqlType

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator


@dataclass(frozen=True)
class SqlFunction:
    """Name, typed arguments and body."""

    name: str
    arguments: tuple[tuple[str, SqlType], ...]
    body: exp.Expr


def expand(tr: "Translator", function: SqlFunction, node: exp.Anonymous, scope: Scope) -> Typed:
    """A call as the function's body over the arguments.

    Raises:
        ApiError: a wrong number or type of arguments, or a body that calls itself.
    """
    if len(node.expressions) != len(function.arguments):
        raise invalid(f"Number of arguments does not match for function {function.name}", node)
    if function.name in tr.expanding:
        raise invalid(f"Function {function.name} calls itself", node)
    columns = []
    for argument, (name, kind) in zip(node.expressions, function.arguments, strict=True):
        value = tr.expr(argument, scope)
        coerced = casts.coerce(tr.context, value, kind)
        if coerced is None:
            raise invalid(
                f"No matching signature for function {function.name} for argument types:"
                f" {value.kind}. Supported signature: {function.name}({kind})",
                node,
            )
        columns.append(Column(name, coerced.sql, kind))
    tr.expanding.append(function.name)
    try:
        value = tr.expr(function.body, Scope(relations=[Relation(None, columns)]))
    finally:
        tr.expanding.pop()
    return Typed(value.sql, value.kind)
