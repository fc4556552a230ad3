"""`schemas/pipeline.schema.json`: templates described for editors, from the pydantic models.

Draft 2020-12. Each `ps_type` has a branch of its own with the fields of its processor, so that an
editor completes and checks them; where something else than text is expected, a text with a
placeholder is allowed too.
"""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from shared.processors import registry
from shared.processors.contract import Processor
from shared.templates.models import PipelineTemplate

FILE = "schemas/pipeline.schema.json"

_PLACEHOLDER = {
    "type": "string",
    "pattern": r"\{[A-Za-z_][A-Za-z0-9_.]*\}",
    "description": "Text with a placeholder such as {date}.",
}
_QUERY = {"type": "string", "description": "GoogleSQL; placeholders become query parameters."}
_TEXT_LIMITS = frozenset({"pattern", "format", "enum", "const", "minLength", "maxLength"})
_PLACEHOLDER_REF = {"$ref": "#/$defs/placeholder"}


def pipeline_schema() -> dict[str, Any]:
    """The schema as JSON values."""
    schema = PipelineTemplate.model_json_schema(ref_template="#/$defs/{model}")
    definitions: dict[str, Any] = schema.pop("$defs", {})
    definitions["placeholder"] = _PLACEHOLDER
    common = definitions.pop("Step")["properties"]
    branches = []
    for name in registry.known_types():
        processor = registry.load(name)
        branches.append(_branch(name, processor, common, definitions))
    definitions["Step"] = _step(common, branches)
    schema["properties"]["variables"]["propertyNames"] = {"pattern": r"^[A-Za-z_][A-Za-z0-9_]*$"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Pipeline template",
        "description": "A file configs/{provider}/{domain}/{template_name}.yml.",
        "anyOf": [{"required": ["steps"]}, {"required": ["extends"]}],
        **{key: value for key, value in schema.items() if key not in {"title", "description"}},
        "$defs": dict(sorted(definitions.items())),
    }


def text() -> str:
    """The schema as it is committed."""
    return json.dumps(pipeline_schema(), indent=2, ensure_ascii=False) + "\n"


def _step(common: dict[str, Any], branches: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": "One step; its ps_type says which fields it has.",
        "required": ["step_id", "ps_type"],
        "properties": common
        | {
            "ps_type": {
                "description": "The processor that does the work.",
                "anyOf": [
                    {"enum": registry.known_types()},
                    {"type": "string", "pattern": r"\{(provider|domain)\}"},
                ],
            }
        },
        "allOf": branches,
    }


def _branch(
    name: str, processor: Processor[Any], common: dict[str, Any], definitions: dict[str, Any]
) -> dict[str, Any]:
    """What a step of one `ps_type` may hold: the fields of all steps and its processor's."""
    # Two processors may have models of one name; each keeps its own: aws.cost_explorer.CostFilter.
    prefix = f"{processor.ps_type}."
    own = TypeAdapter(processor.config_model).json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    models = own.pop("$defs", {})
    models.pop("QueryParameter", None)
    local = {f"{prefix}{key}": value for key, value in models.items()}
    if "Query" in models:
        local[f"{prefix}Query"] = _QUERY
    fields = _Fields({key for key, value in local.items() if value.get("type") == "object"})
    for key, definition in local.items():
        definitions[key] = fields.open(definition)
    properties = {key: fields.field(value) for key, value in own["properties"].items()}
    summary = (type(processor).__doc__ or "").partition("\n")[0]
    return {
        "if": {"properties": {"ps_type": {"const": name}}, "required": ["ps_type"]},
        "then": {
            "description": summary,
            "properties": dict.fromkeys(common, True) | properties,
            "required": own.get("required", []),
            "additionalProperties": False,
        },
    }


@dataclass(frozen=True)
class _Fields:
    """Lets placeholders stand for values; only a mapping as a whole cannot come from one."""

    mappings: set[str]
    """Definitions that are mappings."""

    def open(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A schema with placeholders allowed below it."""
        opened = dict(schema)
        if "properties" in opened:
            opened["properties"] = {
                key: self.field(value) for key, value in opened["properties"].items()
            }
        for key in ("items", "additionalProperties"):
            if isinstance(opened.get(key), dict):
                opened[key] = self.field(opened[key])
        return opened

    def field(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A field: as its model has it, or text with a placeholder."""
        opened = self.open(schema)
        if isinstance(opened.get("anyOf"), list):
            options = [self.open(option) for option in opened["anyOf"]]
            if not all(self._is_mapping(option) for option in options) and not any(
                _takes_any_text(option) for option in options
            ):
                options.append(_PLACEHOLDER_REF)
            return opened | {"anyOf": options}
        if _takes_any_text(opened) or self._is_mapping(opened):
            return opened
        kept = {
            key: opened.pop(key) for key in ("title", "description", "default") if key in opened
        }
        return kept | {"anyOf": [opened, _PLACEHOLDER_REF]}

    def _is_mapping(self, schema: dict[str, Any]) -> bool:
        return (
            schema.get("type") in {"object", "null"}
            or str(schema.get("$ref", "")).rpartition("/")[2] in self.mappings
        )


def _takes_any_text(schema: dict[str, Any]) -> bool:
    if (
        str(schema.get("$ref", "")).endswith(".Query")
        or not {"type", "$ref", "enum", "const"} & schema.keys()
    ):
        return True
    return schema.get("type") == "string" and not _TEXT_LIMITS & schema.keys()
