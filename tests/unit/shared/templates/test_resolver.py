"""What a template becomes for one run, and what is filled in while it runs."""

# ruff: noqa: E501 - templates in one piece

import json
import threading

import pytest

from shared.errors import InvalidInputError
from shared.templates import checks
from shared.templates.conditions import ConditionError
from shared.templates.explain import origins
from shared.templates.models import ResolvedPipeline
from shared.templates.resolver import MissingOutputError, fill, holds, resolve

STEPS = 'steps:\n  - step_id: "first"\n    ps_type: "sample.queries"\n    query: "SELECT 1"\n'


def second(**fields):
    lines = "".join(f"    {key}: {json.dumps(value)}\n" for key, value in fields.items())
    return f'{STEPS}  - step_id: "second"\n    ps_type: "sample.anything"\n{lines}'


def value_of(pipeline):
    return pipeline.steps[-1].config["value"]


def test_defaults_of_a_step(resolved):
    step = resolved(STEPS).steps[0]
    assert (step.name, step.trigger, step.timeout_seconds, step.when) == (
        "first",
        "on_success",
        300,
        None,
    )
    assert (step.retry.max_attempts, step.retry.backoff_seconds) == (3, 30)


def test_pipeline_id_is_made_of_the_path_when_the_template_gives_none(resolved):
    assert resolved(STEPS).pipeline_id == "acme-gcp-cost-x"
    assert resolved(f'pipeline_id: "{{tenant_id}}_{{domain}}"\n{STEPS}').pipeline_id == "acme_cost"


def test_values_are_resolved_at_any_depth_and_keys_are_not(resolved):
    value = {"{date}": ["{tenant_id}", {"a": "x {date} y", "b": 5}], "plain": [1, None, True]}
    assert value_of(resolved(second(value=value))) == {
        "{date}": ["acme", {"a": "x 2025-11-15 y", "b": 5}],
        "plain": [1, None, True],
    }


def test_lone_placeholder_keeps_the_type_and_text_does_not(resolved):
    value = ["{billing_account_ids}", "ids: {billing_account_ids}", "{{date}}"]
    assert value_of(resolved(second(value=value))) == [
        ["0A1B2C-111111-222222"],
        "ids: 0A1B2C-111111-222222",
        "{date}",
    ]


def test_resolving_twice_gives_the_same_and_tenants_share_nothing_that_varies(compiled, facts):
    template = compiled(second(value={"who": "{tenant_id}", "all": ["{tenant_id}", "same"]}))
    acme, other = resolve(template, facts()), resolve(template, facts(tenant_id="other"))
    assert value_of(acme) == {"who": "acme", "all": ["acme", "same"]}
    assert value_of(other) == {"who": "other", "all": ["other", "same"]}
    assert resolve(template, facts()) == acme


def test_many_threads_resolve_one_template(compiled, facts):
    template = compiled(second(value="{tenant_id} {date}"))
    found = {}

    def run(number):
        for index in range(200):
            tenant = f"t{number}_{index}"
            found[tenant] = value_of(resolve(template, facts(tenant_id=tenant)))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {f"t{n}_{i}": f"t{n}_{i} 2025-11-15" for n in range(8) for i in range(200)}


def test_resolved_pipeline_survives_json(resolved):
    pipeline = resolved(
        second(value="{steps.first.rows_processed} {date}", when="{steps.first.rows_processed} > 0")
    )
    assert ResolvedPipeline.model_validate_json(pipeline.model_dump_json()) == pipeline


def test_sql_fields_are_found_wherever_a_model_has_them(resolved):
    text = """\
steps:
  - step_id: "a"
    ps_type: "sample.queries"
    query: "SELECT '{date}'"
    optional: "SELECT '{date}'"
    listed: ["SELECT '{date}'", "SELECT 2"]
    paired: ["SELECT '{date}'"]
    named: {one: "SELECT '{date}'"}
    rules: [{name: "{date}", query: "SELECT '{date}'"}]
    either: {name: "{date}", query: "SELECT '{date}'"}
"""
    config = resolved(text).steps[0].config
    bound = {
        "sql": "SELECT @date",
        "parameters": [{"name": "date", "type": "DATE", "value": "2025-11-15"}],
    }
    assert config == {
        "query": bound,
        "optional": bound,
        "listed": [bound, {"sql": "SELECT 2", "parameters": []}],
        "paired": [bound],
        "named": {"one": bound},
        "rules": [{"name": "2025-11-15", "query": bound}],
        "either": {"name": "2025-11-15", "query": bound},
    }


