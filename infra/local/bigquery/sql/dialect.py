"""GoogleSQL's grammar: sqlglot's BigQuery parser, with every function kept by its own name.

sqlglot's own table maps calls onto generic nodes, which loses argument order, date parts and
format strings; here each call stays `Anonymous(name, arguments)` for the tables of this package.
"""

from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.bigquery import BigQuery
from sqlglot.parsers.bigquery import BigQueryParser
from sqlglot.tokenizer_core import TokenType

_KEPT_PARSERS = ("CAST", "SAFE_CAST", "EXTRACT", "ARRAY")


class GoogleSql(BigQuery):
    """The dialect that statements are read in."""

    class Tokenizer(BigQuery.Tokenizer):
        """BigQuery's tokens; no keyword swallows the rest of its statement as plain text."""

        COMMANDS: ClassVar[set[TokenType]] = set()
        KEYWORDS: ClassVar[dict[str, Any]] = {
            word: (TokenType.VAR if kind == TokenType.COMMAND else kind)
            for word, kind in BigQuery.Tokenizer.KEYWORDS.items()
            if word not in {"BEGIN TRANSACTION", "BEGIN", "END", "DECLARE", "EXECUTE"}
        } | {"END": TokenType.END}

    class Parser(BigQueryParser):
        """BigQuery's grammar without function rewriting."""

        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
            name: BigQueryParser.FUNCTION_PARSERS[name] for name in _KEPT_PARSERS
        }

        def _parse_cast(self, strict: bool, safe: bool | None = None) -> exp.Expr:  # noqa: FBT001
            """CAST(value AS type [FORMAT text [AT TIME ZONE zone]]), the format kept as written."""
            value = self._parse_assignment()
            if not self._match(TokenType.ALIAS):
                self.raise_error("Expected AS after CAST")
            to = self._parse_types(with_collation=True)
            if not isinstance(to, exp.DataType):
                self.raise_error("Expected a type after AS")
            wanted = None
            if self._match(TokenType.FORMAT):
                wanted = self._parse_at_time_zone(self._parse_bitwise())
            kind = exp.TryCast if safe else exp.Cast
            return self.expression(kind(this=value, to=to, format=wanted, safe=safe or not strict))

        def _parse_string_as_identifier(self) -> exp.Identifier | None:
            """Nothing: a string is never a name in GoogleSQL."""
            return None

        def _parse_parameter(self) -> exp.Parameter:
            """@name, with its place in the text."""
            sign = self._prev
            return super()._parse_parameter().update_positions(sign)

        def _parse_unnest(self, with_alias: bool = True) -> exp.Unnest | None:  # noqa: FBT001, FBT002
            """UNNEST(...) without sqlglot's type annotation, which this package does itself."""
            return super(BigQueryParser, self)._parse_unnest(with_alias=with_alias)
