"""Update masks, with the refusals of Google's service."""

from collections.abc import Collection, Sequence
from typing import Any

from infra.local.pubsub.errors import invalid


def masked(current: Any, changes: Any, paths: Sequence[str], *, mutable: Collection[str]) -> Any:
    """A copy of `current` with the fields named by `paths` taken from `changes`.

    Raises:
        RequestError: no path, a path that is no field, or a field that cannot change.
    """
    kind = current.DESCRIPTOR.name
    if not paths:
        raise invalid(
            f"The update_mask in the Update{kind}Request must be set, "
            "and must contain a non-empty paths list."
        )
    result = type(current)()
    result.CopyFrom(current)
    for path in paths:
        _check(kind, current, path, mutable)
        result.ClearField(path)
        _copy(changes, result, path)
    return result


def _check(kind: str, current: Any, path: str, mutable: Collection[str]) -> None:
    prefix = f"Invalid update_mask provided in the Update{kind}Request:"
    if path not in current.DESCRIPTOR.fields_by_name:
        raise invalid(
            f"{prefix} {path} is not a known {kind} field. Note that field paths must be of the "
            "form 'push_config' rather than 'pushConfig'."
        )
    if path not in mutable:
        raise invalid(f"{prefix} the {path} field in the {kind} is not mutable.")


def _copy(source: Any, target: Any, name: str) -> None:
    """Copy one field; proto3 leaves a field that is not set in the source unset."""
    one = type(source)()
    one.CopyFrom(source)
    for descriptor, _ in source.ListFields():
        if descriptor.name != name:
            one.ClearField(descriptor.name)
    target.MergeFrom(one)
