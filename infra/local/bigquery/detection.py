"""Schemas that nobody gave: what `autodetect` makes of JSON objects and CSV text."""

import re
from collections.abc import Iterable
from typing import Any

Field = dict[str, Any]

_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}")
_TIMESTAMP = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}[ Tt]\d{1,2}:\d{2}:\d{2}(\.\d{1,9})?( ?(UTC|Z|z|[+-]\d{1,2}(:?\d{2})?))"
)
_DATETIME = re.compile(r"\d{4}-\d{1,2}-\d{1,2}[ Tt]\d{1,2}:\d{2}:\d{2}(\.\d{1,9})?")
_TIME = re.compile(r"\d{1,2}:\d{2}:\d{2}(\.\d{1,6})?")
_INTEGER = re.compile(r"[+-]?\d{1,19}")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_PATTERNS = (
    ("INTEGER", _INTEGER),
    ("FLOAT", _FLOAT),
    ("DATE", _DATE),
    ("TIMESTAMP", _TIMESTAMP),
    ("DATETIME", _DATETIME),
    ("TIME", _TIME),
)
_WIDER = {
    frozenset({"INTEGER", "FLOAT"}): "FLOAT",
    frozenset({"DATE", "DATETIME"}): "DATETIME",
    frozenset({"DATE", "TIMESTAMP"}): "TIMESTAMP",
    frozenset({"DATETIME", "TIMESTAMP"}): "TIMESTAMP",
}
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_]")


def schema_of_objects(rows: Iterable[dict[str, Any]]) -> list[Field]:
    """The schema of JSON objects: columns in the order of their first appearance."""
    columns: dict[str, Field | None] = {}
    for row in rows:
        for name, value in row.items():
            columns[name] = _wider_field(columns.get(name), _field_of(name, value))
    return [field or _scalar(name, "STRING") for name, field in columns.items()]


def schema_of_texts(header: list[str], rows: Iterable[list[str | None]]) -> list[Field]:
    """The schema of CSV columns named by `header`."""
    kinds: list[str | None] = [None] * len(header)
    for row in rows:
        for index, text in enumerate(row[: len(header)]):
            if text is not None:
                kinds[index] = _wider(kinds[index], text_type(text))
    return [_scalar(name, kind or "STRING") for name, kind in zip(header, kinds, strict=True)]


def column_names(header: list[str]) -> list[str]:
    """CSV headings as column names: other characters become underscores, repetitions numbered."""
    names: list[str] = []
    seen: set[str] = set()
    for position, heading in enumerate(header):
        name = _NOT_ALLOWED.sub("_", heading.strip()) or f"string_field_{position}"
        if name[0].isdigit():
            name = f"_{name}"
        unique, number = name, 1
        while unique.casefold() in seen:
            number += 1
            unique = f"{name}_{number}"
        seen.add(unique.casefold())
        names.append(unique)
    return names


def looks_like_header(first: list[str | None], second: list[str | None] | None) -> bool:
    """Whether a first line of texts stands above columns of something else."""
    if second is None or any(text is None or text_type(text) != "STRING" for text in first):
        return False
    return any(text is not None and text_type(text) != "STRING" for text in second)


def text_type(text: str) -> str:
    """The type that a text has by its form."""
    stripped = text.strip()
    if stripped.lower() in {"true", "false"}:
        return "BOOLEAN"
    for kind, pattern in _PATTERNS:
        if pattern.fullmatch(stripped):
            return kind
    return "STRING"


def _scalar(name: str, kind: str) -> Field:
    return {"name": name, "type": kind, "mode": "NULLABLE"}


def _field_of(name: str, value: Any) -> Field | None:
    if value is None:
        return None
    if isinstance(value, list):
        inner: Field | None = None
        for item in value:
            inner = _wider_field(inner, _field_of(name, item))
        return None if inner is None else {**inner, "mode": "REPEATED"}
    if isinstance(value, dict):
        return {
            "name": name,
            "type": "RECORD",
            "mode": "NULLABLE",
            "fields": schema_of_objects([value]),
        }
    return _scalar(name, _value_type(value))


def _value_type(value: Any) -> str:
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, int):
        return "INTEGER"
    if isinstance(value, float):
        return "FLOAT"
    return text_type(str(value))


def _wider(old: str | None, new: str) -> str:
    if old is None or old == new:
        return new
    return _WIDER.get(frozenset({old, new}), "STRING")


def _wider_field(old: Field | None, new: Field | None) -> Field | None:
    if old is None or new is None:
        return old or new
    mode = "REPEATED" if "REPEATED" in {old["mode"], new["mode"]} else "NULLABLE"
    if old["type"] == "RECORD" and new["type"] == "RECORD":
        return {**old, "mode": mode, "fields": _wider_fields(old["fields"], new["fields"])}
    if "RECORD" in {old["type"], new["type"]}:
        return _scalar(old["name"], "STRING")
    return {**old, "type": _wider(old["type"], new["type"]), "mode": mode}


def _wider_fields(old: list[Field], new: list[Field]) -> list[Field]:
    merged: dict[str, Field] = {field["name"]: field for field in old}
    for field in new:
        wider = _wider_field(merged.get(field["name"]), field)
        if wider is not None:
            merged[field["name"]] = wider
    return list(merged.values())
