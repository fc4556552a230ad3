"""Examples for the API's description: made from the schemas, so that none is ever missing.

A field's own `examples` win; then what its name stands for everywhere in this API; then its default
and its type.
"""

from collections.abc import Mapping
from typing import Any

_RUN = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
_MOMENT = "2025-11-16T02:00:05Z"
_BY_NAME: Mapping[str, Any] = {
    "admin_email": "admin@acmecorp.com",
    "api_key": "acme_corp_api_xK9mPqWz7LnR4vYtB2cD5fG8hJ1kM3nQ6sT0wX4z",
    "api_key_id": "3f0a8a52-7f43-4a0e-9d0b-0a4f5d5f7c11",
    "attempt": 1,
    "backfill_id": "6d0f3a8e-5b1c-4f57-9c3d-2a7e8b9c0d1e",
    "bytes_estimated": 1_048_576,
    "bytes_processed": 1_048_576,
    "code": "foreign-table",
    "company_name": "ACME Corporation",
    "created_by": "alice_uuid_123",
    "cursor": "WyIyMDI1LTExLTE2VDAyOjAwOjA1KzAwOjAwIiwiZjQ3Il0",
    "date": "2025-11-15",
    "domain": "cost",
    "duration_ms": 4210,
    "key_prefix": "acme_corp_api_xK9mPq",
    "next_cursor": "WyIyMDI1LTExLTE2VDAyOjAwOjA1KzAwOjAwIiwiZjQ3Il0",
    "parent_run_id": "0b6f5c1e-2a3d-4d1c-8b4a-5d1f6a7b8c9d",
    "pipeline_id": "acme_corp-gcp-cost-billing",
    "pipeline_logging_id": _RUN,
    "provider": "gcp",
    "ps_type": "gcp.bigquery_to_bigquery",
    "rows_processed": 1250,
    "run_date": "2025-11-16",
    "run_id": _RUN,
    "step_id": "extract_billing_costs",
    "step_name": "Aggregate one usage day of the billing export",
    "steps_total": 2,
    "subscription_plan": "PROFESSIONAL",
    "table": "convergence.acme_corp_gcp_silver_cost.billing_cost_daily",
    "template": "gcp/cost/cost_billing",
    "template_name": "cost_billing",
    "tenant_id": "acme_corp",
    "trigger_by": "finance_team",
    "trigger_type": "manual",
    "user_id": "alice_uuid_123",
}
_BY_FORMAT: Mapping[str, Any] = {
    "date": "2025-11-15",
    "date-time": _MOMENT,
    "email": "admin@acmecorp.com",
    "uuid": _RUN,
}


class Examples:
    """Examples of the schemas in one document."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def body(self, schema: Mapping[str, Any]) -> Any:
        """A request: what is required, and what its author gave an example for."""
        return self._of(schema, "", is_answer=False)

    def answer(self, schema: Mapping[str, Any]) -> Any:
        """An answer with every field."""
        return self._of(schema, "", is_answer=True)

    def _of(self, schema: Mapping[str, Any], name: str, *, is_answer: bool) -> Any:
        if schema.get("examples"):
            return schema["examples"][0]
        if "$ref" in schema:
            target = self._definitions[schema["$ref"].rpartition("/")[2]]
            return self._of(target, name, is_answer=is_answer)
        options = [part for part in schema.get("anyOf", ()) if part.get("type") != "null"]
        if options:
            return self._of(options[0], name, is_answer=is_answer)
        return self._plain(schema, name, is_answer=is_answer)

    def _plain(self, schema: Mapping[str, Any], name: str, *, is_answer: bool) -> Any:
        kind = schema.get("type")
        if "const" in schema or "enum" in schema:
            return schema.get("const", schema.get("enum", [None])[0])
        if kind == "object":
            return self._object(schema, is_answer=is_answer)
        if kind == "array":
            items = schema.get("items")
            return [self._of(items, name, is_answer=is_answer)] if items else []
        return _scalar(schema, name)

    def _object(self, schema: Mapping[str, Any], *, is_answer: bool) -> dict[str, Any]:
        required = schema.get("required", ())
        return {
            name: self._of(field, name, is_answer=is_answer)
            for name, field in schema.get("properties", {}).items()
            if is_answer or name in required or field.get("examples")
        }


def _scalar(schema: Mapping[str, Any], name: str) -> Any:
    if name in _BY_NAME:
        return _BY_NAME[name]
    if schema.get("format") in _BY_FORMAT:
        return _BY_FORMAT[schema["format"]]
    if schema.get("default") is not None:
        return schema["default"]
    by_type = {"integer": schema.get("minimum", 1), "number": 1.5, "boolean": True}
    return by_type.get(schema.get("type", ""), name)
