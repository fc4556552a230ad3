"""The examples of the template architecture's sections 1, 2, 5 and 6, and of the overview."""

# ruff: noqa: E501 - messages in one piece

import datetime as dt
from pathlib import Path

import pytest

from shared.errors import InvalidInputError
from shared.templates.loader import TemplateLibrary
from shared.templates.problems import TemplateError
from shared.templates.resolver import fill, resolve

VALID = TemplateLibrary(Path("tests/data/templates/valid").resolve())


def acme(facts, **replaced):
    return facts(**({"tenant_id": "acmeinc_23xv2", "date": dt.date(2025, 11, 15)} | replaced))


def test_section_2_resolves_as_shown_for_the_first_tenant(facts):
    pipeline = resolve(VALID.named("gcp/cost/cost_billing"), acme(facts))
    extract, notify = pipeline.steps
    assert pipeline.pipeline_id == "acmeinc_23xv2-gcp-cost-billing"
    assert (
        pipeline.description
        == "Extract GCP billing costs for tenant acmeinc_23xv2 - date 2025-11-15"
    )
    assert extract.config["source"]["query"] == {
        "sql": "SELECT * FROM `gac-prod-471220.cloudact_cost_usage.gcp_billing_export_v1`\n"
        "WHERE DATE(usage_start_time) = @date\n",
        "parameters": [{"name": "date", "type": "DATE", "value": "2025-11-15"}],
    }
    assert extract.config["destination"] == {
        "dataset_type": "gcp_silver_cost",
        "table": "billing_cost_daily",
        "schema_template": "billing_cost",
    }
    assert notify.trigger == "on_failure"
    assert notify.config["to_emails"] == ["guru.kallam@gmail.com", "guru.kallam@gmail.com"]
    assert notify.config["subject"] == "[ALERT] Cost Billing Pipeline Failed - acmeinc_23xv2"


def test_section_2_gives_the_second_tenant_its_own(facts):
    pipeline = resolve(
        VALID.named("gcp/cost/cost_billing"), acme(facts, tenant_id="techcorp_99zx4")
    )
    assert pipeline.pipeline_id == "techcorp_99zx4-gcp-cost-billing"
    assert "techcorp_99zx4" in pipeline.steps[1].config["message"]
    assert "acmeinc" not in pipeline.model_dump_json()


def test_section_2_elided_table_name_is_refused_when_it_loads(facts, library):
    text = (VALID.root / "gcp/cost/cost_billing.yml").read_text().replace("_export_v1", "...")
    with pytest.raises(TemplateError, match=r"source_billing_table.*letters, digits"):
        library({"gcp/cost/cost_billing": text}).named("gcp/cost/cost_billing")


def test_section_5_body_overrides_the_template_and_names_who_triggered(facts):
    body = {
        "date": "2025-11-15",
        "trigger_by": "finance_team",
        "admin_email": "finance@acmeinc.com",
    }
    pipeline = resolve(
        VALID.named("gcp/cost/cost_billing"),
        acme(facts, date=dt.date(2024, 1, 1), trigger_by=""),
        body,
    )
    assert {name: pipeline.variables[name] for name in ("tenant_id", "pipeline_id", *body)} == {
        "tenant_id": "acmeinc_23xv2",
        "pipeline_id": "acmeinc_23xv2-gcp-cost-billing",
        **body,
    }
    assert pipeline.steps[1].config["to_emails"] == ["finance@acmeinc.com", "guru.kallam@gmail.com"]
    assert pipeline.steps[1].config["message"] == (
        "ALERT: Cost billing failed for acmeinc_23xv2\n"
        "Date: 2025-11-15\n"
        "Pipeline: acmeinc_23xv2-gcp-cost-billing\n"
    )


def test_section_1_onboarding_resolves_for_a_new_tenant(facts):
    pipeline = resolve(
        VALID.named("customer/onboarding"), acme(facts), {"admin_email": "admin@acmeinc.com"}
    )
    create, welcome = pipeline.steps
    assert (pipeline.provider, pipeline.domain, pipeline.template_name) == (
        "customer",
        "",
        "onboarding",
    )
    assert pipeline.pipeline_id == "acmeinc_23xv2-customer-onboarding"
    assert create.name == "Create Tenant Dataset and Metadata Tables"
    assert create.config["config"]["gcp_project_id"] == "gac-prod-471220"
    assert create.config["config"]["dataset_id"] == "acmeinc_23xv2"
    assert welcome.name == "send_welcome_email"
    assert welcome.config["to_emails"] == ["admin@acmeinc.com"]
    assert welcome.config["message"].endswith("Dataset: gac-prod-471220.acmeinc_23xv2\n")


