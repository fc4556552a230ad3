"""The columns of Cloud Billing's usage exports, as Google publishes them.

Source: Cloud Billing documentation, "Structure of Standard data export", all columns in their
order, and "Structure of Detailed data export", which adds the resource. One declaration gives
BigQuery's schema and Arrow's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from google.cloud.bigquery import SchemaField

_SCALARS = {
    "STRING": pa.string(),
    "FLOAT": pa.float64(),
    "NUMERIC": pa.decimal128(38, 9),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True)
class Column:
    """One column; `fields` of a RECORD."""

    name: str
    type: str
    repeated: bool = False
    fields: tuple["Column", ...] = ()

    def arrow_type(self) -> pa.DataType:
        inner = pa.struct([c.arrow_field() for c in self.fields]) if self.fields else None
        kind = inner or _SCALARS[self.type]
        return pa.list_(pa.field("element", kind)) if self.repeated else kind

    def arrow_field(self) -> pa.Field:
        return pa.field(self.name, self.arrow_type())

    def bigquery_field(self) -> "SchemaField":
        from google.cloud.bigquery import SchemaField

        mode = "REPEATED" if self.repeated else "NULLABLE"
        fields = [column.bigquery_field() for column in self.fields]
        return SchemaField(self.name, self.type, mode=mode, fields=fields)


def _columns(text: str) -> tuple[Column, ...]:
    """Scalar columns from `name TYPE` pairs."""
    words = text.split()
    return tuple(Column(*pair) for pair in zip(words[::2], words[1::2], strict=True))


def _record(name: str, fields: Iterable[Column], *, repeated: bool = False) -> Column:
    return Column(name, "RECORD", repeated=repeated, fields=tuple(fields))


_LABEL = _columns("key STRING value STRING")

COLUMNS: tuple[Column, ...] = (
    *_columns("billing_account_id STRING"),
    _record("invoice", _columns("month STRING publisher_type STRING")),
    *_columns("cost_type STRING"),
    _record("service", _columns("id STRING description STRING")),
    _record("sku", _columns("id STRING description STRING")),
    *_columns("usage_start_time TIMESTAMP usage_end_time TIMESTAMP"),
    _record(
        "project",
        (
            *_columns("id STRING number STRING name STRING ancestry_numbers STRING"),
            _record(
                "ancestors",
                _columns("resource_name STRING display_name STRING"),
                repeated=True,
            ),
            _record("labels", _LABEL, repeated=True),
        ),
    ),
    _record("labels", _LABEL, repeated=True),
    _record("system_labels", _LABEL, repeated=True),
    _record("location", _columns("location STRING country STRING region STRING zone STRING")),
    *_columns("cost FLOAT currency STRING currency_conversion_rate FLOAT"),
    _record(
        "usage",
        _columns("amount FLOAT unit STRING amount_in_pricing_units FLOAT pricing_unit STRING"),
    ),
    _record(
        "credits",
        _columns("id STRING full_name STRING type STRING name STRING amount FLOAT"),
        repeated=True,
    ),
    _record("adjustment_info", _columns("id STRING description STRING type STRING mode STRING")),
    *_columns("export_time TIMESTAMP"),
    _record(
        "tags",
        _columns("key STRING value STRING inherited BOOLEAN namespace STRING"),
        repeated=True,
    ),
    *_columns("cost_at_list FLOAT transaction_type STRING seller_name STRING"),
    _record(
        "price",
        _columns(
            "list_price NUMERIC effective_price_default NUMERIC"
            " list_price_consumption_model NUMERIC effective_price NUMERIC"
            " tier_start_amount NUMERIC pricing_unit_quantity NUMERIC unit STRING"
        ),
    ),
    *_columns("cost_at_effective_price_default FLOAT cost_at_list_consumption_model FLOAT"),
    _record("consumption_model", _columns("id STRING description STRING")),
)

RESOURCE_COLUMNS: tuple[Column, ...] = (
    _record("resource", _columns("name STRING global_name STRING")),
    _record("subscription", _columns("instance_id STRING")),
)
"""What the detailed export has beside the columns of the standard one."""
DETAILED_COLUMNS: tuple[Column, ...] = (*COLUMNS, *RESOURCE_COLUMNS)

ARROW_SCHEMA = pa.schema([column.arrow_field() for column in COLUMNS])
DETAILED_ARROW_SCHEMA = pa.schema([column.arrow_field() for column in DETAILED_COLUMNS])
ARROW_TYPES: dict[str, pa.DataType] = {
    column.name: column.arrow_type() for column in DETAILED_COLUMNS
}
