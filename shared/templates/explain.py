"""A resolved pipeline for people: every variable with its value and origin, then the steps."""

from collections.abc import Mapping
from typing import Any

from shared.templates import built_ins
from shared.templates.compiled import CompiledTemplate
from shared.templates.models import ResolvedPipeline
from shared.templates.plan import LATE

BUILT_IN = "built-in"
BODY = "body"


def origins(
    compiled: CompiledTemplate, overrides: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Where each variable's value comes from.

    `built-in`, `body`, `template`, or `inherited from configs/…`; a variable that refers to others
    has the origin of its own text.
    """
    found = dict.fromkeys(built_ins.TYPES, BUILT_IN)
    found.update((name, variable.origin) for name, variable in compiled.variables.items())
    found.update(dict.fromkeys(overrides or {}, BODY))
    return found


def explain(
    compiled: CompiledTemplate,
    pipeline: ResolvedPipeline,
    overrides: Mapping[str, Any] | None = None,
) -> str:
    """The resolved pipeline as YAML, origins as comments; values of a later moment as `{…}`."""
    import yaml

    came_from = origins(compiled, overrides)
    shown: dict[str, Any] = pipeline.model_dump(mode="json", exclude_none=True)
    variables: dict[str, Any] = shown.pop("variables")
    lines = [_line("variables", variables, came_from)]
    shown["steps"] = [readable(step) for step in shown["steps"]]
    rest = yaml.dump(
        shown,
        Dumper=_dumper(),
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=False,
    )
    return f"# {compiled.file}\n{rest}{''.join(lines)}"


def readable(value: Any) -> Any:
    """A value with what is known only while running written as a placeholder again."""
    if isinstance(value, dict):
        if LATE in value:
            return "".join(_segment(segment) for segment in value[LATE])
        return {key: readable(item) for key, item in value.items()}
    return [readable(item) for item in value] if isinstance(value, list) else value


def _segment(segment: str | dict[str, str]) -> str:
    if isinstance(segment, str):
        return segment
    name = segment.get("ref") or segment["type_of"]
    return f"{{{name}}}" if "ref" in segment else f"type of {{{name}}}"


def _line(title: str, variables: Mapping[str, Any], came_from: Mapping[str, str]) -> str:
    import json

    entries = [
        (f"  {name}: {json.dumps(value, ensure_ascii=False)}", came_from[name])
        for name, value in variables.items()
    ]
    width = min(max(len(entry) for entry, _ in entries), 90)
    return f"{title}:\n" + "".join(
        f"{entry.ljust(width)}  # {origin}\n" for entry, origin in entries
    )


def _dumper() -> Any:
    """Long text as a block, as its author wrote it."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: Any, value: str) -> Any:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper
