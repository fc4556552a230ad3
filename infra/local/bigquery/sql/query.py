"""A translated query: DuckDB text whose output columns are called c0, c1, ..."""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

from dataclasses import dataclass, field

from infra.local.bigquery.sql.scope import NO_USES, Uses
from infra.local.bigquery.sql.typesystem import SqlType, quoted


@dataclass(slots=True)
class Output:
    """One output column.

    Attributes:
        name: as BigQuery names it; empty where the query gives none.
        uses: base columns that only this column needs.
        base: its value over a base table alone, if it is one (see scope.Column.base).
        hidden: a pseudo column that `*` over this query must not show.
    """

    name: str
    kind: SqlType
    uses: Uses = NO_USES
    base: str | None = None


@dataclass(slots=True)
class Query:
    """A translated query.

    Attributes:
        value_table: its rows are structs (SELECT AS STRUCT) or values (SELECT AS VALUE).
        ordered: it ends in ORDER BY.
    """

    sql: str
    columns: list[Output] = field(default_factory=list)
    value_table: str = ""
    ordered: bool = False

    def renamed(self, names: list[str]) -> str:
        """The query with other output names, in order."""
        listed = ", ".join(quoted(name) for name in names)
        return f"SELECT * FROM ({self.sql}) AS r({listed})"

    def named_columns(self) -> list[tuple[str, SqlType]]:
        """Names and types as the API shows them: unnamed columns are f0_, f1_, ..."""
        counter = 0
        result = []
        for column in self.columns:
            name = column.name
            if not name:
                name = f"f{counter}_"
                counter += 1
            result.append((name, column.kind))
        return result
