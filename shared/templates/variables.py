"""Variables of a template: declarations, their types and what a request body may put in place."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import FieldProblem
from shared.templates import built_ins, value_types
from shared.templates.plan import Tree
from shared.templates.problems import Place, suggestion
from shared.templates.value_types import UnfitValueError, ValueType, is_list, shown, unfit_text


@dataclass(frozen=True, slots=True)
class Variable:
    """One entry of `variables:`, compiled."""

    name: str
    kind: ValueType
    tree: Tree | None
    """The default; None when the body has to give the value."""
    place: Place
    origin: str
    """`template`, or `inherited from configs/…`."""
    choices: tuple[Any, ...] | None = None
    pattern: re.Pattern[str] | None = None
    overridable: bool = True
    description: str | None = None

    def check(self, value: Any) -> Any:
        """The value in JSON form.

        Raises:
            UnfitValueError: it is not of the type, none of the choices or not of the pattern; the
                message follows the variable's name.
        """
        checked = checked_value(self.kind, value)
        if self.choices is not None and checked not in self.choices:
            near = suggestion(str(value), [str(choice) for choice in self.choices])
            allowed = ", ".join(shown(choice) for choice in self.choices)
            raise UnfitValueError(f"must be one of {allowed}, not {shown(value)}{near}")
        if self.pattern is not None and not self._matches(checked):
            raise UnfitValueError(f"must match {self.pattern.pattern}, not {shown(value)}")
        return checked

    def _matches(self, value: Any) -> bool:
        assert self.pattern is not None  # noqa: S101 - asked by check only
        items = value if isinstance(value, list) else [value]
        return all(self.pattern.fullmatch(value_types.text_of(item)) for item in items)

    @property
    def sample(self) -> Any:
        """A value for checking the template when there is no default."""
        return self.choices[0] if self.choices else self.kind.example


def checked_value(kind: ValueType, value: Any) -> Any:
    """The value in JSON form.

    Raises:
        UnfitValueError: it is not of the type; the message says what is wanted, with an example.
    """
    try:
        return kind.check(value)
    except UnfitValueError as error:
        raise UnfitValueError(kind.problem(value, str(error))) from None


def check_overrides(
    variables: Mapping[str, Variable], overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], list[FieldProblem]]:
    """The values of a request body in JSON form, and what is wrong with the others.

    A value is data: placeholders in it are never resolved.
    """
    checked: dict[str, Any] = {}
    problems: list[FieldProblem] = []
    for name, value in overrides.items():
        try:
            checked[name] = _override(variables, name, value)
        except UnfitValueError as error:
            problems.append(FieldProblem(f"/{name}", str(error), value))
    return checked, problems


def _override(variables: Mapping[str, Variable], name: str, value: Any) -> Any:
    variable = variables.get(name)
    if variable is None:
        _refuse_unknown(variables, name)
    elif not variable.overridable:
        raise UnfitValueError("is fixed by the template and cannot be overridden; leave it out")
    _refuse_unfit(value)
    if variable is not None:
        return variable.check(value)
    return checked_value(built_ins.TYPES[name], value)


def _refuse_unknown(variables: Mapping[str, Variable], name: str) -> None:
    if name in built_ins.IN_BODY:
        return
    if name in built_ins.TYPES or name in built_ins.RUNNING:
        raise UnfitValueError("is a built-in variable and cannot be overridden; leave it out")
    known = sorted(
        {*(key for key, item in variables.items() if item.overridable), *built_ins.IN_BODY}
    )
    near = suggestion(name, known)
    raise UnfitValueError(
        f"is not a variable of this template{near or ';'} it takes {', '.join(known)}"
    )


def _refuse_unfit(value: Any) -> None:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if len(value) > value_types.MAX_LIST_ITEMS:
            raise UnfitValueError(
                f"must have at most {value_types.MAX_LIST_ITEMS} items, not {len(value)}"
            )
        for item in value:
            _refuse_unfit(item)
    elif isinstance(value, str) and (reason := unfit_text(value)):
        raise UnfitValueError(reason)


def missing(variables: Mapping[str, Variable], given: Mapping[str, Any]) -> list[FieldProblem]:
    """A problem for each variable that has no default and is not given."""
    return [
        FieldProblem(
            f"/{name}", f"is required: {item.kind.wanted}, for example {shown(item.sample)}"
        )
        for name, item in variables.items()
        if item.tree is None and name not in given
    ]


def fits(wanted: ValueType, given: ValueType) -> bool:
    """Whether values of one type can stand for another without being looked at."""
    if wanted == given or (wanted.name == "number" and given.name == "integer"):
        return True
    if is_list(wanted) or is_list(given):
        return is_list(wanted) and is_list(given) and wanted.sql == given.sql
    textual = {"string", "email", "table"}
    if wanted.name == "string":
        return given.name in {*textual, "date"}
    return wanted.name in textual and given.name in textual
