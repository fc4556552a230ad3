"""Every schema file that a template names is there: asked by `validate`, before a run finds out."""

from collections.abc import Iterator, Mapping
from typing import Any

from shared.errors import ConvergenceError, NotFoundError, nearest
from shared.templates import built_ins
from shared.templates.compiled import CompiledTemplate
from shared.templates.faults import locate
from shared.templates.problems import TemplateError, TemplateProblem
from shared.templates.resolver import resolve
from shared.warehouse.schemas import known_paths, load_table

_FIELD = ("destination", "schema_template")


def check_schema_files(compiled: CompiledTemplate) -> None:
    """Load every schema file that the template names.

    Raises:
        TemplateError: files that are not there or describe no table, where the template names them.
    """
    problems = list(_problems(compiled))
    if problems:
        raise TemplateError(problems)


def _problems(compiled: CompiledTemplate) -> Iterator[TemplateProblem]:
    samples = {
        name: variable.sample
        for name, variable in compiled.variables.items()
        if variable.tree is None
    }
    pipeline = resolve(compiled, built_ins.SAMPLE, samples)
    for step, written in zip(pipeline.steps, compiled.steps, strict=True):
        named = _named(step.config)
        if named is None:
            continue
        try:
            load_table(named)
        except NotFoundError:
            near = nearest(named, known_paths(), 2)
            hint = f"did you mean {' or '.join(near)}?" if near else "make the file first."
            message = f"there is no schemas/{named.removesuffix('.json')}.json; {hint}"
        except ConvergenceError as error:
            message = str(error)
        else:
            continue
        node, _ = locate(written.node, _FIELD)
        yield TemplateProblem(node.place, f"{'.'.join(_FIELD)}: {message}")


def _named(config: Mapping[str, Any]) -> str | None:
    """What the step names as the schema file of what it writes; None where it is not known yet."""
    destination = config.get(_FIELD[0])
    named = destination.get(_FIELD[1]) if isinstance(destination, Mapping) else None
    return named if isinstance(named, str) else None
