"""`extends:`: what a template takes over and what it replaces."""

# ruff: noqa: E501 - templates in one piece

import pytest

from shared.errors import InvalidInputError
from shared.templates.problems import TemplateError
from shared.templates.resolver import resolve

PARENT = """\
pipeline_id: "{tenant_id}-parent"
description: "Parent of {template_name}"
variables:
  a: "1"
  n: {type: integer, default: 5, description: "How many", choices: [5, 6]}
  needed: {type: string, required: true}
sources: ["p.d.t"]
steps:
  - step_id: "one"
    ps_type: "sample.anything"
    value: "{a} {n} {needed}"
  - step_id: "two"
    ps_type: "sample.anything"
    value: "two"
"""


def child(library, text, **others):
    return library({"gcp/cost/parent": PARENT, "aws/usage/child": text} | others).named(
        "aws/usage/child"
    )


def test_one_line_template_inherits_everything_but_the_pipeline_id(library, facts):
    pipeline = resolve(child(library, "extends: gcp/cost/parent\n"), facts(), {"needed": "x"})
    assert pipeline.pipeline_id == "acme-aws-usage-child"
    assert pipeline.description == "Parent of child"
    assert pipeline.sources == ("p.d.t",)
    assert [step.config["value"] for step in pipeline.steps] == ["1 5 x", "two"]


def test_plain_value_replaces_the_default_and_keeps_the_declaration(library, facts):
    text = "extends: gcp/cost/parent\nvariables:\n  n: 6\n  needed: given\n"
    template = child(library, text)
    assert resolve(template, facts()).steps[0].config["value"] == "1 6 given"
    assert template.variables["n"].description == "How many"
    with pytest.raises(InvalidInputError, match="n: must be an integer"):
        resolve(template, facts(), {"n": "7"})
    with pytest.raises(TemplateError, match="'n': must be one of 5, 6, not 7"):
        child(library, text.replace("n: 6", "n: 7"))


def test_declaration_is_merged_key_by_key(library, facts):
    template = child(
        library,
        "extends: gcp/cost/parent\nvariables:\n  n: {overridable: false}\n  needed: {type: integer}\n",
    )
    assert resolve(template, facts(), {"needed": 3}).steps[0].config["value"] == "1 5 3"
    with pytest.raises(InvalidInputError, match="n: is fixed"):
        resolve(template, facts(), {"needed": 3, "n": 6})


def test_steps_are_replaced_in_place_or_appended(library, facts):
    text = (
        'extends: gcp/cost/parent\npipeline_id: "{tenant_id}-own"\nsources: ["x.y.z"]\nsteps:\n'
        '  - {step_id: "three", ps_type: "sample.anything", value: "three"}\n'
        '  - {step_id: "one", ps_type: "sample.anything", value: "{steps.zero.status}"}\n'
        '  - {step_id: "zero", ps_type: "sample.anything"}\n'
    )
    with pytest.raises(TemplateError, match="step 'zero' has no result yet"):
        child(library, text)
    pipeline = resolve(
        child(library, text.replace("zero.status}", "one}").replace("{steps.one}", "own")),
        facts(),
        {"needed": "x"},
    )
    assert [step.step_id for step in pipeline.steps] == ["one", "two", "three", "zero"]
    assert pipeline.steps[0].config["value"] == "own"
    assert (pipeline.pipeline_id, pipeline.sources) == ("acme-own", ("x.y.z",))


def test_faults_of_the_parent_are_told_with_its_own_file(library):
    broken = PARENT.replace("{a} {n}", "{aa} {n}")
    with pytest.raises(TemplateError) as caught:
        library({"gcp/cost/parent": broken, "aws/usage/child": "extends: gcp/cost/parent\n"}).named(
            "aws/usage/child"
        )
    (problem,) = caught.value.problems
    assert problem.headline.startswith("configs/gcp/cost/parent.yml:11:13: unknown variable 'aa'")


def test_circle_of_templates_is_printed(library):
    templates = library({"a/b/one": "extends: a/b/two\n", "a/b/two": "extends: a/b/one\n"})
    with pytest.raises(TemplateError, match="a/b/one → a/b/two → a/b/one"):
        templates.named("a/b/one")


def test_chain_of_templates(library, facts):
    templates = library(
        {
            "gcp/cost/parent": PARENT,
            "gcp/cost/middle": 'extends: gcp/cost/parent\nvariables:\n  a: "m"\n  needed: "y"\n',
            "gcp/cost/leaf": 'extends: gcp/cost/middle\nvariables:\n  needed: "z"\n',
        }
    )
    assert resolve(templates.named("gcp/cost/leaf"), facts()).steps[0].config["value"] == "m 5 z"
