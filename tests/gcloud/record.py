"""Records what the installed Google Cloud SDK says of the commands that documents may name.

    python -m tests.gcloud.record          # where `gcloud` is installed

Written are `tests/data/gcloud/commands.json`, the flags of the commands of some groups, and
`cloudbuild.schema.json` beside it, the API's `Build` as a JSON schema: both from files of the SDK,
so that machines without it check the same.
"""

import ast
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Groups of commands that documents and scripts may use; another one is added here.
GROUPS = (
    *("artifacts", "auth", "billing", "builds", "compute ssl-certificates", "functions"),
    *("iam service-accounts", "kms", "logging", "monitoring", "projects", "pubsub", "run"),
    *("scheduler", "secrets", "services", "storage"),
)
DATA = Path(__file__).parents[1] / "data" / "gcloud"
_TYPES = {
    "StringField": {"type": "string"},
    "BooleanField": {"type": "boolean"},
    "IntegerField": {"type": ["integer", "string"]},
    "FloatField": {"type": "number"},
    "BytesField": {"type": "string"},
}
_SUBSTITUTIONS = {"type": "object", "additionalProperties": {"type": "string"}}


def sdk() -> tuple[Path, str]:
    """Folder and version of the SDK."""
    info = subprocess.run(
        ["gcloud", "info", "--format=json"], capture_output=True, text=True, check=True, timeout=60
    )
    found = json.loads(info.stdout)
    return Path(found["installation"]["sdk_root"]), found["basic"]["version"]


def command_tree(root: Path) -> dict[str, Any]:
    """Every command of the SDK with its flags, as its shell completion knows them."""
    source = (root / "data" / "cli" / "gcloud_completions.py").read_text(encoding="utf-8")
    (assignment,) = (node for node in ast.parse(source).body if isinstance(node, ast.Assign))
    tree: dict[str, Any] = ast.literal_eval(assignment.value)
    return tree


def commands(tree: Mapping[str, Any]) -> dict[str, list[str]]:
    """Command → its flags, of the groups whose commands are recorded."""
    found: dict[str, list[str]] = {}

    def collect(node: Mapping[str, Any], path: str, flags: frozenset[str]) -> None:
        flags |= frozenset(node["flags"])
        if not node["commands"]:
            found[path] = sorted(flags)
        for name, inner in node["commands"].items():
            collect(inner, f"{path} {name}", flags)

    for group in GROUPS:
        node = tree
        for word in group.split():
            node = node["commands"][word]
        collect(node, group, frozenset())
    return found


def cloud_build_schema(root: Path, version: str) -> dict[str, Any]:
    """The message `Build` and what it consists of."""
    folder = root / "lib" / "googlecloudsdk" / "generated_clients" / "apis" / "cloudbuild" / "v1"
    tree = ast.parse((folder / "cloudbuild_v1_messages.py").read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    definitions: dict[str, Any] = {}
    waiting = ["Build"]
    while waiting:
        name = waiting.pop()
        if name not in definitions:
            properties = dict(_properties(classes[name]))
            definitions[name] = {
                "type": "object",
                "properties": properties,
                "additionalProperties": False,
            }
            waiting += [n for n in _references(properties) if n in classes]
    definitions["Build"]["required"] = ["steps"]
    definitions["BuildStep"]["required"] = ["name"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": f"Cloud Build API v1, message Build, of Google Cloud SDK {version}",
        "$ref": "#/$defs/Build",
        "$defs": dict(sorted(definitions.items())),
    }


def _properties(message: ast.ClassDef) -> Any:
    enums = {node.name: node for node in message.body if isinstance(node, ast.ClassDef)}
    for node in message.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        field, target = node.value, node.targets[0]
        assert isinstance(field.func, ast.Attribute)
        assert isinstance(target, ast.Name)
        kind = field.func.attr
        of = field.args[0].value if isinstance(field.args[0], ast.Constant) else ""
        if kind == "EnumField":
            values = [n.targets[0].id for n in enums[of].body if isinstance(n, ast.Assign)]  # type: ignore[attr-defined]
            schema: Any = {"enum": values}
        elif kind == "MessageField" and of in enums:
            schema = _SUBSTITUTIONS  # a map, in the words of this library
        elif kind == "MessageField":
            schema = {"$ref": f"#/$defs/{of}"}
        else:
            schema = _TYPES[kind]
        repeated = any(k.arg == "repeated" for k in field.keywords)
        yield target.id, {"type": "array", "items": schema} if repeated else schema


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"].rpartition("/")[2]] if "$ref" in value else []
        return own + [name for inner in value.values() for name in _references(inner)]
    return []


def main() -> None:
    """Write both files."""
    root, version = sdk()
    DATA.mkdir(exist_ok=True)
    schema = cloud_build_schema(root, version)
    (DATA / "cloudbuild.schema.json").write_text(
        json.dumps(schema, indent=1, sort_keys=True) + "\n"
    )
    known = commands(command_tree(root))
    rows = [f"{json.dumps(name)}: {json.dumps(flags)}" for name, flags in sorted(known.items())]
    lines = f'{{"sdk": "{version}", "commands": {{\n' + ",\n".join(rows) + "\n}}\n"
    (DATA / "commands.json").write_text(lines)


if __name__ == "__main__":
    main()
