"""The dry run of a script."""

from sqlglot import exp

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql import statements
from infra.local.bigquery.sql.plan import QueryPlan
from infra.local.bigquery.sql.scope import Scope
from infra.local.bigquery.sql.script.nodes import (
    Begin,
    Declare,
    For,
    If,
    Loop,
    Node,
    Script,
    Simple,
)
from infra.local.bigquery.sql.session import Session
from infra.local.bigquery.sql.translator import Translator
from infra.local.bigquery.sql.typesystem import STRING


def plan_script(session: Session, script: Script) -> QueryPlan:
    """A script's statements planned in order, as far as they do not depend on what runs before.

    Raises:
        ApiError: a statement that would fail whatever runs before it.
    """
    session.script = True
    planner = _Planner(session)
    planner.plan(script.nodes)
    return planner.result


class _Planner:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._created: set[str] = set()
        self.result = QueryPlan(statement_type="SCRIPT")

    def plan(self, nodes: list[Node]) -> None:
        """Plan a block."""
        for node in nodes:
            if isinstance(node, Simple):
                self._simple(node)
            elif isinstance(node, Declare):
                self._declare(node)
            elif isinstance(node, If):
                for _, body in node.branches:
                    self.plan(body)
                self.plan(node.otherwise)
            elif isinstance(node, Loop | For):
                self.plan(node.body)
            elif isinstance(node, Begin):
                self.plan(node.body)
                self.plan(node.handler or [])

    def _declare(self, node: Declare) -> None:
        kind = node.kind
        if kind is None and node.default is not None:
            kind = Translator(self._session.environment()).expr(node.default, Scope()).kind
        for name in node.names:
            self._session.variables[name.casefold()] = (kind or STRING, None)

    def _simple(self, node: Simple) -> None:
        tree = node.tree
        if isinstance(tree, exp.Create):
            target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
            self._created.add(str(target.name).casefold())
        try:
            facts = statements.plan(self._session, node)
        except ApiError as error:
            if self._created and error.reason in {"notFound", "invalidQuery"}:
                return
            raise
        known = set(self.result.referenced_tables)
        self.result.referenced_tables += [
            ref for ref in facts.referenced_tables if ref not in known
        ]
        self.result.total_bytes_processed += facts.total_bytes_processed
        self.result.total_bytes_billed += facts.total_bytes_billed
        self.result.undeclared_parameters += facts.undeclared_parameters
        if facts.statement_type == "SELECT":
            self.result.schema = facts.schema
