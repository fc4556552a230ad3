"""Function calls: scalar functions by signature, aggregates, windows, SAFE. and NET."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.sql import (
    aggregate_calls,
    aggregates,
    dates,
    expressions,
    format_function,
    formatting,
    functions,
    json_functions,
    special,
    udfs,
)
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.operators import no_signature
from infra.local.bigquery.sql.scope import Scope, did_you_mean
from infra.local.bigquery.sql.signatures import choose
from infra.local.bigquery.sql.typed import Typed

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator

Special = Callable[["Translator", exp.Anonymous, Scope], Typed]


def _special_functions() -> dict[str, Special]:
    return {
        "STRUCT": lambda tr, node, scope: expressions.struct_constructor(
            tr, node.expressions, scope
        ),
        **dates.SPECIAL,
        **formatting.SPECIAL,
        **format_function.SPECIAL,
        **json_functions.SPECIAL,
        **special.SPECIAL,
    }


_SPECIAL: dict[str, Special] = {}


def function(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    """A call by name.

    Raises:
        ApiError: "Function not found", "No matching signature", an aggregate in a wrong place.
    """
    if not _SPECIAL:
        _SPECIAL.update(_special_functions())
    name = str(node.this).upper()
    handler = _SPECIAL.get(name)
    if handler is not None:
        return handler(tr, node, scope)
    if aggregates.is_aggregate(name):
        return aggregate_calls.plain_aggregate(tr, node, scope)
    if name in aggregates.WINDOWS:
        raise invalid(f"Analytic function {name} cannot be called without an OVER clause", node)
    own = tr.context.environment.functions.get(str(node.this).casefold())
    if own is not None:
        tr.context.cacheable = False
        return udfs.expand(tr, own, node, scope)
    signatures = functions.SCALARS.get(name)
    if signatures is None:
        raise unknown_function(str(node.this), node)
    arguments = [tr.expr(argument, scope) for argument in node.expressions]
    match = choose(tr.context, signatures, arguments)
    if match is None:
        raise no_signature(f"function {name}", arguments, node, functions.supported(name))
    return match.render()


def unknown_function(name: str, node: Any) -> Any:
    """The error for a name that is no function of this server."""
    known = {*functions.SCALARS, *aggregates.AGGREGATES, *aggregates.WINDOWS, *_SPECIAL}
    hint = did_you_mean(name, known)
    return invalid(f"Function not found: {name}{hint}", node)


def niladic(tr: "Translator", node: exp.Expr, scope: Scope) -> Typed:
    """CURRENT_DATE and others without parentheses."""
    names: dict[type[exp.Expr], str] = {
        exp.CurrentDate: "CURRENT_DATE",
        exp.CurrentDatetime: "CURRENT_DATETIME",
        exp.CurrentTime: "CURRENT_TIME",
        exp.CurrentTimestamp: "CURRENT_TIMESTAMP",
        exp.CurrentUser: "SESSION_USER",
    }
    call = exp.Anonymous(this=names[type(node)], expressions=[])
    return function(tr, call, scope)


def safe_function(tr: "Translator", node: exp.SafeFunc, scope: Scope) -> Typed:
    """SAFE.f(...): NULL where f raises an error."""
    inner = node.this
    if isinstance(inner, exp.Anonymous) and aggregates.is_aggregate(inner.name):
        raise invalid(f"Function {inner.name.upper()} does not support SAFE error mode", node)
    value = tr.expr(inner, scope)
    return Typed(f"TRY({value.sql})", value.kind)


def net_function(tr: "Translator", node: exp.NetFunc, scope: Scope) -> Typed:
    """NET.f(...)."""
    inner = node.this
    return _by_qualified_name(tr, f"NET.{inner.name}", inner, scope)


def dotted(tr: "Translator", node: exp.Dot, scope: Scope) -> Typed:
    """A call with a qualified name: KEYS.f, d.udf."""
    prefix = node.this.sql("bigquery")
    return _by_qualified_name(tr, f"{prefix}.{node.expression.name}", node.expression, scope)


def _by_qualified_name(tr: "Translator", name: str, node: Any, scope: Scope) -> Typed:
    signatures = functions.SCALARS.get(name.upper())
    if signatures is None:
        raise invalid(f"Function not found: {name}", node)
    arguments = [tr.expr(argument, scope) for argument in node.expressions]
    match = choose(tr.context, signatures, arguments)
    if match is None:
        raise no_signature(f"function {name.upper()}", arguments, node)
    return match.render()
