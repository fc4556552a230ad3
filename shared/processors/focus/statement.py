"""The one statement that turns rows of an export into FOCUS, and holds its own sums."""

import re
from collections.abc import Iterator, Sequence

from shared.errors import FieldProblem, InvalidInputError
from shared.processors.focus.mapping import CLASSIFIED, Mapping
from shared.warehouse.evolution import Field
from shared.warehouse.schemas import Column, TableSchema

DIFFERENCE = re.compile(r"FOCUS-DIFFERENCE: (.*?) END-OF-DIFFERENCE", re.DOTALL)
"""What BigQuery's message holds when the sums differ."""


def statement(mapping: Mapping, schema: TableSchema, table: str, given: Sequence[Field]) -> str:
    """GoogleSQL with @date, @accounts and maybe @late_arrival_days; names in it are checked.

    The rows are held against the export's own sum per currency in the statement itself, so both
    are of one snapshot, and a difference fails the job before BigQuery replaces anything. What is
    compared: `control`, straight over the source, and BilledCost by BillingCurrency, of exactly the
    rows that are written.

    Args:
        mapping: of the export.
        schema: the columns that are wanted.
        table: of the export, `project.dataset.table`, its grammar checked.
        given: the columns that the export's table has.

    Raises:
        InvalidInputError: the table lacks a column without which nothing is right.
    """
    columns = ",\n  ".join(f"`{column.name}`" for column in schema.fields)
    return f"""WITH source AS (
  SELECT * FROM (
    SELECT
      {_reads(mapping, schema, table, given)}
    FROM `{table}`
    WHERE {_indented(mapping.prune or "TRUE")}
  )
  WHERE {_indented(mapping.where)}
),
charges AS (
{_indented(mapping.charges)}
),
services AS (
  {_services(mapping)}
),
focus AS (
  SELECT
    TRUE AS is_row,
    {_columns(mapping, schema)}
  FROM charges AS charge
  LEFT JOIN services ON services.service = charge.`{mapping.service}`
),
expected AS (
{_indented(mapping.control)}
),
written AS (
  SELECT BillingCurrency AS currency, SUM(BilledCost) AS cost FROM focus GROUP BY currency
),
both_sums AS (
  SELECT currency, CAST(cost AS BIGNUMERIC) AS wanted, BIGNUMERIC '0' AS found FROM expected
  UNION ALL
  SELECT currency, BIGNUMERIC '0', cost FROM written
),
sums AS (
  SELECT IFNULL(currency, 'no currency') AS currency, SUM(wanted) AS wanted, SUM(found) AS found
  FROM both_sums
  GROUP BY currency
),
difference AS (
  SELECT STRING_AGG(CONCAT(currency, ' ', CAST(found AS STRING), ' instead of ',
    CAST(wanted AS STRING)), ', ' ORDER BY currency) AS text
  FROM sums
  WHERE IFNULL(found, 0) != IFNULL(wanted, 0)
),
verdict AS (
  SELECT IF(
    text IS NULL, TRUE, ERROR(CONCAT('FOCUS-DIFFERENCE: ', text, ' END-OF-DIFFERENCE'))
  ) AS holds
  FROM difference
)
SELECT
  {columns}
FROM verdict
LEFT JOIN focus ON verdict.holds
WHERE focus.is_row
"""  # noqa: S608 - expressions of ours, names by grammar


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines())


def _reads(mapping: Mapping, schema: TableSchema, table: str, given: Sequence[Field]) -> str:
    wanted = dict(mapping.reads)
    if mapping.passes_through:
        for column in schema.fields:
            if not column.name.startswith("x_"):
                wanted.setdefault(column.name, (column.type, column.name))
        for name in _mentioned(mapping) - wanted.keys():
            wanted[name] = ("STRING", name)
    lines = []
    missing = []
    for name, (kind, *paths) in wanted.items():
        found = next((path for path in paths if _has(given, path.split("."))), None)
        if found is None and name in mapping.needs:
            missing.append(" or ".join(paths))
        lines.append(f"{_read(kind, found)} AS `{name}`")
    if missing:
        problem = f"has no column {', '.join(missing)}; is `export` the form that the table has?"
        raise InvalidInputError([FieldProblem("/source/table", problem, table)])
    return ",\n      ".join(lines)


_CHARGE_COLUMN = re.compile(r"\bcharge\.`?([A-Za-z_][A-Za-z0-9_]*)")


def _mentioned(mapping: Mapping) -> set[str]:
    """Columns that expressions read, of whatever version of FOCUS they are."""
    return {name for text in mapping.columns.values() for name in _CHARGE_COLUMN.findall(text)}


def _has(columns: Sequence[Field], path: Sequence[str]) -> bool:
    head, *rest = path
    for column in columns:
        if str(column["name"]).lower() == head.lower():
            return not rest or _has(column.get("fields", ()), rest)
    return False


def _read(kind: str, path: str | None) -> str:
    is_list = kind.startswith("ARRAY")
    if path is None:
        return f"{kind}[]" if is_list else f"CAST(NULL AS {kind})"
    quoted = ".".join(f"`{name}`" for name in path.split("."))
    return quoted if is_list else f"CAST({quoted} AS {kind})"


def _services(mapping: Mapping) -> str:
    known = mapping.services.items()
    rows = [f"({_text(name)}, {_text(one)}, {_text(two)})" for name, (one, two) in known]
    kind = "STRUCT<service STRING, category STRING, subcategory STRING>"
    if not rows:
        return f"SELECT * FROM UNNEST(ARRAY<{kind}>[])"  # noqa: S608 - no values
    listed = ",\n    ".join(rows)
    return f"SELECT * FROM UNNEST(ARRAY<{kind}>[\n    {listed}\n  ])"  # noqa: S608 - of the mapping


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _columns(mapping: Mapping, schema: TableSchema) -> str:
    return ",\n    ".join(_column(mapping, column) for column in schema.fields)


def _column(mapping: Mapping, column: Column) -> str:
    return f"CAST({_expression(mapping, column.name)} AS {column.type}) AS `{column.name}`"


def _expression(mapping: Mapping, name: str) -> str:
    if name in CLASSIFIED and mapping.services:
        category, subcategory = _classification()
        return category if name == CLASSIFIED[0] else subcategory
    return mapping.expression(name) or "NULL"


def _classification() -> Iterator[str]:
    yield "IFNULL(services.category, 'Other')"
    yield "IFNULL(services.subcategory, 'Other (Other)')"
