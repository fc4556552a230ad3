"""Parts of CREATE TABLE and ALTER: columns, partitioning, clustering, OPTIONS."""

from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.scope import Scope
from infra.local.bigquery.sql.session import Session
from infra.local.bigquery.sql.syntax_types import read_field
from infra.local.bigquery.sql.translator import Translator
from infra.local.bigquery.sql.typesystem import Field

_TRUNCATED = {
    "DATE": "DAY",
    "DATE_TRUNC": None,
    "TIMESTAMP_TRUNC": None,
    "DATETIME_TRUNC": None,
}
_PSEUDO = {"_PARTITIONDATE", "_PARTITIONTIME"}
_DAY_MS = 86_400_000


@dataclass
class Spec:
    """What a CREATE statement says besides its columns."""

    partitioning: dict[str, Any] | None = None
    clustering: dict[str, Any] | None = None
    temporary: bool = False
    like: exp.Expr | None = None
    options: dict[str, Any] = field(default_factory=dict)


def read_columns(schema: exp.Expr) -> list[Field]:
    """The columns of a CREATE TABLE; table constraints are accepted and not enforced."""
    columns = []
    for item in schema.expressions:
        if isinstance(item, exp.ColumnDef):
            columns.append(read_column(item))
        elif isinstance(item, exp.Identifier):
            raise invalid(f"Column {item.name} has no type", item)
    return columns


def read_column(node: exp.ColumnDef) -> Field:
    """One column definition with its constraints and options."""
    if node.kind is None:
        raise invalid(f"Column {node.name} has no type", node)
    column = read_field(node.name, node.kind)
    for constraint in node.args.get("constraints") or ():
        kind = constraint.args.get("kind")
        if isinstance(kind, exp.NotNullColumnConstraint):
            if column["mode"] == "REPEATED":
                raise invalid(f"NOT NULL cannot be specified on the ARRAY column {node.name}", node)
            column["mode"] = "REQUIRED"
        elif isinstance(kind, exp.DefaultColumnConstraint):
            column["defaultValueExpression"] = kind.this.sql("bigquery")
        elif isinstance(kind, exp.Properties):
            for prop in kind.expressions:
                if prop.name.lower() == "description" and isinstance(
                    prop.args.get("value"), exp.Literal
                ):
                    column["description"] = prop.args["value"].this
    return column


def read_spec(session: Session, node: exp.Create) -> Spec:
    """The properties of a CREATE statement."""
    spec = Spec()
    properties = node.args.get("properties")
    for item in properties.expressions if properties is not None else ():
        if isinstance(item, exp.PartitionedByProperty):
            spec.partitioning = _partitioning(item.this)
        elif isinstance(item, exp.ClusterProperty):
            spec.clustering = {"fields": [column.name for column in item.expressions]}
        elif isinstance(item, exp.TemporaryProperty):
            spec.temporary = True
        elif isinstance(item, exp.LikeProperty):
            spec.like = item.this
        elif isinstance(item, exp.MaterializedProperty):
            raise invalid("Materialized views are not supported by the local BigQuery", node)
        elif isinstance(item, exp.LocationProperty):
            spec.options["location"] = item.this.name
        elif isinstance(item, exp.Property):
            spec.options[item.name.lower()] = option_value(session, item.args.get("value"))
    return spec


def _partitioning(node: exp.Expr) -> dict[str, Any]:
    if isinstance(node, exp.Identifier | exp.Column):
        if node.name.upper() in _PSEUDO:
            return {"type": "DAY"}
        return {"type": "DAY", "field": node.name}
    if isinstance(node, exp.Anonymous):
        name = node.name.upper()
        if name == "RANGE_BUCKET":
            raise invalid("Integer-range partitioning is not supported by the local BigQuery", node)
        if name in _TRUNCATED and node.expressions:
            column = node.expressions[0]
            unit = _TRUNCATED[name]
            if unit is None:
                unit = node.expressions[1].name.upper() if len(node.expressions) > 1 else "DAY"
            if column.name.upper() in _PSEUDO:
                return {"type": unit}
            return {"type": unit, "field": column.name}
    raise invalid(
        "PARTITION BY expression must be DATE(<timestamp_column>), DATE(<datetime_column>),"
        " DATETIME_TRUNC(...), TIMESTAMP_TRUNC(...), DATE_TRUNC(...), a DATE column,"
        " _PARTITIONDATE or DATE(_PARTITIONTIME)",
        node,
    )


def option_value(session: Session, node: Any) -> Any:
    """An option's constant as a Python value."""
    if node is None or isinstance(node, exp.Null):
        return None
    if isinstance(node, exp.Literal):
        return node.this if node.is_string else float(node.this)
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if isinstance(node, exp.Array):
        return [option_value(session, item) for item in node.expressions]
    if isinstance(node, exp.Tuple):
        return tuple(option_value(session, item) for item in node.expressions)
    if isinstance(node, exp.Anonymous) and node.name.upper() == "STRUCT":
        items = [item.this if isinstance(item, exp.Alias) else item for item in node.expressions]
        return tuple(option_value(session, item) for item in items)
    tr = Translator(session.environment())
    value = tr.expr(node, Scope())
    with session.storage.cursor() as cursor:
        table = cursor.sql(f"SELECT {value.sql} AS v").to_arrow_table()
    return table.to_pylist()[0]["v"]


def apply_options(
    options: dict[str, Any], body: dict[str, Any], partitioning: dict[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A table's body and partitioning after OPTIONS(...); expiration is left to the caller."""
    body = dict(body)
    partitioning = dict(partitioning) if partitioning is not None else None
    for name, value in options.items():
        if name == "description":
            body["description"] = value
        elif name == "friendly_name":
            body["friendlyName"] = value
        elif name == "labels":
            body["labels"] = {str(key): str(text) for key, text in value or ()}
        elif name == "require_partition_filter":
            body["requirePartitionFilter"] = bool(value)
        elif name == "partition_expiration_days" and partitioning is not None:
            if value is None:
                partitioning.pop("expirationMs", None)
            else:
                partitioning["expirationMs"] = str(int(float(value) * _DAY_MS))
    return {key: value for key, value in body.items() if value is not None}, partitioning


def expiration(options: dict[str, Any], before: int | None) -> int | None:
    """Milliseconds since 1970 at which a table expires, by `expiration_timestamp`."""
    if "expiration_timestamp" not in options:
        return before
    value = options["expiration_timestamp"]
    return None if value is None else int(value.timestamp() * 1000)