def test_sql_text_with_names_is_built_from_checked_parts(resolved):
    text = (
        'variables:\n  dataset: "d"\n  table: "t"\nsteps:\n  - step_id: "a"\n    ps_type: "sample.queries"\n'
        "    query: \"SELECT 1 FROM `{project_id}.{dataset}.{table}_*` WHERE x = '{{literal}}'\"\n"
    )
    expected = "SELECT 1 FROM `convergence-local.{}.t_*` WHERE x = '{{literal}}'"
    assert resolved(text).steps[0].config["query"]["sql"] == expected.format("d").replace(
        "{{", "{"
    ).replace("}}", "}")
    changed = resolved(text, {"dataset": "e-1"}).steps[0].config["query"]["sql"]
    assert changed == "SELECT 1 FROM `convergence-local.e-1.t_*` WHERE x = '{literal}'"
    with pytest.raises(InvalidInputError, match="dataset: must be a name"):
        resolved(text, {"dataset": "e.f`.g"})


def test_name_as_a_whole_has_at_most_four_parts_and_a_project_of_a_domain(resolved):
    text = (
        'variables:\n  dataset: "d"\nsteps:\n  - step_id: "a"\n    ps_type: "sample.queries"\n'
        '    query: "SELECT 1 FROM `example.com:p.{dataset}.t`"\n'
    )
    assert "`example.com:p.d.t`" in resolved(text).steps[0].config["query"]["sql"]
    with pytest.raises(InvalidInputError, match="dataset: must be a name"):
        resolved(text, {"dataset": "a.b.c"})


def test_outputs_travel_as_late_values_and_are_filled_in(resolved):
    value = {
        "rows": "{steps.first.rows_processed}",
        "text": "{steps.first.rows_processed} rows of {tenant_id}: {steps.first.status}",
        "failed": "{failed_step}: {error_message}",
    }
    config = resolved(second(value=value)).steps[1].config
    assert config["value"]["rows"] == {"$late": [{"ref": "steps.first.rows_processed"}]}
    outputs = {"first": {"rows_processed": 12, "status": "COMPLETED"}}
    filled = fill(config, outputs, error_message="it broke {date}", failed_step="first")
    assert filled["value"] == {
        "rows": 12,
        "text": "12 rows of acme: COMPLETED",
        "failed": "first: it broke {date}",
    }
    assert config["value"]["rows"] == {"$late": [{"ref": "steps.first.rows_processed"}]}


def test_step_without_a_result_counts_as_not_run(resolved):
    value = "{steps.first.rows_processed} {steps.first.status} [{steps.first.error}] [{steps.first.largest}] [{error_message}]"
    config = resolved(second(value=value)).steps[1].config
    assert fill(config, {})["value"] == "0 NOT_RUN [] [] []"


def test_outputs_in_sql_are_parameters_of_their_type(resolved):
    text = STEPS + (
        '  - step_id: "second"\n    ps_type: "sample.queries"\n'
        "    query: \"SELECT {steps.first.rows_processed}, '{steps.first.status}', {steps.first.largest}, "
        'UNNEST({steps.first.tables})"\n'
    )
    query = resolved(text).steps[1].config["query"]
    assert query["sql"] == (
        "SELECT @steps__first__rows_processed, @steps__first__status, @steps__first__largest, "
        "UNNEST(@steps__first__tables)"
    )
    outputs = {
        "first": {"rows_processed": 3, "status": "COMPLETED", "largest": 0.25, "tables": ["a"]}
    }
    parameters = fill(query, outputs)["parameters"]
    assert [(item["type"], item["value"]) for item in parameters] == [
        ("INT64", 3),
        ("STRING", "COMPLETED"),
        ("NUMERIC", "0.25"),
        ("ARRAY<STRING>", ["a"]),
    ]
    with pytest.raises(MissingOutputError) as caught:
        fill(query, {})
    assert caught.value.name == "steps.first.largest"


@pytest.mark.parametrize(
    ("condition", "rows", "expected"),
    [
        ("{steps.first.rows_processed} > 0", 1, True),
        ("{steps.first.rows_processed} > 0", 0, False),
        ("{days} >= 7 and {steps.first.rows_processed} == 1", 1, True),
        ("not ({steps.first.rows_processed} == 1 or {mode} == 'full')", 2, True),
        ("'{mode}' != 'daily'", 0, False),
        ("{steps.first.status} == 'NOT_RUN'", None, True),
        ("{steps.first.largest} == null", 1, True),
        ("{date} < '2026-01-01'", 0, True),
    ],
)
def test_condition_is_decided_with_the_values_of_the_run(resolved, condition, rows, expected):
    head = 'variables:\n  days: 7\n  mode: "daily"\n'
    step = resolved(head + second(value="x", when=condition)).steps[1]
    outputs = {} if rows is None else {"first": {"rows_processed": rows, "status": "COMPLETED"}}
    assert holds(step.when, outputs) is expected