def test_section_6_template_for_new_pipelines_resolves_from_its_path(library, facts):
    text = """\
pipeline_id: "{tenant_id}-{provider}-{domain}-{template_name}"
description: "Process {domain} data for tenant {tenant_id} on {date}"
variables:
  # Define defaults (can be overridden via API request body)
  source_table: "project.dataset.table"
  destination_dataset_type: "{provider}_silver_{domain}"
  destination_table: "output_table"
  admin_email: "guru.kallam@gmail.com"
steps:
  - step_id: "process_data"
    name: "Process Data"
    ps_type: "{provider}.processor_engine"
    source:
      query: "SELECT * FROM `{source_table}` WHERE date = '{date}'"
    destination:
      dataset_type: "{destination_dataset_type}"
      table: "{destination_table}"
"""
    compiled = library({"gcp/usage/vm_hours": text}).named("gcp/usage/vm_hours")
    pipeline = resolve(compiled, acme(facts))
    step = pipeline.steps[0]
    assert pipeline.pipeline_id == "acmeinc_23xv2-gcp-usage-vm_hours"
    assert pipeline.description == "Process usage data for tenant acmeinc_23xv2 on 2025-11-15"
    assert (step.ps_type, step.family) == ("gcp.processor_engine", "gcp")
    assert step.config["destination"]["dataset_type"] == "gcp_silver_usage"
    assert (
        step.config["source"]["query"]["sql"]
        == "SELECT * FROM `project.dataset.table` WHERE date = @date"
    )


def test_overview_example_takes_processors_by_their_other_names(facts):
    pipeline = resolve(VALID.named("gcp/cost/aliases"), acme(facts))
    extract, notify = pipeline.steps
    assert pipeline.pipeline_id == "acmeinc_23xv2_gcp_cost_billing"
    assert extract.ps_type == "gcp.bigquery_to_bigquery"
    assert (
        extract.config["source"]["query"]["sql"]
        == "SELECT * FROM `billing_export` WHERE date=@date"
    )
    assert (notify.ps_type, notify.family) == ("shared.email_notification", "shared")
    assert notify.config["to_emails"] == ["admin@acme.example.com"]
    filled = fill(notify.config, {}, error_message="no such table", failed_step="extract")
    assert filled["message"] == "extract: no such table"


@pytest.mark.parametrize("name", ["billing", "billing_cost"])
def test_one_line_templates_are_pipelines_of_their_own_name(name, facts):
    pipeline = resolve(VALID.named(f"gcp/cost/{name}"), facts(tenant_id="acme_corp"))
    parent = resolve(VALID.named("gcp/cost/cost_billing"), facts(tenant_id="acme_corp"))
    assert pipeline.pipeline_id == f"acme_corp-gcp-cost-{name}"
    assert pipeline.steps[0] == parent.steps[0]


@pytest.mark.parametrize(
    "name", ["tenant_id", "provider", "domain", "template_name", "pipeline_id", "run_date"]
)
def test_body_cannot_override_a_built_in(name, facts):
    with pytest.raises(InvalidInputError) as caught:
        resolve(VALID.named("gcp/cost/cost_billing"), facts(), {name: "other"})
    (problem,) = caught.value.problems
    assert problem.pointer == f"/{name}"
    assert "is a built-in variable and cannot be overridden" in problem.problem


def test_date_that_tries_to_be_sql_is_refused(facts):
    with pytest.raises(InvalidInputError) as caught:
        resolve(VALID.named("gcp/cost/cost_billing"), facts(), {"date": "2025-01-01' OR '1'='1"})
    assert str(caught.value) == (
        "date: must be a date as YYYY-MM-DD, not \"2025-01-01' OR '1'='1\"; for example \"2025-11-15\""
    )
