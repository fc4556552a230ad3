"""What a script consists of."""

from dataclasses import dataclass, field, fields, is_dataclass

from sqlglot import exp

from infra.local.bigquery.sql.typesystem import SqlType


@dataclass(slots=True)
class Simple:
    """A SQL statement; its tree is shared, never changed."""

    sql: str
    tree: exp.Expr


@dataclass(slots=True)
class Declare:
    """DECLARE names [type] [DEFAULT expression]."""

    names: list[str]
    kind: SqlType | None
    default: exp.Expr | None


@dataclass(slots=True)
class Assign:
    """SET name = expression, or SET (names) = struct; `system` for @@ variables."""

    names: list[str]
    value: exp.Expr
    system: bool = False


@dataclass(slots=True)
class If:
    """IF with its ELSEIF branches; `otherwise` is the ELSE block."""

    branches: list[tuple[exp.Expr, "list[Node]"]]
    otherwise: "list[Node]"


@dataclass(slots=True)
class Loop:
    """LOOP, WHILE (`condition` before) and REPEAT (`until` after)."""

    body: "list[Node]"
    condition: exp.Expr | None = None
    until: exp.Expr | None = None


@dataclass(slots=True)
class For:
    """FOR variable IN (query) DO ... END FOR."""

    name: str
    query: Simple
    body: "list[Node]"


@dataclass(slots=True)
class Begin:
    """BEGIN ... [EXCEPTION WHEN ERROR THEN ...] END."""

    body: "list[Node]"
    handler: "list[Node] | None" = None


@dataclass(slots=True)
class Control:
    """BREAK, CONTINUE, RETURN, BEGIN TRANSACTION, COMMIT, ROLLBACK."""

    word: str


@dataclass(slots=True)
class Raise:
    """RAISE [USING MESSAGE = expression]."""

    message: exp.Expr | None


@dataclass(slots=True)
class Assert:
    """ASSERT condition [AS 'text']."""

    condition: exp.Expr
    message: str
    text: str


@dataclass(slots=True)
class Execute:
    """EXECUTE IMMEDIATE expression [INTO names] [USING expression [AS name], ...]."""

    sql: exp.Expr
    into: list[str] = field(default_factory=list)
    using: list[tuple[str | None, exp.Expr]] = field(default_factory=list)


Node = Simple | Declare | Assign | If | Loop | For | Begin | Control | Raise | Assert | Execute


@dataclass(slots=True)
class Script:
    """A parsed text."""

    nodes: list[Node]

    @property
    def single(self) -> bool:
        """Whether it is one SQL statement."""
        return len(self.nodes) == 1 and isinstance(self.nodes[0], Simple)

    @property
    def only(self) -> Simple:
        """That statement."""
        node = self.nodes[0]
        if not isinstance(node, Simple):
            raise TypeError("a single SQL statement is expected")
        return node

    def trees(self) -> list[exp.Expr]:
        """The syntax trees of all statements and expressions, those in blocks included."""
        found: list[exp.Expr] = []
        pending: list[object] = list(self.nodes)
        while pending:
            item = pending.pop()
            if isinstance(item, exp.Expr):
                found.append(item)
            elif isinstance(item, list | tuple):
                pending.extend(item)
            elif is_dataclass(item):
                pending.extend(getattr(item, part.name) for part in fields(item))
        return found
