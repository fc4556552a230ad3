"""The shape of a template: known fields, their types, steps with unique names."""

from typing import Any

from pydantic import ValidationError

from shared.processors import registry
from shared.templates import faults
from shared.templates.document import Mapping, Node, Sequence, plain
from shared.templates.models import PipelineTemplate, Step
from shared.templates.problems import Place, Problems, suggestion


def check(document: Mapping, problems: Problems) -> None:
    """Report what does not have the shape of a template.

    Variables and the processors' own fields are looked at by those who know their types.
    """
    shape = plain(document)
    shape.pop("variables", None)
    try:
        PipelineTemplate.model_validate(shape)
    except ValidationError as error:
        for place, message, _ in faults.sentences(error, PipelineTemplate, document):
            problems.add(place, message)
    variables = document.values.get("variables")
    if (
        variables is not None
        and not isinstance(variables, Mapping)
        and plain(variables) is not None
    ):
        problems.add(variables.place, "variables: must be a mapping of names to values")
    _check_steps(document, problems)


def _check_steps(document: Mapping, problems: Problems) -> None:
    listed = document.values.get("steps")
    if listed is None or (isinstance(listed, Sequence) and not listed.items):
        problems.add(document.key_place("steps"), "a template needs at least one step under steps")
        return
    steps = step_nodes(document)
    if steps and all(step.text("trigger") == "on_failure" for step in steps):
        place = document.key_place("steps")
        problems.add(
            place, "every step waits for a failure; a step needs trigger on_success or always"
        )
    seen: dict[str, Place] = {}
    for step in steps:
        step_id = step.text("step_id")
        place = step.values["step_id"].place if step_id else step.place
        if step_id and step_id in seen:
            problems.add(
                place,
                f"step_id {step_id!r} is used on line {seen[step_id].line} already; rename one",
            )
        elif step_id:
            seen[step_id] = place


def step_nodes(document: Mapping) -> list[Mapping]:
    """The steps that are mappings, whatever else is wrong with them."""
    listed = document.values.get("steps")
    items: tuple[Node, ...] = listed.items if isinstance(listed, Sequence) else ()
    return [item for item in items if isinstance(item, Mapping)]


def common_fields(step: Mapping) -> dict[str, Any]:
    """The fields that every step may have, valid ones with their values, else their defaults."""
    given = {key: plain(value) for key, value in step.values.items() if key in Step.model_fields}
    given.setdefault("step_id", "step")
    given.setdefault("ps_type", "")
    try:
        return dict(Step.model_validate(given))
    except ValidationError as error:
        for fault in error.errors():
            given.pop(str(fault["loc"][0]), None)
    given = {"step_id": "step", "ps_type": ""} | given
    return dict(Step.model_validate(given))


def processor_type(step: Mapping, path: dict[str, str], problems: Problems) -> str | None:
    """The processor's own name for the step's `ps_type`; None after a problem was reported.

    `{provider}` and `{domain}` are known from the template's path; nothing else may choose which
    code runs.
    """
    written = step.text("ps_type")
    if written is None:
        return None  # reported as a missing or mistyped field
    node = step.values["ps_type"]
    name = written
    for key, value in path.items():
        name = name.replace(f"{{{key}}}", value)
    if "{" in name:
        problems.add(
            node.place,
            f"ps_type {written!r} may hold {{provider}} and {{domain}} only; write the rest out",
        )
        return None
    try:
        return registry.canonical(name)
    except registry.UnknownProcessorError:
        known = registry.known_types()
        hint = suggestion(name, known) or f"; known: {', '.join(known)}"
        problems.add(node.place, f"unknown ps_type {name!r}{hint}")
        return None
