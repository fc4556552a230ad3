"""Records the schema of the Google provider's resources that `infra/terraform` uses.

    pip download --no-deps --dest DIR cdktn-provider-google==21.1.0
    python -m tests.terraform.record DIR/cdktn_provider_google-21.1.0-py3-none-any.whl

The bindings in that wheel are generated from `terraform providers schema -json` of one version of
the provider, which they name; every attribute says there whether it is required, optional or
computed, and of which type. Written is `tests/data/terraform/google.json`: what the configuration
names now.
"""

import io
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from tests.terraform import hcl

RECORD = Path(__file__).parents[1] / "data" / "terraform" / "google.json"

_LINES = re.MULTILINE | re.DOTALL
_CLASS = re.compile(r"^class (\w+) extends cdktn\.(\w+) \{$(.*?)^\}$", _LINES)
_FUNCTION = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{$(.*?)^\}$", _LINES)
_MEMBER = re.compile(
    r"^    // (\w+) - computed: (true|false), optional: (true|false), required: (true|false)$"
    r"(.*?)(?=^    // \w+ - computed:|\Z)",
    _LINES,
)
_NEW = re.compile(r'= new (?:\w+\.)?(\w+)\(this, "\w+"(?:, (true|false))?\)')
_GETTER = re.compile(r"this\.get(\w+?)Attribute\(")
_HCL = re.compile(r'^ +(\w+): \{\s+value: .*?isBlock: (true|false),\s+type: "(\w+)"', _LINES)
_PLAIN = r'^ +(\w+): \{\s+value: .*?storageClassType: "(string|boolean|stringMap)"'
_PROVIDER = re.compile(_PLAIN, _LINES)
_TYPES: dict[str, Any] = {
    "String": "string",
    "Number": "number",
    "Boolean": "bool",
    "List": ["list", "string"],
    "NumberList": ["list", "number"],
    "StringMap": ["map", "string"],
    "NumberMap": ["map", "number"],
    "BooleanMap": ["map", "bool"],
    "StringMapList": ["list", ["map", "string"]],
}

Block = dict[str, Any]


class Bindings:
    """One resource's module of the bindings."""

    def __init__(self, source: str) -> None:
        self._classes = {name: (base, body) for name, base, body in _CLASS.findall(source)}
        self._blocks = {
            name.lower(): {
                attribute for attribute, is_block, _ in _HCL.findall(body) if is_block == "true"
            }
            for name, body in _FUNCTION.findall(source)
        }
        self._sets = {
            (name.lower(), attribute)
            for name, body in _FUNCTION.findall(source)
            for attribute, _, kind in _HCL.findall(body)
            if kind == "set"
        }

    def resource(self) -> tuple[str, Block]:
        """The Terraform type and its block."""
        for name, (base, body) in self._classes.items():
            if base in ("TerraformResource", "TerraformDataSource"):
                found = re.search(r'tfResourceType = "(\w+)"', body)
                assert found
                written = body.partition("synthesizeHclAttributes()")[2]
                blocks = {a for a, is_block, _ in _HCL.findall(written) if is_block == "true"}
                sets = {a for a, _, kind in _HCL.findall(written) if kind == "set"}
                return found[1], self._block(name, blocks, sets)
        raise ValueError("no resource in this module")

    def _block(self, name: str, blocks: set[str], sets: set[str]) -> Block:
        attributes: dict[str, Any] = {}
        nested: dict[str, Any] = {}
        body = self._classes[name][1]
        for attribute, computed, optional, required, code in _MEMBER.findall(body):
            made = _NEW.search(code)
            inner = made[1] if made else ""
            if inner and not inner.endswith("Map"):
                single = not inner.endswith("List")
                element = inner if single else f"{inner.removesuffix('List')}OutputReference"
                if element in self._classes:
                    function = element.removesuffix("OutputReference").lower()
                    block = self._block(
                        element,
                        self._blocks.get(function, set()),
                        {a for f, a in self._sets if f == function},
                    )
                    if attribute in blocks:
                        nested[attribute] = self._nesting(attribute, single, made, required, block)
                        continue
                    kind: Any = ["set" if made and made[2] == "true" else "list", _object(block)]
                else:
                    kind = _TYPES[inner]
            elif inner:
                kind = _TYPES[inner]
            else:
                getter = _GETTER.search(code)
                kind = _TYPES[getter[1]] if getter else "string"
            if attribute in sets and kind[0] == "list":
                kind = ["set", kind[1]]
            flags = {"computed": computed, "optional": optional, "required": required}
            attributes[attribute] = {"type": kind} | {
                k: True for k, v in flags.items() if v == "true"
            }
        return {"attributes": attributes, "blocks": nested}

    @staticmethod
    def _nesting(attribute: str, single: bool, made: Any, required: str, block: Block) -> Any:
        if attribute == "timeouts":
            return {"nesting": "single", "block": block}
        nesting = "set" if made[2] == "true" else "list"
        limits = ({"max_items": 1} if single else {}) | (
            {"min_items": 1} if required == "true" else {}
        )
        return {"nesting": nesting, **limits, "block": block}


def provider(source: str) -> Block:
    """The block of `provider "google"`: the plain ones of its settings."""
    kinds = {"string": "string", "boolean": "bool", "stringMap": ["map", "string"]}
    found = _PROVIDER.findall(source.partition("synthesizeHclAttributes()")[2])
    attributes = {name: {"type": kinds[kind], "optional": True} for name, kind in found}
    return {"attributes": attributes, "blocks": {}}


def _object(block: Block) -> Any:
    fields = {name: attribute["type"] for name, attribute in block["attributes"].items()}
    return ["object", fields]


def record(wheel: Path) -> dict[str, Any]:
    """The schema of everything that the configuration names."""
    with zipfile.ZipFile(wheel) as archive:
        (package,) = [name for name in archive.namelist() if name.endswith(".jsii.tgz")]
        sources = _sources(archive.read(package))
    found: dict[str, Any] = {"provider": provider(sources["provider"])}
    version = ""
    for kind, prefix in (("resource", ""), ("data", "data-google-")):
        found[kind] = {}
        for wanted in sorted(hcl.types(kind)):
            source = sources[prefix + wanted.removeprefix("google_").replace("_", "-")]
            version = re.findall(r"providerVersion: '([\d.]+)'", source)[0]
            name, block = Bindings(source).resource()
            found[kind][name] = block
    return {
        "source": f"{wheel.name}, generated from the schema of hashicorp/google {version}",
        "version": version,
        **found,
    }


def _sources(package: bytes) -> dict[str, str]:
    """Folder → its JavaScript, large resources in several files."""
    found: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(package)) as files:
        for member in files:
            if match := re.fullmatch(r"package/lib/([^/]+)/.*\.js", member.name):
                file = files.extractfile(member)
                assert file
                found[match[1]] = found.get(match[1], "") + file.read().decode()
    return found


if __name__ == "__main__":
    RECORD.write_text(json.dumps(record(Path(sys.argv[1])), indent=1, sort_keys=True) + "\n")
