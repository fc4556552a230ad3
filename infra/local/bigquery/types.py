"""BigQuery's types in DuckDB, Arrow and REST: what the server's half of this package uses."""

from infra.local.bigquery.sql.decoding import decode_row, decode_value
from infra.local.bigquery.sql.encoding import encode_rows
from infra.local.bigquery.sql.typesystem import (
    arrow_schema,
    arrow_type,
    field_type,
    from_arrow,
    schema_from_arrow,
    to_duckdb,
    type_field,
)

__all__ = [
    "arrow_schema",
    "arrow_type",
    "decode_row",
    "decode_value",
    "encode_rows",
    "field_type",
    "from_arrow",
    "schema_from_arrow",
    "to_duckdb",
    "type_field",
]
