"""A script as a tree of statements and blocks, read from its tokens."""

from functools import lru_cache
from typing import TYPE_CHECKING

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql import syntax
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
from infra.local.bigquery.sql.syntax_types import read_type
from infra.local.bigquery.sql.typesystem import SqlType

if TYPE_CHECKING:
    from collections.abc import Callable


def read_script(sql: str) -> Script:
    """The tree of a text. Trees are shared: never change one.

    Raises:
        ApiError: "Syntax error: ...".
    """
    return _read(sql) if len(sql) > _LONG else _read_once(sql)


def _read(sql: str) -> Script:
    tokens = syntax.tokenize(sql)
    nodes = _Reader(sql, tokens).statements(())
    if not nodes:
        raise ApiError.invalid_query("Syntax error: Unexpected end of statement")
    if len(nodes) == 1 and isinstance(nodes[0], Simple):
        nodes[0].sql = sql
    return Script(nodes)


_LONG = 20_000  # characters; the trees of longer texts would fill the memory
_read_once = lru_cache(maxsize=1024)(_read)


class _Reader:
    def __init__(self, sql: str, tokens: list[Token]) -> None:
        self._sql = sql
        self._tokens = tokens
        self._at = 0
        self._readers: dict[str, Callable[[], Node]] = {
            "DECLARE": self._declare,
            "SET": self._set,
            "IF": self._if,
            "LOOP": self._loop,
            "WHILE": self._while,
            "REPEAT": self._repeat,
            "FOR": self._for,
            "BEGIN": self._begin,
            "COMMIT": self._transaction_end,
            "ROLLBACK": self._transaction_end,
            "BREAK": self._control,
            "LEAVE": self._control,
            "CONTINUE": self._control,
            "ITERATE": self._control,
            "RETURN": self._control,
            "RAISE": self._raise,
            "ASSERT": self._assert,
            "EXECUTE": self._execute,
        }

    # --- tokens

    def _peek(self, ahead: int = 0) -> Token | None:
        index = self._at + ahead
        return self._tokens[index] if index < len(self._tokens) else None

    def _word(self, ahead: int = 0) -> str:
        token = self._peek(ahead)
        if token is None or token.token_type in {TokenType.STRING, TokenType.IDENTIFIER}:
            return ""
        return token.text.upper()

    def _accept(self, *words: str) -> bool:
        if all(self._word(offset) == word for offset, word in enumerate(words)):
            self._at += len(words)
            return True
        return False

    def _expect(self, *words: str) -> None:
        if not self._accept(*words):
            raise self._unexpected(f"Expected keyword {words[0]} but got")

    def _unexpected(self, lead: str = "Unexpected") -> ApiError:
        token = self._peek()
        if token is None:
            last = self._tokens[-1]
            place = f"[{last.line}:{last.col + 1}]"
            return ApiError.invalid_query(f"Syntax error: {lead} end of script at {place}")
        start = max(1, token.col - (token.end - token.start))
        return ApiError.invalid_query(
            f'Syntax error: {lead} "{token.text}" at [{token.line}:{start}]'
        )

    # --- statements

    def statements(self, ends: tuple[str, ...]) -> list[Node]:
        """Statements up to one of the words `ends`, or to the end of the text."""
        nodes: list[Node] = []
        while True:
            while self._is_semicolon():
                self._at += 1
            if self._peek() is None:
                if ends:
                    raise self._unexpected(f"Expected keyword {ends[0]} but got")
                return nodes
            if self._word() in ends:
                return nodes
            nodes.append(self._statement())
            if self._peek() is not None and not self._is_semicolon():
                raise self._unexpected("Expected end of statement but got")

    def _is_semicolon(self) -> bool:
        token = self._peek()
        return token is not None and token.token_type == TokenType.SEMICOLON

    def _statement(self) -> Node:
        word = self._word()
        reader = self._readers.get(word)
        if reader is not None and not (word == "IF" and self._word(1) == ""):
            return reader()
        return self._simple()

    def _simple(self) -> Simple:
        start = self._at
        while self._peek() is not None and not self._is_semicolon():
            self._at += 1
        return self._as_simple(start, self._at)

    def _as_simple(self, start: int, end: int) -> Simple:
        tokens = self._tokens[start:end]
        text = self._sql[tokens[0].start : tokens[-1].end + 1] if tokens else ""
        return Simple(text, syntax.parse_tokens(tokens, self._sql))

    def _expression(self, *ends: str) -> exp.Expr:
        """An expression up to one of the words at the same depth, or to the statement's end."""
        start = self._at
        depth = cases = 0
        while (token := self._peek()) is not None:
            word = self._word()
            if depth == 0 and (self._is_semicolon() or (cases == 0 and word in ends)):
                break
            if token.token_type in {TokenType.L_PAREN, TokenType.L_BRACKET}:
                depth += 1
            elif token.token_type in {TokenType.R_PAREN, TokenType.R_BRACKET}:
                depth -= 1
            elif word == "CASE":
                cases += 1
            elif word == "END" and cases:
                cases -= 1
            self._at += 1
        if start == self._at:
            raise self._unexpected()
        return syntax.parse_expression(self._tokens[start : self._at], self._sql)

    def _name(self) -> str:
        token = self._peek()
        if token is None or token.token_type in {TokenType.STRING, TokenType.NUMBER}:
            raise self._unexpected()
        self._at += 1
        return token.text

    def _names(self) -> list[str]:
        names = [self._name()]
        while self._accept(","):
            names.append(self._name())
        return names

    # --- kinds

    def _declare(self) -> Declare:
        self._at += 1
        names = self._names()
        kind = None
        if self._word() not in {"DEFAULT", ""} and not self._is_semicolon():
            start = self._at
            while self._peek() is not None and not self._is_semicolon():
                if self._word() == "DEFAULT":
                    break
                self._at += 1
            kind = _read_type_tokens(self._tokens[start : self._at], self._sql)
        default = self._expression() if self._accept("DEFAULT") else None
        if kind is None and default is None:
            raise self._unexpected("Expected a type or DEFAULT but got")
        return Declare(names, kind, default)

    def _set(self) -> Node:
        self._at += 1
        if self._accept("("):
            names = self._names()
            self._expect(")")
            self._expect("=")
            return Assign(names, self._expression())
        system = False
        while self._word() in {"@", "@@"}:
            system = True
            self._at += 1
        name = self._name()
        while self._accept("."):
            name += "." + self._name()
        self._expect("=")
        return Assign([name], self._expression(), system)

    def _if(self) -> If:
        self._at += 1
        branches = []
        condition = self._expression("THEN")
        self._expect("THEN")
        branches.append((condition, self.statements(("ELSEIF", "ELSE", "END"))))
        while self._accept("ELSEIF"):
            condition = self._expression("THEN")
            self._expect("THEN")
            branches.append((condition, self.statements(("ELSEIF", "ELSE", "END"))))
        otherwise = self.statements(("END",)) if self._accept("ELSE") else []
        self._expect("END", "IF")
        return If(branches, otherwise)

    def _loop(self) -> Loop:
        self._at += 1
        body = self.statements(("END",))
        self._expect("END", "LOOP")
        return Loop(body)

    def _while(self) -> Loop:
        self._at += 1
        condition = self._expression("DO")
        self._expect("DO")
        body = self.statements(("END",))
        self._expect("END", "WHILE")
        return Loop(body, condition=condition)

    def _repeat(self) -> Loop:
        self._at += 1
        body = self.statements(("UNTIL",))
        self._expect("UNTIL")
        until = self._expression("END")
        self._expect("END", "REPEAT")
        return Loop(body, until=until)

    def _for(self) -> For:
        self._at += 1
        name = self._name()
        self._expect("IN")
        self._expect("(")
        start, depth = self._at, 1
        while self._peek() is not None:
            if self._word() == "(":
                depth += 1
            elif self._word() == ")":
                depth -= 1
                if depth == 0:
                    break
            self._at += 1
        query = self._as_simple(start, self._at)
        self._expect(")")
        self._expect("DO")
        body = self.statements(("END",))
        self._expect("END", "FOR")
        return For(name, query, body)

    def _begin(self) -> Node:
        self._at += 1
        if self._accept("TRANSACTION") or self._peek() is None or self._is_semicolon():
            return Control("BEGIN")
        body = self.statements(("EXCEPTION", "END"))
        handler = None
        if self._accept("EXCEPTION"):
            self._expect("WHEN", "ERROR", "THEN")
            handler = self.statements(("END",))
        self._expect("END")
        return Begin(body, handler)

    def _transaction_end(self) -> Control:
        word = self._word()
        self._at += 1
        self._accept("TRANSACTION")
        return Control(word)

    def _control(self) -> Control:
        word = self._word()
        self._at += 1
        return Control({"LEAVE": "BREAK", "ITERATE": "CONTINUE"}.get(word, word))

    def _raise(self) -> Raise:
        self._at += 1
        if self._accept("USING", "MESSAGE", "="):
            return Raise(self._expression())
        return Raise(None)

    def _assert(self) -> Assert:
        self._at += 1
        start = self._at
        condition = self._expression("AS")
        tokens = self._tokens[start : self._at]
        text = self._sql[tokens[0].start : tokens[-1].end + 1]
        message = ""
        if self._accept("AS"):
            message = self._name_or_string()
        return Assert(condition, message, text)

    def _name_or_string(self) -> str:
        token = self._peek()
        if token is None:
            raise self._unexpected()
        self._at += 1
        return token.text

    def _execute(self) -> Execute:
        self._at += 1
        self._expect("IMMEDIATE")
        sql = self._expression("INTO", "USING")
        into = self._names() if self._accept("INTO") else []
        using: list[tuple[str | None, exp.Expr]] = []
        if self._accept("USING"):
            while True:
                value = self._expression(",", "AS")
                name = self._name() if self._accept("AS") else None
                using.append((name, value))
                if not self._accept(","):
                    break
        return Execute(sql, into, using)


def _read_type_tokens(tokens: list[Token], sql: str) -> SqlType:
    first = tokens[0]

    def token(kind: TokenType, text: str) -> Token:
        return Token(kind, text, first.line, first.col, first.start, first.start)

    wrapped = [
        token(TokenType.VAR, "CAST"),
        token(TokenType.L_PAREN, "("),
        token(TokenType.NULL, "NULL"),
        token(TokenType.ALIAS, "AS"),
        *tokens,
        token(TokenType.R_PAREN, ")"),
    ]
    tree = syntax.parse_expression(wrapped, sql)
    return read_type(tree.args["to"])
