"""Tokens of GoogleSQL, as far as deciding where a placeholder stands needs it.

Kinds of literals, comments and quoted identifiers follow "Lexical structure and syntax" of the
GoogleSQL reference: in raw strings, too, a backslash keeps the quote after it from ending the
string; line comments start with `--` or `#`; block comments do not nest.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MARK = "\ue000"
"""Stands for a placeholder in the text; templates cannot hold this private character themselves."""

_STRING = r"(?P<prefix>[rR][bB]?|[bB][rR]?)?(?P<quote>'''|\"\"\"|'|\")"

_TOKEN = re.compile(
    rf"""
      (?P<space>\s+)
    | (?P<comment>(?:--|\#)[^\r\n]*|/\*.*?\*/)
    | (?P<string>{_STRING})
    | (?P<quoted>`(?:[^`\\\r\n]|\\.)*`)
    | (?P<mark>{MARK})
    | (?P<parameter>@@?[A-Za-z0-9_.]*)
    | (?P<number>[0-9][A-Za-z0-9_.]*)
    | (?P<word>[^\W\d]\w*)
    | (?P<open_comment>/\*)
    | (?P<open_quoted>`)
    | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)

_BODIES = {
    "'": re.compile(r"((?:[^'\\\r\n]|\\.)*)'", re.DOTALL),
    '"': re.compile(r'((?:[^"\\\r\n]|\\.)*)"', re.DOTALL),
    "'''": re.compile(r"((?:(?!''')[^\\]|\\.)*)'''", re.DOTALL),
    '"""': re.compile(r'((?:(?!""")[^\\]|\\.)*)"""', re.DOTALL),
}

_UNENDED = {
    "open_comment": "a comment starts with /* here and never ends; close it with */",
    "open_quoted": "a quoted identifier starts with ` here and never ends on its line",
}


class SqlSyntaxError(Exception):
    """The text cannot be cut into tokens; `index` is where the trouble starts."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


@dataclass(frozen=True, slots=True)
class Token:
    """A stretch of the text: `kind` is the name of a group of the lexer."""

    kind: str
    text: str
    start: int
    prefix: str = ""
    """Of a string: `r`, `b` or both, in lower case."""
    body: str = ""
    """Of a string or quoted identifier: what is between its quotes."""

    @property
    def end(self) -> int:
        """Index behind the last character."""
        return self.start + len(self.text)

    @property
    def is_blank(self) -> bool:
        """Whether GoogleSQL reads this as nothing but a gap."""
        return self.kind in {"space", "comment"}

    def is_word(self, *words: str) -> bool:
        """Whether this is one of `words`, given in upper case."""
        return self.kind == "word" and self.text.upper() in words


def tokens(sql: str) -> Iterator[Token]:
    """The tokens of `sql` without a gap: their texts joined are `sql` again.

    Raises:
        SqlSyntaxError: a string, quoted identifier or comment never ends.
    """
    position = 0
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        assert match  # noqa: S101 - the last alternative takes any character
        kind = match.lastgroup or "sign"
        if match["string"] is not None:
            token = _string(sql, match)
        elif kind in _UNENDED:
            raise SqlSyntaxError(position, _UNENDED[kind])
        else:
            token = Token(kind, match[0], position, body=match[0][1:-1] if kind == "quoted" else "")
        yield token
        position = token.end


def _string(sql: str, match: re.Match[str]) -> Token:
    quote = match["quote"]
    body = _BODIES[quote].match(sql, match.end())
    if body is None:
        place = "" if len(quote) == 3 else " on its line"
        raise SqlSyntaxError(
            match.start(), f"a string starts with {quote} here and never ends{place}"
        )
    prefix = (match["prefix"] or "").lower()
    return Token("string", sql[match.start() : body.end()], match.start(), prefix, body[1])
