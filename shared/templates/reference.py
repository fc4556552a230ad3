"""The processors' fields for people: the generated part of docs/templates.md."""

import inspect
import re
import textwrap
from typing import Any

from shared.processors import registry

FILE = "docs/templates.md"
BEGIN = "<!-- Written by `python -m shared.templates reference`; do not edit below. -->\n"

Schema = dict[str, Any]


def document(current: str) -> str:
    """`current` with its generated part as it should be; what stands before it is kept."""
    written, _, _ = current.partition(BEGIN)
    return f"{written}{BEGIN}{text()}"


def text() -> str:
    """Every built-in processor: what it does, an example, its fields."""
    whole = "\n".join(_processor(name) for name in sorted(registry.PROCESSORS))
    return re.sub(r"\n{3,}", "\n\n", whole).rstrip() + "\n"


def _processor(name: str) -> str:
    processor = registry.load(name)
    schema = processor.config_model.model_json_schema()
    summary, _, example = (inspect.getdoc(type(processor)) or "").partition("Example:\n")
    parts = [f"\n### {name}\n", summary, f"{textwrap.dedent(example)}\n"]
    aliases = sorted(alias for alias, target in registry.ALIASES.items() if target == name)
    if aliases:
        parts.append(f"Also called {', '.join(f'`{alias}`' for alias in aliases)}.\n")
    parts.append(_table(schema))
    if processor.outputs:
        parts.append(f"Outputs: {', '.join(f'`{one}`' for one in sorted(processor.outputs))}.\n")
    for title, definition in schema.get("$defs", {}).items():
        if "properties" in definition and title not in {"Query", "QueryParameter"}:
            summary = str(definition.get("description", "")).partition("\n")[0]
            parts.append(f"`{title}`: {summary}\n\n{_table(definition)}")
    return "\n".join(parts)


def _table(schema: Schema) -> str:
    required = schema.get("required", [])
    lines = ["| field | | default | |", "|---|---|---|---|"]
    for name, field in schema.get("properties", {}).items():
        default = "**required**" if name in required else _default(field)
        meaning = " ".join(str(field.get("description", "")).split()).replace("|", "\\|")
        lines.append(f"| `{name}` | {_type(field)} | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def _default(field: Schema) -> str:
    value = field.get("default")
    if value in (None, [], {}, ""):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(field: Schema) -> str:
    if "$ref" in field:
        name = str(field["$ref"]).rpartition("/")[2]
        return "SQL" if name == "Query" else f"`{name}`"
    for several in ("anyOf", "oneOf"):
        if several in field:
            kinds = dict.fromkeys(_type(o) for o in field[several] if o.get("type") != "null")
            return " or ".join(kinds)
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    kind = field.get("type")
    if kind == "array":
        return f"list of {_type(field['items'])}" if field.get("items") else "list"
    if kind == "object":
        inner = field.get("additionalProperties")
        return f"mapping to {_type(inner)}" if isinstance(inner, dict) and inner else "mapping"
    text_kind = {"email": "email", "date": "date", "date-time": "time"}
    names = {"string": text_kind.get(str(field.get("format")), "text")}
    return names.get(str(kind), str(kind or "any"))