def test_condition_sees_an_override_as_a_value_only(resolved):
    head = 'variables:\n  mode: "daily"\n'
    text = head + second(value="x", when="{mode} == 'daily'")
    assert holds(resolved(text).steps[1].when, {})
    assert not holds(resolved(text, {"mode": "' or true or '"}).steps[1].when, {})


def test_condition_over_values_that_cannot_be_ordered_is_an_error(resolved):
    step = resolved(second(value="x", when="{steps.first.largest} > 5")).steps[1]
    with pytest.raises(ConditionError, match="cannot order 'a' > 5"):
        holds(step.when, {"first": {"largest": "a"}})


def test_step_without_condition_runs(resolved):
    assert holds(resolved(STEPS).steps[0].when, {})


def test_sources_are_resolved_from_defaults_and_the_project(resolved):
    text = f'variables:\n  table: "{{project_id}}.billing.export"\nsources: ["{{table}}", "a.{{tenant_id}}"]\n{STEPS}'
    assert resolved(text).sources == ("convergence-local.billing.export", "a.acme")
    assert resolved(text, {"table": "x.y.z"}).sources == (
        "convergence-local.billing.export",
        "a.acme",
    )


def test_output_is_not_held_against_the_processor_before_it_is_known(compiled, facts):
    template = compiled(
        STEPS + '  - step_id: "tell"\n    ps_type: "shared.email_notification"\n'
        '    to_emails: ["{steps.first.largest}"]\n    subject: "x"\n    message: "x"\n'
    )
    checks.verify(template, resolve(template, facts()))


def test_titles_and_descriptions_are_text_whatever_they_refer_to(resolved):
    head = 'description: "{billing_account_ids}"\nvariables:\n  n: 5\n'
    pipeline = resolved(head + second(value="x", name="{n}"))
    assert (pipeline.description, pipeline.steps[1].name) == ("0A1B2C-111111-222222", "5")


def test_title_cannot_wait_for_an_output(faults):
    (message,) = faults(second(value="x", name="{steps.first.rows_processed} rows"))
    assert "is known only while a run is under way" in message


def test_source_that_is_a_number_is_refused(faults):
    (message,) = faults(
        'variables:\n  n: {type: number, default: 0.5}\nsources: ["{n} x", "a"]\n' + STEPS
    )
    assert message == 'sources: "0.5 x" is not a table such as project.dataset.table'


def test_origins_tell_where_each_value_comes_from(library):
    templates = library(
        {
            "gcp/cost/parent": f'variables:\n  a: "1"\n  b: "2"\n  c: "3"\n{STEPS}',
            "gcp/cost/child": 'extends: gcp/cost/parent\nvariables:\n  b: "4"\n',
        }
    )
    found = origins(templates.named("gcp/cost/child"), {"c": "5", "date": "2025-01-01"})
    assert {name: found[name] for name in ("tenant_id", "date", "a", "b", "c")} == {
        "tenant_id": "built-in",
        "date": "body",
        "a": "inherited from configs/gcp/cost/parent.yml",
        "b": "template",
        "c": "body",
    }


def test_verify_names_the_variable_that_a_processor_refuses(compiled, facts):
    text = (
        'variables:\n  subject: "Costs"\n  who: {type: string, required: true}\nsteps:\n  - step_id: "tell"\n'
        '    ps_type: "shared.email_notification"\n    to_emails: ["{who}"]\n    subject: "{subject}"\n    message: "x"\n'
    )
    template = compiled(text)
    good = {"who": "a@example.com"}
    checks.verify(template, resolve(template, facts(), good), good)
    bad = {"who": "nobody", "subject": ""}
    with pytest.raises(InvalidInputError) as caught:
        checks.verify(template, resolve(template, facts(), bad), bad)
    assert [problem.pointer for problem in caught.value.problems] == ["/who", "/subject"]


def test_required_text_is_not_held_against_the_processor_before_it_is_known(compiled):
    assert compiled(
        'variables:\n  who: {type: string, required: true}\nsteps:\n  - step_id: "tell"\n'
        '    ps_type: "shared.email_notification"\n    to_emails: ["{who}"]\n    subject: "x"\n    message: "x"\n'
    )
