"""Running a script: variables, control flow, transactions, exceptions."""

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql import casts, execution, running, statements
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.plan import QueryResult
from infra.local.bigquery.sql.scope import Scope
from infra.local.bigquery.sql.script.blocks import read_script
from infra.local.bigquery.sql.script.nodes import (
    Assert,
    Assign,
    Begin,
    Control,
    Declare,
    Execute,
    For,
    If,
    Loop,
    Node,
    Raise,
    Script,
    Simple,
)
from infra.local.bigquery.sql.session import Session, bindable
from infra.local.bigquery.sql.translator import Translator
from infra.local.bigquery.sql.typesystem import BOOL, STRING, SqlType, struct_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.local.bigquery.catalog import TableRef
    from infra.local.bigquery.sql.typed import Typed

_MAX_STEPS = 100_000


class _LeaveError(Exception):
    """BREAK, CONTINUE or RETURN on its way to what it leaves."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def run_script(session: Session, script: Script) -> QueryResult:
    """Run a script; the rows of its last SELECT are its rows.

    Raises:
        ApiError: of the statement that failed; `children` holds the results before it. An open
            transaction has been rolled back.
    """
    if session.request.destination is not None:
        raise ApiError.invalid("configuration.query.destinationTable cannot be set for scripts")
    session.script = True
    runner = _Runner(session, script)
    try:
        runner.run(script.nodes)
        if session.transaction is not None:
            session.roll_back()
            raise ApiError.invalid_query(
                "Transaction was not committed before the end of the script"
            )
    except _LeaveError as leave:
        if leave.word != "RETURN":
            error = ApiError.invalid_query(f"{leave.word} is only allowed inside of a loop body")
            error.children = runner.children  # type: ignore[attr-defined]
            raise error from None
    except ApiError as error:
        error.children = runner.children  # type: ignore[attr-defined]
        raise
    finally:
        session.close()
    return _summary(session, runner.children)


def _summary(session: Session, children: list[QueryResult]) -> QueryResult:
    result = QueryResult(statement_type="SCRIPT", children=children)
    seen: dict[TableRef, None] = {}
    for child in children:
        result.total_bytes_processed += child.total_bytes_processed
        result.total_bytes_billed += child.total_bytes_billed
        for ref in child.referenced_tables:
            seen[ref] = None
        if child.rows is not None:
            result.rows, result.schema = child.rows, child.schema
            result.total_rows = child.total_rows
    result.referenced_tables = list(seen)
    with session.storage.transaction() as tx:
        session.catalog.mark_job(tx, session.request.job_id, {})
    return result


class _Runner:
    def __init__(self, session: Session, script: Script) -> None:
        self._session = session
        self._script = script
        self.children: list[QueryResult] = []
        self._steps = 0
        self._kinds: dict[type, Callable[[Any], None]] = {
            Simple: self._simple,
            Declare: self._declare,
            Assign: self._assign,
            If: self._if,
            Loop: self._loop,
            For: self._for,
            Begin: self._begin,
            Control: self._control,
            Raise: self._raise,
            Assert: self._assert,
            Execute: self._execute,
        }

    def run(self, nodes: list[Node]) -> None:
        """Run a block."""
        for node in nodes:
            self._steps += 1
            if self._session.cancelled.is_set():
                raise ApiError.stopped()
            if self._steps > _MAX_STEPS:
                raise ApiError.resources_exceeded("The script ran more than 100,000 statements")
            self._kinds[type(node)](node)

    def _simple(self, node: Simple) -> None:
        self.children.append(statements.run(self._session, node))

    # --- variables

    def _declare(self, node: Declare) -> None:
        session = self._session
        kind, value = node.kind, None
        if node.default is not None:
            given = self.evaluate(node.default, node.kind)
            kind, value = given
        for name in node.names:
            if name.casefold() in session.variables:
                raise ApiError.invalid_query(f"Variable '{name}' redeclaration is not allowed here")
            session.variables[name.casefold()] = (kind or STRING, value)

    def _assign(self, node: Assign) -> None:
        if node.system:
            self._assign_system(node)
            return
        for name in node.names:
            if name.casefold() not in self._session.variables:
                raise invalid(f"Undeclared variable: {name}", node.value)
        if len(node.names) == 1:
            self._store(node.names[0], node.value)
            return
        kind, value = self.evaluate(node.value, None)
        if not kind.is_struct or len(kind.fields) != len(node.names):
            raise invalid(
                f"SET expects a STRUCT with {len(node.names)} fields but found {kind}", node.value
            )
        for name, (_, given), one in zip(
            node.names, kind.fields, (value or {}).values(), strict=True
        ):
            self._put(name, given, one, node.value)

    def _assign_system(self, node: Assign) -> None:
        name = node.names[0].lower()
        _, value = self.evaluate(node.value, STRING)
        if name == "dataset_id":
            self._session.default_dataset = (self._session.request.project, str(value))
        elif name not in {"time_zone", "query_label", "dataset_project_id"}:
            raise invalid(f"Cannot set the system variable @@{name}", node.value)

    def _store(self, name: str, expression: exp.Expr) -> None:
        kind, _ = self._session.variables[name.casefold()]
        _, value = self.evaluate(expression, kind)
        self._session.variables[name.casefold()] = (kind, value)

    def _put(self, name: str, given: SqlType, value: Any, node: exp.Expr) -> None:
        kind, _ = self._session.variables[name.casefold()]
        if given != kind and not casts.implicit(given, kind):
            raise invalid(
                f"Cannot coerce expression of type {given} to type {kind} of variable {name}", node
            )
        self._session.variables[name.casefold()] = (kind, value)

    def evaluate(self, node: exp.Expr, wanted: SqlType | None) -> tuple[SqlType, Any]:
        """An expression's type and value, coerced to `wanted`.

        Raises:
            ApiError: its type does not fit, or it fails.
        """
        session = self._session
        tr = Translator(session.environment())
        value: Typed | None = tr.expr(node, Scope())
        if wanted is not None and value is not None:
            given = value.kind
            value = casts.coerce(tr.context, value, wanted)
            if value is None:
                raise invalid(f"Cannot coerce expression of type {given} to type {wanted}", node)
        if value is None:
            raise invalid("An expression is expected", node)
        running.ensure_tables(session, tr.context.scans)
        values = session.values(tr.context.slots)
        with session.reading() as cursor, execution.interruptible(cursor, session.cancelled):
            text = f"SELECT {value.sql} AS v"
            relation = cursor.sql(text, params=values) if values else cursor.sql(text)
            rows = relation.to_arrow_table().to_pylist()
        return value.kind, bindable(rows[0]["v"])

    # --- control flow

    def _holds(self, condition: exp.Expr) -> bool:
        _, value = self.evaluate(condition, BOOL)
        return bool(value)

    def _if(self, node: If) -> None:
        for condition, body in node.branches:
            if self._holds(condition):
                self.run(body)
                return
        self.run(node.otherwise)

    def _loop(self, node: Loop) -> None:
        while node.condition is None or self._holds(node.condition):
            if not self._once(node.body):
                return
            if node.until is not None and self._holds(node.until):
                return

    def _once(self, body: list[Node]) -> bool:
        """One round of a loop; false when it was left."""
        try:
            self.run(body)
        except _LeaveError as leave:
            if leave.word == "BREAK":
                return False
            if leave.word != "CONTINUE":
                raise
        return True

    def _for(self, node: For) -> None:
        result = statements.run(self._session, node.query)
        compiled = statements.compile_select(self._session, node.query)
        kind = struct_of(compiled.columns)
        name = node.name.casefold()
        outer = self._session.variables.get(name)
        try:
            for row in result.rows.to_pylist() if result.rows is not None else ():
                self._session.variables[name] = (kind, bindable(row))
                if not self._once(node.body):
                    return
        finally:
            self._session.variables.pop(name, None)
            if outer is not None:
                self._session.variables[name] = outer

    def _begin(self, node: Begin) -> None:
        known = set(self._session.variables)
        try:
            if node.handler is None:
                self.run(node.body)
            else:
                self._guarded(node)
        finally:
            for name in set(self._session.variables) - known:
                del self._session.variables[name]

    def _guarded(self, node: Begin) -> None:
        try:
            self.run(node.body)
        except ApiError as error:
            if error.reason == "stopped":
                raise
            outer = self._session.error
            self._session.error = error.message
            try:
                self.run(node.handler or [])
            finally:
                self._session.error = outer

    def _control(self, node: Control) -> None:
        session = self._session
        if node.word == "BEGIN":
            running.prepare_tables(session, self._script.trees())
            session.begin()
        elif node.word == "COMMIT":
            session.commit()
        elif node.word == "ROLLBACK":
            session.roll_back()
        else:
            raise _LeaveError(node.word)
        if node.word in {"BEGIN", "COMMIT", "ROLLBACK"}:
            self.children.append(QueryResult(statement_type=f"{node.word}_TRANSACTION"))

    def _raise(self, node: Raise) -> None:
        if node.message is None:
            if self._session.error is None:
                raise ApiError.invalid_query("Cannot re-raise outside of an exception handler")
            raise ApiError.invalid_query(self._session.error)
        _, message = self.evaluate(node.message, STRING)
        raise ApiError.invalid_query(str(message))

    def _assert(self, node: Assert) -> None:
        if self._holds(node.condition):
            self.children.append(QueryResult(statement_type="ASSERT", sql=node.text))
            return
        message = node.message or f"Assertion failed: {node.text}"
        raise ApiError.invalid_query(message)

    def _execute(self, node: Execute) -> None:
        session = self._session
        _, text = self.evaluate(node.sql, STRING)
        if text is None:
            raise ApiError.invalid_query("EXECUTE IMMEDIATE sql string cannot be NULL")
        outer = session.parameters
        session.parameters = type(outer)()
        for name, expression in node.using:
            given = self.evaluate(expression, None)
            if name is not None:
                session.parameters.mode = "NAMED"
                session.parameters.named[name.casefold()] = given
            else:
                session.parameters.mode = "POSITIONAL"
                session.parameters.positional.append(given)
        try:
            script = read_script(text)
            if not script.single:
                raise ApiError.invalid_query("EXECUTE IMMEDIATE takes one SQL statement")
            result = statements.run(session, script.only)
        finally:
            session.parameters = outer
        self.children.append(result)
        if node.into:
            self._store_row(node, result)

    def _store_row(self, node: Execute, result: QueryResult) -> None:
        rows = result.rows.to_pylist() if result.rows is not None else []
        if len(rows) > 1:
            raise ApiError.invalid_query("EXECUTE IMMEDIATE INTO expects at most one row")
        values = list(rows[0].values()) if rows else [None] * len(node.into)
        if len(values) != len(node.into):
            raise ApiError.invalid_query(
                f"EXECUTE IMMEDIATE INTO expects {len(node.into)} columns, got {len(values)}"
            )
        for name, value in zip(node.into, values, strict=True):
            if name.casefold() not in self._session.variables:
                raise ApiError.invalid_query(f"Undeclared variable: {name}")
            kind, _ = self._session.variables[name.casefold()]
            self._session.variables[name.casefold()] = (kind, bindable(value))
