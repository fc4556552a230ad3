"""What a template offers: its variables with types and defaults, and its steps, as written."""

from dataclasses import dataclass
from typing import Any

from shared.templates.compiled import CompiledTemplate
from shared.templates.placeholders import Placeholder
from shared.templates.plan import Branch, Constant, Markup, Names, Reference, Text, Tree
from shared.templates.sql import Name
from shared.templates.variables import Variable


@dataclass(frozen=True, kw_only=True)
class OfferedVariable:
    """A variable that a request body may set, or that the template fixes."""

    name: str
    type: str
    items: str | None
    """Type of the items of a `list`."""
    default: Any
    """As written: other variables stand in it as `{name}`."""
    required: bool
    overridable: bool
    choices: list[Any] | None
    pattern: str | None
    description: str | None
    origin: str


@dataclass(frozen=True, kw_only=True)
class OfferedStep:
    """A step, without its processor's configuration."""

    step_id: str
    name: str
    ps_type: str
    trigger: str
    timeout_seconds: int
    max_attempts: int
    when: str | None


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A template for people who want to run it."""

    template: str
    provider: str
    domain: str
    name: str
    description: str
    variables: list[OfferedVariable]
    steps: list[OfferedStep]


class _AsWritten(dict[str, Any]):
    """Stands for every variable: its value is its own placeholder."""

    def __missing__(self, name: str) -> str:
        return f"{{{name.removesuffix(' as text')}}}"


def offer(compiled: CompiledTemplate) -> Offer:
    """What `compiled` offers."""
    written = _AsWritten()
    return Offer(
        template=compiled.path,
        provider=compiled.provider,
        domain=compiled.domain,
        name=compiled.template_name,
        description=str(compiled.open.description(written) or ""),
        variables=[_variable(variable) for variable in compiled.variables.values()],
        steps=[
            OfferedStep(
                step_id=step.prototype.step_id,
                name=str(as_written(step.name) or step.prototype.step_id),
                ps_type=step.prototype.ps_type,
                trigger=step.prototype.trigger,
                timeout_seconds=step.prototype.timeout_seconds,
                max_attempts=step.prototype.retry.max_attempts,
                when=_condition(step.when),
            )
            for step in compiled.steps
        ],
    )


def as_written(tree: Tree) -> Any:
    """A part of a template as its author wrote it."""
    if isinstance(tree, Constant):
        return tree.value
    if isinstance(tree, Reference):
        return f"{{{tree.name}}}"
    if isinstance(tree, Text | Markup):
        return "".join(_part(part) for part in tree.parts)
    if isinstance(tree, Names):
        return "".join(_piece(piece) for piece in tree.pieces)
    return _branch(tree)


def _branch(tree: Branch) -> Any:
    whole = tree.container.copy()
    for key, child in tree.children:
        whole[key] = as_written(child)
    return whole


def _part(part: str | Placeholder) -> str:
    return part if isinstance(part, str) else part.token


def _piece(piece: str | Name) -> str:
    return piece if isinstance(piece, str) else f"`{''.join(map(_part, piece.parts))}`"


def _condition(tree: Tree) -> str | None:
    written = as_written(tree)
    return str(written["text"]) if isinstance(written, dict) else None


def _variable(variable: Variable) -> OfferedVariable:
    kind = variable.kind
    is_list = kind.name == "list"
    return OfferedVariable(
        name=variable.name,
        type=kind.name,
        items=kind.wanted.removeprefix("a list of ").removesuffix("s") if is_list else None,
        default=None if variable.tree is None else as_written(variable.tree),
        required=variable.tree is None,
        overridable=variable.overridable,
        choices=None if variable.choices is None else list(variable.choices),
        pattern=variable.pattern.pattern if variable.pattern else None,
        description=variable.description,
        origin=variable.origin,
    )
