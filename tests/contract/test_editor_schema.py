"""What editors say of a template by schemas/pipeline.schema.json: nothing of good ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from shared.templates import schema

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "templates"
SCHEMA = json.loads((ROOT / schema.FILE).read_text(encoding="utf-8"))
EDITOR = Draft202012Validator(SCHEMA)
GOOD = sorted([*(ROOT / "configs").glob("*/**/*.yml"), *(DATA / "valid").rglob("*.yml")])
# Beyond these, faults are in what placeholders refer to, which a schema knows nothing of.
BAD = (
    *("bad_step_id", "missing_processor_field", "retry_out_of_range"),
    *("timeout_too_long", "unknown_ps_type", "unknown_trigger", "variables_not_a_mapping"),
)
STEP = {
    "step_id": "tell",
    "ps_type": "shared.slack_notification",
    "webhook_secret": "slack-alerts",
    "title": "x",
    "message": "y",
}


def said(template: Any) -> list[str]:
    return [error.message for error in EDITOR.iter_errors(template)]


class _Text(yaml.SafeLoader):
    """Dates stay text, as in JSON."""


_Text.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for key, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read(file: Path) -> Any:
    return yaml.load(file.read_text(encoding="utf-8"), _Text)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", GOOD, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_good_files_are_good(file: Path) -> None:
    assert said(_read(file)) == []


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_bad(name: str) -> None:
    assert said(_read(DATA / "invalid" / f"{name}.yml"))


@pytest.mark.parametrize(
    "change",
    [
        {"webhook_secret": "https://hooks.slack.com/services/T0/B0/x"},
        {"webhook_secrt": "x"},
        {"title": None},
        {"fields": ["a"]},
        {"ps_type": "shared.slak_notification"},
        {"trigger": "on_fail"},
        {"timeout_seconds": 0},
        {"retry": {"max_attempts": 11}},
        {"retry": {"attempts": 2}},
    ],
    ids=str,
)
def test_a_wrong_field_of_a_step_is_seen(change: dict[str, Any]) -> None:
    assert said({"steps": [STEP]}) == []
    assert said({"steps": [STEP | change]})


@pytest.mark.parametrize(
    "place", [{"dataset_type": "gcp_silvr_cost"}, {"table": "x_meta.t"}], ids=str
)
def test_a_destination_that_nobody_may_write_is_seen(place: dict[str, Any]) -> None:
    step = {
        "step_id": "extract",
        "ps_type": "gcp.bigquery_to_bigquery",
        "source": {"query": "SELECT 1"},
    }
    assert said({"steps": [step | {"destination": {"table": "costs"}}]}) == []
    assert said({"steps": [step | {"destination": {"table": "costs"} | place}]})


def _descriptions(node: Any, path: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for name, field in node.get("properties", {}).items():
            if isinstance(field, dict) and "$ref" not in field and "description" not in field:
                yield f"{path}.{name}"
        for key, inner in node.items():
            yield from _descriptions(inner, f"{path}/{key}")
    elif isinstance(node, list):
        for index, inner in enumerate(node):
            yield from _descriptions(inner, f"{path}/{index}")


def test_every_field_is_described() -> None:
    bare = [found for found in _descriptions(SCHEMA) if "/if" not in found]
    assert bare == []
