"""Pydantic models walked along a document: which fields exist where, which are SQL or HTML."""

from collections.abc import Iterable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

from shared.processors.contract import Html, Query

Shapes = tuple[Any, ...]
"""The types that a value may have: members of unions, with `Annotated` and `Optional` undone."""


def shapes(annotation: Any) -> Shapes:
    """The types that `annotation` stands for."""
    origin = get_origin(annotation)
    if origin is Annotated:
        kind, *marks = get_args(annotation)
        return (Html,) if any(mark is Html for mark in marks) else shapes(kind)
    if origin is Union or origin is UnionType:
        return tuple(shape for part in get_args(annotation) for shape in shapes(part))
    if isinstance(annotation, TypeVar):
        return shapes(annotation.__bound__) if annotation.__bound__ else ()
    if hasattr(annotation, "__value__"):  # a `type X = ...` alias
        return shapes(annotation.__value__)
    return (annotation,)


def models(of: Shapes) -> list[type[BaseModel]]:
    """The models among the types, `Query` excepted: authors write it as text."""
    return [
        shape
        for shape in of
        if isinstance(shape, type) and issubclass(shape, BaseModel) and not issubclass(shape, Query)
    ]


def is_query(of: Shapes) -> bool:
    """Whether a text in this place is SQL."""
    return any(isinstance(shape, type) and issubclass(shape, Query) for shape in of)


def is_html(of: Shapes) -> bool:
    """Whether a text in this place is HTML."""
    return Html in of


def field_names(of: Shapes) -> list[str]:
    """The keys that a mapping in this place may have."""
    return sorted({field.alias or name for model in models(of) for name, field in _fields(model)})


def below(of: Shapes, key: str | int) -> Shapes:
    """The types of what stands under a key or at an index."""
    found: list[Any] = []
    for shape in of:
        if isinstance(key, int):
            found.extend(_items(shape, key))
        elif _is_mapping(get_origin(shape)):
            found.extend(shapes(get_args(shape)[1]))
    for model in models(of) if isinstance(key, str) else ():
        for name, field in _fields(model):
            if key in (name, field.alias):
                found.extend(shapes(field.annotation))
    return tuple(found)


def at(of: Shapes, path: Iterable[str | int]) -> Shapes:
    """The types at the end of a path; parts that name a member of a union are passed over."""
    for key in path:
        of = below(of, key) or of
    return of


def _fields(model: type[BaseModel]) -> list[tuple[str, Any]]:
    return list(model.model_fields.items())


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _items(shape: Any, index: int) -> Shapes:
    origin = get_origin(shape)
    if not isinstance(origin, type) or not issubclass(origin, Sequence | set | frozenset):
        return ()
    arguments = get_args(shape)
    if origin is tuple and len(arguments) > 1 and arguments[-1] is not Ellipsis:
        return shapes(arguments[index]) if index < len(arguments) else ()
    return shapes(arguments[0])
