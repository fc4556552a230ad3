"""Pydantic's findings as problems of a template: at their place, in the words of its author."""

from collections.abc import Mapping as MappingType
from collections.abc import Sequence as SequenceType
from typing import Any

from pydantic import BaseModel, ValidationError

from shared.templates import fields
from shared.templates.document import Mapping, Node, Sequence
from shared.templates.problems import Place, suggestion
from shared.templates.value_types import shown

_WANTED = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "date_type": "a date",
    "dict_type": "a mapping",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "list_type": "a list",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "string_type": "text",
    "tuple_type": "a list",
}

Path = tuple[str | int, ...]


def locate(root: Node, loc: SequenceType[str | int]) -> tuple[Node, Path]:
    """The deepest part of the document that `loc` leads to, and the path to it.

    Parts of `loc` that name a member of a union lead nowhere and are passed over.
    """
    node = root
    path: list[str | int] = []
    for key in loc:
        if isinstance(node, Mapping) and key in node.values:
            node = node.values[str(key)]
        elif isinstance(node, Sequence) and isinstance(key, int) and key < len(node.items):
            node = node.items[key]
        else:
            continue
        path.append(key)
    return node, tuple(path)


def sentences(
    error: ValidationError,
    model: type[BaseModel],
    root: Mapping,
    also_known: SequenceType[str] = (),
) -> list[tuple[Place, str, Node]]:
    """Every finding with its place and the part of the document that it is about.

    Args:
        error: what validating the document against `model` raised.
        model: the model; its fields are proposed for unknown ones.
        root: the document, or the part of it that was validated.
        also_known: fields of the document itself beside those of `model`.
    """
    merged: dict[Place, tuple[list[str], Node]] = {}
    for fault in _independent(error.errors(include_url=False, include_context=True)):
        place, message, node = _finding(fault, model, root, also_known)
        messages, _ = merged.setdefault(place, ([], node))
        if message not in messages:
            messages.append(message)
    return [(place, ", or ".join(messages), node) for place, (messages, node) in merged.items()]


def _independent(found: SequenceType[Any]) -> list[Any]:
    """Without the complaint that a list is too short when that is because its items are bad."""
    return [
        fault
        for fault in found
        if fault["type"] != "too_short"
        or not any(other["loc"][:-1] == fault["loc"] for other in found if other is not fault)
    ]


def _finding(
    fault: Any, model: type[BaseModel], root: Mapping, also_known: SequenceType[str]
) -> tuple[Place, str, Node]:
    loc = fault["loc"]
    if fault["type"] == "extra_forbidden":
        parent, path = locate(root, loc[:-1])
        place = parent.key_place(str(loc[-1])) if isinstance(parent, Mapping) else parent.place
        known = fields.field_names(fields.at((model,), path))
        known = known if path else sorted({*known, *also_known})
        return place, unknown_field(str(loc[-1]), known), parent
    node, path = locate(root, loc)
    if fault["type"] == "union_tag_invalid":
        node, path = locate(root, (*loc, _discriminator(fault)))
    prefix = _prefix(path)
    if fault["type"] == "union_tag_not_found":
        return node.place, f"{prefix}field {_discriminator(fault)!r} is required; add it", node
    if fault["type"] == "missing":
        return _named_place(root, path), f"{prefix}field {loc[-1]!r} is required; add it", node
    return node.place, f"{prefix}{_sentence(fault)}", node


def _prefix(path: Path) -> str:
    """`retry.max_attempts: `; which step it is, the place says."""
    inner = path[2:] if path[:1] == ("steps",) else path
    return f"{'.'.join(str(part) for part in inner)}: " if inner else ""


def _named_place(root: Mapping, path: Path) -> Place:
    """Where the key of a mapping is written: the place to add a missing field to."""
    if not path:
        return root.place
    parent, _ = locate(root, path[:-1])
    if isinstance(parent, Mapping):
        return parent.key_place(str(path[-1]))
    return locate(root, path)[0].place


def _sentence(fault: MappingType[str, Any]) -> str:
    kind, value = fault["type"], fault["input"]
    context = fault.get("ctx", {})
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {shown(value)}"
    if kind in {"literal_error", "enum"}:
        return _one_of(str(context["expected"]), value)
    if kind == "union_tag_invalid":
        return _one_of(str(context["expected_tags"]), context["tag"])
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}, not {shown(value)}"
    message = str(fault["msg"])
    for prefix in ("Value error, ", "Input should be ", "value is "):
        message = message.removeprefix(prefix)
    if kind.startswith(("greater", "less")):
        return f"must be {message}, not {shown(value)}"
    text = f"{message[:1].lower()}{message[1:]}"
    return text if isinstance(value, dict) else f"{text} (value: {shown(value)})"


def _one_of(expected: str, value: Any) -> str:
    """Of the words that pydantic lists: `'a', 'b' or 'c'`."""
    near = suggestion(str(value), expected.replace("'", "").replace(" or ", ", ").split(", "))
    return f"must be {expected}, not {shown(value)}{near}"


def _discriminator(fault: MappingType[str, Any]) -> str:
    """The field that says which member of a union is meant; pydantic gives it in quotes."""
    return str(fault["ctx"]["discriminator"]).strip("'")


def unknown_field(name: str, known: SequenceType[str]) -> str:
    """`unknown field 'tabel'; did you mean table?`, else the fields there are."""
    hint = suggestion(name, known) or (f"; known here: {', '.join(known)}" if known else "")
    return f"unknown field {name!r}{hint}"
