"""`python -m functions.api.reference`: write docs/api.md from the API itself.

`--check` writes nothing and exits 1 if the file is not what would be written.
"""

import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parents[2] / "docs" / "api.md"
_HEAD = """# API

Written by `python -m functions.api.reference` from the same declarations that serve the API; do not
edit it. The document for programs is at `/openapi.json`, a page to try it at `/docs`.

Keys: a tenant's goes into `X-API-Key`, the operator's into `X-Admin-Key`, which opens everything.
Every answer carries `X-Request-ID`. Errors are `application/problem+json` (RFC 9457): `detail` says
what to do, `errors` names each bad field by its JSON pointer.
"""


def markdown(document: dict[str, Any]) -> str:
    """The OpenAPI document for people."""
    parts = [_HEAD, _contents(document)]
    for tag in document["tags"]:
        parts.append(f"## {tag['name'].capitalize()}\n")
        parts += [
            _operation(document, method, path, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if tag["name"] in operation["tags"]
        ]
    return "\n".join(parts)


def _contents(document: dict[str, Any]) -> str:
    lines = ["| route | | scope |", "|---|---|---|"]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            lines.append(
                f"| `{method.upper()} {path}` | {operation['summary']} | {_key(operation)} |"
            )
    return "\n".join(lines) + "\n"


def _key(operation: dict[str, Any]) -> str:
    """Which key opens the route."""
    schemes = [name for requirement in operation["security"] for name in requirement]
    if "ApiKey" in schemes:
        return str(operation["description"]).rpartition("scope `")[2].rstrip("`.")
    return "operator" if schemes else "open"


def _operation(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    lines = [f"### {method.upper()} {path}", "", operation["description"], ""]
    lines += _parameters(operation)
    body = operation.get("requestBody")
    if body:
        content = body["content"]["application/json"]
        lines += [*_fields(document, content["schema"]), *_example("Request", content["example"])]
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            content = answer["content"]["application/json"]
            lines += _example(f"Answer {status}", content["example"])
    errors = [status for status in operation["responses"] if not status.startswith("2")]
    if errors:
        lines += [f"Errors: {', '.join(errors)}.", ""]
    return "\n".join(lines)


def _parameters(operation: dict[str, Any]) -> list[str]:
    shown = [
        parameter
        for parameter in operation["parameters"]
        if parameter["name"] not in {"X-Request-ID", "traceparent", "X-User-ID"}
    ]
    if not shown:
        return []
    lines = ["| parameter | in | |", "|---|---|---|"]
    for parameter in shown:
        default = parameter["schema"].get("default")
        text = parameter["description"] + (f" Default `{default}`." if default else "")
        lines.append(f"| `{parameter['name']}` | {parameter['in']} | {_cell(text)} |")
    return [*lines, ""]


def _fields(document: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    model = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    lines = ["| field | type | |", "|---|---|---|"]
    for name, field in model.get("properties", {}).items():
        needed = " Required." if name in model.get("required", ()) else ""
        text = f"{field.get('description', '')}{needed}"
        lines.append(f"| `{name}` | {_type(field)} | {_cell(text)} |")
    if model.get("additionalProperties"):
        lines.append("| any other | any | A variable of the template. |")
    return [*lines, ""]


def _type(field: dict[str, Any]) -> str:
    """A type in a word or two."""
    if "$ref" in field:
        return str(field["$ref"].rpartition("/")[2])
    options = field.get("anyOf") or field.get("oneOf")
    if options:
        return " or ".join(dict.fromkeys(_type(option) for option in options))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    return str(field.get("format") or field.get("const") or field.get("type") or "any")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _example(title: str, example: Any) -> list[str]:
    text = json.dumps(example, indent=2, ensure_ascii=False)
    return [f"{title}:", "", "```json", text, "```", ""]


def main(arguments: list[str]) -> int:
    """Write the file, or with `--check` compare it."""
    from functions.api import service
    from functions.api.described import ROUTES

    text = markdown(service.document(ROUTES))
    if "--check" in arguments:
        is_current = TARGET.exists() and TARGET.read_text(encoding="utf-8") == text
        if not is_current:
            sys.stderr.write("docs/api.md is not current: python -m functions.api.reference\n")
        return 0 if is_current else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
