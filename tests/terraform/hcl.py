"""The Terraform configuration as python-hcl2 reads it: its blocks, and the attributes they set."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import hcl2

TERRAFORM = Path(__file__).parents[2] / "infra" / "terraform"

_META = {"connection", "count", "depends_on", "for_each", "lifecycle", "provider", "provisioner"}
_NOTES = {"__is_block__", "__comments__", "__start_line__", "__end_line__"}


@dataclass(frozen=True)
class Block:
    """`kind "labels..." { body }` in a file."""

    file: Path
    kind: str
    labels: tuple[str, ...]
    body: dict[str, Any]

    @property
    def place(self) -> str:
        """What an error names."""
        return f"{self.file.relative_to(TERRAFORM)}: {' '.join((self.kind, *self.labels))}"

    @property
    def settings(self) -> dict[str, Any]:
        """The body without what every resource may have; `dynamic` blocks as what they become."""
        return {k: value for k, value in settings(self.body).items() if k not in _META}


@cache
def blocks(kind: str) -> list[Block]:
    """Every block of a kind, in the order of the files."""
    found = []
    for file in sorted(TERRAFORM.rglob("*.tf")):
        with file.open(encoding="utf-8") as source:
            content = hcl2.load(source)
        for entry in content.get(kind, ()):
            found += [Block(file, kind, labels, body) for labels, body in _labelled(entry)]
    return found


def types(kind: str) -> set[str]:
    """`resource`: every type of resource that is used; `data` likewise."""
    return {block.labels[0] for block in blocks(kind)}


def settings(body: dict[str, Any]) -> dict[str, Any]:
    """Attributes and blocks (lists of bodies) that a body sets."""
    found = {name: value for name, value in body.items() if name not in _NOTES}
    for labelled in found.pop("dynamic", []):
        for labels, dynamic in _labelled(labelled):
            found.setdefault(labels[0], []).extend(dynamic["content"])
    return found


def is_block(value: Any) -> bool:
    """Whether a setting is blocks, not an attribute."""
    return isinstance(value, list) and bool(value) and all(
        isinstance(item, dict) and "__is_block__" in item for item in value
    )  # fmt: skip


def text(value: Any) -> str:
    """A string literal without its quotes; an expression as it is written."""
    return str(value).strip('"') if isinstance(value, str) else repr(value)


def _labelled(entry: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """`{'"a"': {'"b"': body}}` → (`a`, `b`), body."""
    if "__is_block__" in entry:
        yield (), entry
        return
    for label, inner in entry.items():
        if label not in _NOTES:
            for labels, body in _labelled(inner):
                yield (label.strip('"'), *labels), body


def values(file: Path) -> dict[str, Any]:
    """What a file of variables sets."""
    with file.open(encoding="utf-8") as source:
        content = hcl2.load(source)
    return {name: value for name, value in content.items() if name not in _NOTES}
