"""A template's document becomes a compiled template: once per process, with every fault at once."""

from collections.abc import Mapping as MappingType

from shared.templates import built_ins, checks, plans, structure
from shared.templates.compiled import CompiledTemplate
from shared.templates.declarations import compile_variables
from shared.templates.document import Mapping, Scalar, Sequence, plain
from shared.templates.expressions import Expressions, Scope, names_in, reached
from shared.templates.placeholders import Placeholder, split
from shared.templates.plan import Constant, Tree, list_of
from shared.templates.plans import Parts
from shared.templates.problems import Problems
from shared.templates.steps import compile_steps
from shared.templates.value_types import ValueType
from shared.templates.variables import Variable


def compile_template(
    document: Mapping, provider: str, domain: str, template_name: str, file: str
) -> CompiledTemplate:
    """Compile a template whose parents are merged in already.

    Raises:
        TemplateError: every fault of the template, each with its place.
    """
    problems = Problems()
    path = {"provider": provider, "domain": domain, "template_name": template_name}
    structure.check(document, problems)
    variables, kinds = compile_variables(document.values.get("variables"), file, problems)
    steps = compile_steps(document, kinds, path, problems)
    parts = Parts(
        path=path,
        kinds=kinds,
        variables=variables,
        pipeline_id=_pipeline_id(document, path, problems),
        description=_text(document, "description", Scope(kinds), problems),
        sources=_sources(document, variables, kinds, problems),
        steps=steps,
    )
    checks.check_samples(parts, document, problems)
    problems.raise_if_any()
    return CompiledTemplate(
        provider=provider,
        domain=domain,
        template_name=template_name,
        file=file,
        variables=variables,
        kinds=kinds,
        steps=tuple(steps),
        closed=plans.build(parts, folds_defaults=True),
        open=plans.build(parts, folds_defaults=False),
        variable_nodes=document.values.get("variables"),
        max_bytes_billed=plain(document.values["max_bytes_billed"])
        if "max_bytes_billed" in document.values
        else None,
        needs_admin_email="admin_email" not in variables
        and "admin_email" in set(names_in(document)),
    )


def _pipeline_id(document: Mapping, path: MappingType[str, str], problems: Problems) -> Tree:
    node = document.values.get("pipeline_id")
    scope = Scope({name: built_ins.TYPES[name] for name in built_ins.IN_PIPELINE_ID})
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        text = plans.pipeline_id_of(path)
        node = Scalar(document.source, document.start, document.start, text)
    for part in split(str(node.value)):
        if isinstance(part, Placeholder) and scope.fault(part.name):
            problems.add(
                node.place_of(part.token, part.occurrence),
                f"pipeline_id may hold {_listed(built_ins.IN_PIPELINE_ID)} only, not {part.token}",
            )
    return Expressions(scope, Problems()).as_text(node)


def _text(document: Mapping, key: str, scope: Scope, problems: Problems) -> Tree:
    node = document.values.get(key)
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return Constant("")
    return Expressions(scope, problems).as_text(node)


def _sources(
    document: Mapping,
    variables: MappingType[str, Variable],
    kinds: MappingType[str, ValueType],
    problems: Problems,
) -> Tree:
    """The tables that the template may read; no text of a tenant can be part of their names."""
    node = document.values.get("sources")
    if not isinstance(node, Sequence):
        return Constant([])
    expressions = Expressions(Scope(kinds), problems)
    variable_nodes = document.values.get("variables")
    for item in node.items:
        for name in reached(item, variable_nodes):
            lacks_default = name in variables and variables[name].tree is None
            if lacks_default or (name in built_ins.TYPES and name not in built_ins.IN_SOURCES):
                problems.add(
                    item.place,
                    f"sources may not depend on {{{name}}}, which a tenant can choose",
                )
    texts = [
        item for item in node.items if isinstance(item, Scalar) and isinstance(item.value, str)
    ]
    return list_of([expressions.as_text(item) for item in texts])


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)
