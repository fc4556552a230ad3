"""Table schemas as REST field dicts: canonical form, validation, allowed changes.

Canonical: legacy type names (INTEGER, not INT64), a mode on every field, no unknown keys touched.
"""

import re
from collections.abc import Iterable
from typing import Any

from infra.local.bigquery.errors import ApiError

Field = dict[str, Any]

_ALIASES = {
    "INT64": "INTEGER",
    "FLOAT64": "FLOAT",
    "BOOL": "BOOLEAN",
    "STRUCT": "RECORD",
    "DECIMAL": "NUMERIC",
    "BIGDECIMAL": "BIGNUMERIC",
}
TYPES = frozenset(
    {
        "STRING",
        "BYTES",
        "INTEGER",
        "FLOAT",
        "NUMERIC",
        "BIGNUMERIC",
        "BOOLEAN",
        "TIMESTAMP",
        "DATE",
        "TIME",
        "DATETIME",
        "JSON",
        "RECORD",
        "GEOGRAPHY",
        "INTERVAL",
    }
)
_MODES = frozenset({"NULLABLE", "REQUIRED", "REPEATED"})
_FIELD_NAME = re.compile(r"[^\W\d]\w*(?:[\w &%=+:'<>#|-]*\w)?|_\w*", re.UNICODE)
_RESERVED_PREFIXES = (
    "_CHANGE_SEQUENCE_NUMBER",
    "_CHANGE_TYPE",
    "_COLIDENTIFIER",
    "_FILE_",
    "_PARTITION",
    "_ROW_TIMESTAMP",
    "_TABLE_",
    "__ROOT__",
)
_MAX_NAME = 300  # BigQuery, "Specify a schema": column names
_MAX_COLUMNS = 10_000  # BigQuery quotas, standard tables
_MAX_DEPTH = 15  # BigQuery, nested and repeated columns


def canonical_schema(fields: Iterable[Field]) -> list[Field]:
    """A copy of the fields in canonical form.

    Raises:
        ApiError: 400 invalid for unknown types or modes, bad or repeated names.
    """
    canonical = [_canonical_field(field, "", 1) for field in fields]
    _refuse_repeated(canonical, "")
    if sum(map(_leaves, canonical)) > _MAX_COLUMNS:
        raise ApiError.invalid(f"Too many total leaf fields: more than {_MAX_COLUMNS}")
    return canonical


def _canonical_field(field: Field, parent: str, depth: int) -> Field:
    name = _field_name(field, parent)
    path = f"{parent}.{name}" if parent else name
    given = str(field.get("type", "")).upper()
    kind = _ALIASES.get(given, given)
    if kind not in TYPES:
        raise ApiError.invalid(f"Invalid value for type: {field.get('type')} is not a valid value")
    mode = str(field.get("mode") or "NULLABLE").upper()
    if mode not in _MODES:
        raise ApiError.invalid(f"Invalid value for mode: {field.get('mode')} is not a valid value")
    canonical = {**field, "name": name, "type": kind, "mode": mode}
    if kind == "RECORD":
        canonical["fields"] = _nested_fields(field, path, depth)
    else:
        canonical.pop("fields", None)
    return canonical


def _nested_fields(field: Field, path: str, depth: int) -> list[Field]:
    nested = field.get("fields") or []
    if not nested:
        raise ApiError.invalid(f"Field {path} is type RECORD but has no schema")
    if depth >= _MAX_DEPTH:
        raise ApiError.invalid(f"Field {path} is nested deeper than {_MAX_DEPTH} levels")
    fields = [_canonical_field(child, path, depth + 1) for child in nested]
    _refuse_repeated(fields, path)
    return fields


def _field_name(field: Field, parent: str) -> str:
    name = field.get("name")
    if not isinstance(name, str) or not name:
        raise ApiError.invalid(f"Schema field {parent or 'at the top level'} has no name")
    if len(name) > _MAX_NAME or not _FIELD_NAME.fullmatch(name):
        raise ApiError.invalid(
            f'Invalid field name "{name}". Fields must contain the allowed characters,'
            f" and be at most {_MAX_NAME} characters long. For allowed characters, please refer to"
            " https://cloud.google.com/bigquery/docs/schemas#column_names"
        )
    if name.upper().startswith(_RESERVED_PREFIXES):
        raise ApiError.invalid(
            f'Invalid field name "{name}". Field names are not allowed to start with the'
            f" (case-insensitive) prefixes {', '.join(_RESERVED_PREFIXES)}."
        )
    return name


def _refuse_repeated(fields: list[Field], parent: str) -> None:
    seen: set[str] = set()
    for field in fields:
        folded = field["name"].casefold()
        if folded in seen:
            where = f" in {parent}" if parent else ""
            raise ApiError.invalid(f"Duplicate field names: {field['name']}{where}")
        seen.add(folded)


def _leaves(field: Field) -> int:
    return sum(map(_leaves, field["fields"])) if field["type"] == "RECORD" else 1


def by_name(fields: Iterable[Field]) -> dict[str, Field]:
    """Fields by case-folded name, as BigQuery compares column names."""
    return {field["name"].casefold(): field for field in fields}


def changed_schema(
    old: list[Field], new: list[Field], table: str, *, allow_missing: bool = False
) -> list[Field]:
    """The schema after an update from `old` to `new` (both canonical).

    Allowed are new NULLABLE or REPEATED columns, REQUIRED relaxed to NULLABLE, and descriptions.
    `allow_missing` keeps columns that `new` leaves out, as schemaUpdateOptions do.

    Raises:
        ApiError: 400 invalid, naming the table as "project:dataset.table" and the field.
    """
    return _changed(old, new, f"Provided Schema does not match Table {table}.", "", allow_missing)


def _changed(
    old: list[Field],
    new: list[Field],
    prefix: str,
    parent: str,
    allow_missing: bool,  # noqa: FBT001
) -> list[Field]:
    incoming = by_name(new)
    result = []
    for field in old:
        path = f"{parent}{field['name']}"
        change = incoming.pop(field["name"].casefold(), None)
        if change is None:
            if not allow_missing:
                raise ApiError.invalid(f"{prefix} Field {path} is missing in new schema")
            result.append(field)
            continue
        result.append(_changed_field(field, change, prefix, path, allow_missing))
    for field in incoming.values():
        if field["mode"] == "REQUIRED":
            raise ApiError.invalid(
                f"{prefix} Cannot add required fields to an existing schema."
                f" (field: {parent}{field['name']})"
            )
        result.append(field)
    return result


def _changed_field(
    field: Field,
    change: Field,
    prefix: str,
    path: str,
    allow_missing: bool,  # noqa: FBT001
) -> Field:
    if change["type"] != field["type"]:
        raise ApiError.invalid(
            f"{prefix} Field {path} has changed type from {field['type']} to {change['type']}"
        )
    if change["mode"] != field["mode"] and (field["mode"], change["mode"]) != (
        "REQUIRED",
        "NULLABLE",
    ):
        raise ApiError.invalid(
            f"{prefix} Field {path} has changed mode from {field['mode']} to {change['mode']}"
        )
    merged = {**field, **change, "name": field["name"]}
    if field["type"] == "RECORD":
        merged["fields"] = _changed(
            field["fields"], change["fields"], prefix, f"{path}.", allow_missing
        )
    return merged
