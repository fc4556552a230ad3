"""The translation of GoogleSQL syntax into typed DuckDB text: one object per statement."""

from decimal import Decimal
from typing import Any

from sqlglot import exp

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql import casts, expressions, operators, select
from infra.local.bigquery.sql.context import Context, Environment
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.query import Output, Query
from infra.local.bigquery.sql.scope import Scope
from infra.local.bigquery.sql.typed import Typed, number
from infra.local.bigquery.sql.typesystem import BOOL, FLOAT64, INT64, SqlType, duckdb_type


class Translator:
    """Translates expressions and queries of one statement."""

    def __init__(self, environment: Environment) -> None:
        self.context = Context(environment)
        self.expanding: list[str] = []

    # --- expressions

    def expr(self, node: exp.Expr, scope: Scope) -> Typed:
        """An expression in `scope`.

        Raises:
            ApiError: invalidQuery with BigQuery's text.
        """
        handler = expressions.HANDLERS.get(type(node))
        if handler is None:
            raise invalid(f"Unsupported expression: {type(node).__name__.upper()}", node)
        grouping = scope.grouping
        if grouping is None:
            return handler(self, node, scope)
        for known, translated in grouping.queries:
            if known is node or (type(known) is type(node) and known == node):
                return Typed(translated.sql, translated.kind)
        mark = len(grouping.pending)
        value: Typed = handler(self, node, scope)
        if value.sql in grouping.keys:
            del grouping.pending[mark:]
        return value

    def coerced(self, node: exp.Expr, scope: Scope, kind: SqlType, where: str) -> Typed:
        """An expression that must coerce to `kind`.

        Raises:
            ApiError: it does not; `where` completes "No matching signature for ...".
        """
        value = self.expr(node, scope)
        coerced = casts.coerce(self.context, value, kind)
        if coerced is None:
            raise operators.no_signature(
                where, [value], node, f"{where.rsplit(maxsplit=1)[-1]} {kind}"
            )
        return coerced

    def boolean(self, node: exp.Expr, scope: Scope, where: str) -> Typed:
        """A condition."""
        value = self.expr(node, scope)
        coerced = casts.coerce(self.context, value, BOOL)
        if coerced is None:
            if where.startswith("operator"):
                raise operators.no_signature(where, [value], node, "BOOL")
            raise invalid(f"{where} should return type BOOL, but returns {value.kind}", node)
        return coerced

    def number_literal(self, text: str, node: Any) -> Typed:
        """A literal such as 5, -5, 1.5 or 1e3."""
        if text.lstrip("-").isdigit():
            value = int(text)
            if not -(2**63) <= value < 2**63:
                raise invalid(f"Invalid integer literal: {text}", node)
            return number(value, INT64)
        return number(Decimal(text), FLOAT64)

    # --- queries

    def query(self, node: exp.Expr, scope: Scope | None = None) -> Query:
        """A SELECT, set operation or parenthesised query; `scope` surrounds a subquery."""
        return select.translate(self, node, scope)

    def use_columns(self, columns: list[Output]) -> None:
        """Note that all these output columns are needed."""
        for column in columns:
            self.context.use(column.uses)

    # --- values bound at execution

    def variable(self, name: str) -> Typed | None:
        """A script variable, or None."""
        kind = self.context.environment.variables.get(name.casefold())
        if kind is None:
            return None
        slot = self.context.slot("variable", name.casefold())
        return Typed(f"CAST(${slot} AS {duckdb_type(kind)})", kind)

    def parameter(self, name: str | None, node: Any) -> Typed:
        """A query parameter: named, or the next positional one (None).

        Raises:
            ApiError: the request has no such parameter.
        """
        environment = self.context.environment
        if name is None:
            position = self.context.positions
            self.context.positions += 1
            known = environment.positional
            kind = known[position] if position < len(known) else None
            slot = self.context.slot("positional", position)
            key = str(position)
        else:
            key = name.casefold()
            kind = environment.parameters.get(key)
            slot = self.context.slot("named", key)
        if kind is None:
            return self._undeclared(name, key, slot, node)
        return Typed(f"CAST(${slot} AS {duckdb_type(kind)})", kind, coercion="parameter")

    def _undeclared(self, name: str | None, key: str, slot: str, node: Any) -> Typed:
        environment = self.context.environment
        wrong_mode = environment.mode is not None and (environment.mode == "NAMED") == (
            name is None
        )
        if environment.declared_only or wrong_mode:
            raise self._missing_parameter(name, key, node)
        self.context.undeclared.setdefault(name or key, None)
        return Typed(f"${slot}", SqlType("NULL"), coercion="parameter", undeclared=name or key)

    def _missing_parameter(self, name: str | None, key: str, node: Any) -> ApiError:
        if name is not None:
            return invalid(f"Query parameter '{name}' not found", node)
        return invalid(f"Query parameter number {int(key) + 1} not found", node)
