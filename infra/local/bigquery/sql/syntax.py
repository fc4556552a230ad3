"""Reading SQL text: tokens, statements, and syntax errors in BigQuery's words."""

import logging
from functools import lru_cache

from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql.dialect import GoogleSql

_DIALECT = GoogleSql()
logging.getLogger("sqlglot").setLevel(logging.ERROR)  # what it cannot parse is an error here


_STATEMENTS = (
    exp.Query, exp.DML, exp.Merge, exp.TruncateTable, exp.Create, exp.Drop, exp.Alter, exp.Export,
)  # fmt: skip


def tokenize(sql: str) -> list[Token]:
    """The tokens of a text.

    Raises:
        ApiError: an unclosed string, comment or quoted identifier.
    """
    try:
        tokens = list(_DIALECT.tokenize(sql))
    except (TokenError, SqlglotError) as error:
        raise ApiError.invalid_query(
            f"Syntax error: {_token_problem(str(error.__cause__))}"
        ) from error
    for token in tokens:
        if token.token_type == TokenType.DCOLON:
            raise _unexpected(token, sql)
    return tokens


def _token_problem(text: str) -> str:
    if "Missing `" in text:
        return "Unclosed identifier literal"
    return "Unclosed string literal" if "Missing" in text else "Illegal input character"


@lru_cache(maxsize=512)
def parse_statement(sql: str) -> exp.Expr:
    """The syntax tree of one statement. Trees are shared: never change one.

    Raises:
        ApiError: "Syntax error: ...".
    """
    return parse_tokens(tokenize(sql), sql)


def parse_tokens(tokens: list[Token], sql: str) -> exp.Expr:
    """The syntax tree of one statement's tokens, with positions in the whole of `sql`."""
    if not tokens:
        raise ApiError.invalid_query("Syntax error: Unexpected end of statement")
    try:
        trees = _DIALECT.parser().parse(tokens, sql)
    except ParseError as error:
        raise _syntax_error(error, tokens, sql) from error
    except (SqlglotError, RecursionError, AttributeError, TypeError, ValueError) as error:
        raise ApiError.invalid_query(
            f"Syntax error: Unexpected {_shown(tokens[0], sql)} at {_place(tokens[0])}"
        ) from error
    found = [tree for tree in trees if tree is not None]
    if len(found) != 1:
        raise ApiError.invalid_query("Syntax error: Expected one statement")
    if not isinstance(found[0], _STATEMENTS):
        raise _unexpected(tokens[0], sql)
    return found[0]


def parse_expression(tokens: list[Token], sql: str) -> exp.Expr:
    """The syntax tree of an expression, given its tokens."""
    select = [_keyword("SELECT", TokenType.SELECT, tokens[0]), *tokens]
    tree = parse_tokens(select, sql)
    if not isinstance(tree, exp.Select) or len(tree.expressions) != 1:
        raise ApiError.invalid_query(
            f"Syntax error: Expected one expression at {_place(tokens[0])}"
        )
    return tree.expressions[0]


def _keyword(text: str, kind: TokenType, at: Token) -> Token:
    return Token(kind, text, at.line, at.col, at.start, at.start)


def _syntax_error(error: ParseError, tokens: list[Token], sql: str) -> ApiError:
    detail = error.errors[0] if error.errors else {}
    line, column = detail.get("line"), detail.get("col")
    index = next(
        (i for i, token in enumerate(tokens) if (token.line, token.col) == (line, column)), None
    )
    if index is None:
        return ApiError.invalid_query("Syntax error: Unexpected input")
    description = str(detail.get("description", ""))
    at_end = index == len(tokens) - 1 and (
        description.startswith(("Expecting", "Expected", "Required")) or "missing" in description
    )
    if at_end:
        last = tokens[-1]
        return ApiError.invalid_query(
            f"Syntax error: Unexpected end of script at [{last.line}:{last.col + 1}]"
        )
    return _unexpected(tokens[index], sql)


def _unexpected(token: Token, sql: str) -> ApiError:
    return ApiError.invalid_query(
        f"Syntax error: Unexpected {_shown(token, sql)} at {_place(token)}"
    )


def _shown(token: Token, sql: str) -> str:
    text = sql[token.start : token.end + 1]
    if token.token_type == TokenType.STRING:
        return f"string literal {text}"
    if token.token_type == TokenType.NUMBER:
        kind = "integer" if text.isdigit() else "floating point"
        return f'{kind} literal "{text}"'
    if token.token_type in {TokenType.VAR, TokenType.IDENTIFIER}:
        return f'identifier "{text}"' if not text.startswith("`") else f"identifier {text}"
    if text[:1].isalpha():
        return f"keyword {text.upper()}"
    return f'"{text}"'


def _place(token: Token) -> str:
    return f"[{token.line}:{max(1, token.col - (token.end - token.start))}]"
