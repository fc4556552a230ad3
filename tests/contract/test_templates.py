"""Every template of configs/ loads and resolves; the schema for editors is up to date."""

import datetime as dt
import inspect
import json
import textwrap
from pathlib import Path

import pytest
import yaml

from shared.processors import registry
from shared.templates import checks, schema
from shared.templates.built_ins import BuiltIns
from shared.templates.loader import TemplateLibrary
from shared.templates.models import ResolvedPipeline
from shared.templates.resolver import resolve

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = TemplateLibrary(ROOT / "configs")
NAMES = LIBRARY.names()
FACTS = BuiltIns(
    tenant_id="acme_corp",
    date=dt.date(2025, 11, 15),
    run_date=dt.date(2025, 11, 16),
    project_id="convergence-local",
    pipeline_logging_id="11111111-2222-4333-8444-555555555555",
    trigger_by="contract",
    company_name="ACME Corporation",
    billing_account_ids=["0A1B2C-111111-222222"],
    admin_email="admin@acme.example.com",
)


def required(template):
    return {name: item.sample for name, item in template.variables.items() if item.tree is None}


@pytest.mark.parametrize("name", NAMES)
def test_template_loads_resolves_and_suits_its_processors(name):
    template = LIBRARY.named(name)
    pipeline = resolve(template, FACTS, required(template))
    checks.verify(template, pipeline)
    assert ResolvedPipeline.model_validate_json(pipeline.model_dump_json()) == pipeline


@pytest.mark.parametrize("name", NAMES)
def test_template_points_editors_at_the_schema(name):
    file = LIBRARY.root / f"{name}.yml"
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    mark = "# yaml-language-server: $schema="
    assert first.startswith(mark)
    assert (file.parent / first.removeprefix(mark)).resolve() == ROOT / schema.FILE


def test_documented_templates_exist():
    expected = {
        "customer/onboarding",
        "gcp/cost/billing",
        "gcp/cost/billing_cost",
        "gcp/cost/cost_billing",
        "gcp/cost/dryrun",
    }
    assert expected <= set(NAMES)


@pytest.mark.parametrize(
    ("name", "pipeline_id"),
    [
        ("customer/onboarding", "acme_corp-customer-onboarding"),
        ("gcp/cost/cost_billing", "acme_corp-gcp-cost-billing"),
        ("gcp/cost/billing_cost", "acme_corp-gcp-cost-billing_cost"),
        ("gcp/cost/billing", "acme_corp-gcp-cost-billing"),
    ],
)
def test_pipelines_have_the_documented_ids(name, pipeline_id):
    template = LIBRARY.named(name)
    assert resolve(template, FACTS, required(template)).pipeline_id == pipeline_id


def test_schema_for_editors_is_up_to_date():
    committed = (ROOT / schema.FILE).read_text(encoding="utf-8")
    assert committed == schema.text(), "run .venv/bin/python -m shared.templates schema"


def test_schema_has_a_branch_for_every_processor_and_alias():
    branches = json.loads(schema.text())["$defs"]["Step"]["allOf"]
    named = [branch["if"]["properties"]["ps_type"]["const"] for branch in branches]
    assert named == registry.known_types()


@pytest.mark.parametrize("ps_type", sorted(registry.PROCESSORS))
def test_every_field_of_a_processor_is_described(ps_type):
    whole = registry.load(ps_type).config_model.model_json_schema()
    models = {"": whole, **whole.get("$defs", {})}

    def described(field):
        return "description" in field or "description" in models.get(
            field.get("$ref", "").rpartition("/")[2] or "-", {}
        )

    bare = [
        f"{ps_type} {model}.{name}"
        for model, definition in models.items()
        for name, field in definition.get("properties", {}).items()
        if not described(field)
    ]
    assert not bare


_WORK = """\
  - step_id: "some_work"
    ps_type: "shared.email_notification"
    to_emails: ["someone@example.com"]
    subject: "Work"
    message: "A step for the example to stand beside"
"""


@pytest.mark.parametrize("ps_type", sorted(registry.PROCESSORS))
def test_example_of_a_processor_is_a_step_that_loads(ps_type, tmp_path):
    documentation = inspect.getdoc(type(registry.load(ps_type))) or ""
    _, fence, rest = documentation.partition("```yaml\n")
    assert fence, f"the docstring of {ps_type} shows a step as YAML"
    example = textwrap.dedent(rest.partition("```")[0])
    assert yaml.safe_load(example)[0]["ps_type"] == ps_type
    (tmp_path / "configs" / "gcp" / "cost").mkdir(parents=True)
    variables = 'variables:\n  source_billing_table: "project.dataset.table"\n'
    text = f"{variables}steps:\n{_WORK}{textwrap.indent(example, '  ')}"
    (tmp_path / "configs" / "gcp" / "cost" / "example.yml").write_text(text, encoding="utf-8")
    assert TemplateLibrary(tmp_path / "configs").named("gcp/cost/example").steps


def test_the_template_of_the_front_page_loads(tmp_path):
    text = Path("README.md").read_text(encoding="utf-8").partition("```yaml\n")[2]
    folder = tmp_path / "configs" / "gcp" / "cost"
    folder.mkdir(parents=True)
    (folder / "my_costs.yml").write_text(text.partition("```")[0], encoding="utf-8")
    assert len(TemplateLibrary(tmp_path / "configs").named("gcp/cost/my_costs").steps) == 2
