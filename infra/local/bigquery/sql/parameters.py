"""Query parameters: REST `queryParameters` as typed values that DuckDB binds."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql import decoding
from infra.local.bigquery.sql.typesystem import (
    ALIASES,
    SCALARS,
    SqlType,
    array_of,
    field_names,
    struct_of,
)

_MAX_PARAMETERS = 10_000  # BigQuery quotas, query jobs


@dataclass
class Parameters:
    """The parameters of a request.

    Attributes:
        named: type and value by folded name.
        positional: type and value in order.
    """

    mode: str | None = None
    named: dict[str, tuple[SqlType, Any]] = field(default_factory=dict)
    positional: list[tuple[SqlType, Any]] = field(default_factory=list)

    @property
    def types(self) -> tuple[Any, ...]:
        """What a translation depends on: names and types, not values."""
        return (
            self.mode,
            tuple((name, kind) for name, (kind, _) in self.named.items()),
            tuple(kind for kind, _ in self.positional),
        )

    def value(self, source: str, key: Any) -> Any:
        """The value of a parameter as DuckDB binds it."""
        return self.named[key][1] if source == "named" else self.positional[key][1]


def read_parameters(mode: str | None, given: list[dict[str, Any]]) -> Parameters:
    """The parameters of a request.

    Raises:
        ApiError: 400 for a type that does not exist or a value that it does not have.
    """
    if len(given) > _MAX_PARAMETERS:
        raise ApiError.invalid(f"Too many query parameters: {len(given)} > {_MAX_PARAMETERS}")
    parameters = Parameters(mode.upper() if mode else None)
    for position, item in enumerate(given, 1):
        name = item.get("name") or ""
        label = name or str(position)
        kind = parameter_type(item.get("parameterType") or {}, label)
        value = _value(kind, item.get("parameterValue") or {}, label)
        if name and parameters.mode != "POSITIONAL":
            if name.casefold() in parameters.named:
                raise ApiError.invalid(f"Duplicate query parameter name: {name}")
            parameters.named[name.casefold()] = (kind, value)
        else:
            parameters.positional.append((kind, value))
    if parameters.mode is None and given:
        parameters.mode = "NAMED" if parameters.named else "POSITIONAL"
    return parameters


def parameter_type(node: dict[str, Any], label: str) -> SqlType:
    """A REST QueryParameterType.

    Raises:
        ApiError: 400 invalid.
    """
    name = str(node.get("type") or "").upper()
    if name == "ARRAY":
        return array_of(parameter_type(node.get("arrayType") or {}, label))
    if name in {"STRUCT", "RECORD"}:
        return struct_of(
            (member.get("name") or "", parameter_type(member.get("type") or {}, label))
            for member in node.get("structTypes") or ()
        )
    name = ALIASES.get(name, name)
    if name not in SCALARS:
        raise ApiError.invalid(f"Invalid value for parameter {label}: unknown type {name!r}")
    return SCALARS[name]


def type_node(kind: SqlType) -> dict[str, Any]:
    """A type as a REST QueryParameterType."""
    if kind.is_array:
        return {"type": "ARRAY", "arrayType": type_node(kind.item)}
    if kind.is_struct:
        members = [{"name": name, "type": type_node(inner)} for name, inner in kind.fields]
        return {"type": "STRUCT", "structTypes": members}
    return {"type": "INT64" if kind.kind == "NULL" else kind.kind}


def _value(kind: SqlType, node: dict[str, Any], label: str) -> Any:
    if kind.is_array:
        values = node.get("arrayValues")
        return [_value(kind.item, item or {}, label) for item in values or ()]
    if kind.is_struct:
        given = node.get("structValues")
        if given is None:
            return None
        names = field_names(kind.fields)
        return {
            stored: _value(inner, given.get(name) or {}, f"{label}.{name}")
            for stored, (name, inner) in zip(names, kind.fields, strict=True)
        }
    text = node.get("value")
    if text is None:
        return None
    try:
        return _SCALARS[kind.kind](text)
    except (ValueError, binascii.Error) as error:
        raise ApiError.invalid_query(
            f"Invalid value for query parameter {label} of type {kind}: {text!r}"
        ) from error


def _decoded(kind: str) -> Callable[[Any], Any]:
    def decode(text: Any) -> Any:
        return str(decoding.decode_value(text, {"name": "", "type": kind}))

    return decode


def _integer(text: Any) -> int:
    value: int = decoding.decode_value(text, {"name": "", "type": "INTEGER"})
    return value


def _float(text: Any) -> float:
    value: float = decoding.decode_value(text, {"name": "", "type": "FLOAT"})
    return value


def _boolean(text: Any) -> bool:
    if isinstance(text, bool):
        return text
    word = str(text).lower()
    if word not in {"true", "false"}:
        raise ValueError(word)
    return word == "true"


def _timestamp(text: Any) -> str:
    return decoding.timestamp_value(text).strftime("%Y-%m-%d %H:%M:%S.%f+00").zfill(29)


def _datetime(text: Any) -> str:
    value = decoding.decode_value(text, {"name": "", "type": "DATETIME"})
    return str(value.isoformat(sep=" ", timespec="microseconds"))


def _numeric(kind: str) -> Callable[[Any], Any]:
    def read(text: Any) -> str:
        return format(decoding.exact_decimal(text, kind), "f")

    return read


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "INT64": _integer,
    "FLOAT64": _float,
    "NUMERIC": _numeric("NUMERIC"),
    "BIGNUMERIC": _numeric("BIGNUMERIC"),
    "BOOL": _boolean,
    "STRING": str,
    "GEOGRAPHY": str,
    "BYTES": lambda text: base64.b64decode(text, validate=True),
    "DATE": _decoded("DATE"),
    "TIME": _decoded("TIME"),
    "DATETIME": _datetime,
    "TIMESTAMP": _timestamp,
    "JSON": lambda text: decoding.decode_value(text, {"name": "", "type": "JSON"}),
    "INTERVAL": str,
}
