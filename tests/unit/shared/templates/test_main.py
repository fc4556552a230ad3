"""The command line: what it prints and how it ends."""

# ruff: noqa: E501 - templates in one piece

import json

import pytest
from google.auth.exceptions import DefaultCredentialsError

from shared.templates.__main__ import main

GOOD = 'variables:\n  table: "costs"\n  days: 7\nsteps:\n  - step_id: "a"\n    ps_type: "sample.anything"\n    value: "{table} {days} {error_message}"\n'


@pytest.fixture
def run(library, capsys):
    def command(templates, *arguments):
        root = library(templates).root
        code = main(
            ["--configs", str(root), *(text.replace("ROOT", str(root)) for text in arguments)]
        )
        out, err = capsys.readouterr()
        return code, out, err

    return command


def test_validate_is_silent_about_good_templates(run):
    assert run({"gcp/cost/a": GOOD, "gcp/cost/b": GOOD}, "validate") == (
        0,
        "2 templates, all good\n",
        "",
    )


def test_validate_prints_every_fault_and_ends_with_1(run):
    bad = GOOD.replace("{days}", "{dayz}").replace("sample.anything", "sample.anythin")
    code, out, err = run(
        {"gcp/cost/a": bad, "gcp/cost/b": GOOD, "gcp/cost/c": "steps: ["}, "validate"
    )
    assert (code, out) == (1, "3 templates, 2 broken\n")
    assert (
        "configs/gcp/cost/a.yml:6:14: unknown ps_type 'sample.anythin'; did you mean sample.anything?"
        in err
    )
    assert "configs/gcp/cost/a.yml:7:21: unknown variable 'dayz'; did you mean days?\n" in err
    assert (
        '        value: "{table} {dayz} {error_message}"\n                        ^^^^^^\n' in err
    )
    assert "configs/gcp/cost/c.yml:1:" in err


@pytest.mark.parametrize("path", ["gcp/cost/a", "ROOT/gcp/cost/a.yml"])
def test_validate_takes_files_and_names(run, path):
    templates = {"gcp/cost/a": GOOD, "gcp/cost/b": "steps: ["}
    assert run(templates, "validate", path) == (0, "1 templates, all good\n", "")


def test_validate_of_an_unknown_name_says_what_is_near(run):
    code, _, err = run({"gcp/cost/abc": GOOD}, "validate", "gcp/cost/abd")
    assert code == 1
    assert err == "Template 'abd' does not exist. Did you mean abc?\n"


def test_validate_finds_files_with_the_wrong_ending(run, library):
    root = library({"gcp/cost/a": GOOD}).root
    (root / "gcp" / "cost" / "b.yaml").write_text(GOOD)
    code, _, err = run({}, "validate")
    assert code == 1
    assert "b.yaml: not loaded; template files end in .yml, so rename it" in err


def test_explain_prints_values_with_their_origins(run):
    code, out, _ = run(
        {"gcp/cost/a": GOOD},
        *(
            "explain",
            "gcp/cost/a",
            "--tenant",
            "acme",
            "--date",
            "2025-11-15",
            "--set",
            "table=other",
            "--set",
            "days=9",
        ),
    )
    assert code == 0
    assert "pipeline_id: acme-gcp-cost-a\n" in out
    assert "    value: other 9 {error_message}\n" in out
    lines = {line.split(":")[0].strip(): line for line in out.splitlines() if "  # " in line}
    assert lines["tenant_id"].endswith("# built-in")
    assert lines["table"].split(":")[1].split() == ['"other"', "#", "body"]
    assert lines["date"].split(":")[1].split()[0] == '"2025-11-15"'


def test_explain_tells_of_a_bad_value(run):
    code, out, err = run(
        {"gcp/cost/a": GOOD}, "explain", "gcp/cost/a", "--tenant", "acme", "--set", "days=many"
    )
    assert (code, out) == (1, "")
    assert err == 'days: must be an integer, not "many"; for example 7\n'


def test_explain_tells_of_a_tenant_and_a_date_that_cannot_be(run, capsys):
    explain = ("explain", "gcp/cost/a", "--tenant")
    code, out, err = run({"gcp/cost/a": GOOD}, *explain, "Acme!")
    assert (code, out) == (1, "")
    assert "tenant: must be 3 to 50 characters" in err
    with pytest.raises(SystemExit):
        run({"gcp/cost/a": GOOD}, *explain, "acme", "--date", "2025-13-15")
    assert "must be a day as YYYY-MM-DD, such as 2025-11-15" in capsys.readouterr().err


def test_validate_of_nothing_is_no_success(tmp_path, capsys):
    assert main(["--configs", str(tmp_path / "nowhere"), "validate"]) == 1
    assert "There is no template below" in capsys.readouterr().err


def test_dry_run_without_a_bigquery_says_how_to_get_one(monkeypatch, capsys):
    def no_login(*_, **__):
        raise DefaultCredentialsError("no credentials")

    monkeypatch.setattr("shared.templates.dry_runs.dry_run", no_login)
    assert main(["validate", "gcp/cost/dryrun", "--dry-run", "acme"]) == 1
    assert "run `make up` and set BIGQUERY_EMULATOR_HOST" in capsys.readouterr().err


def test_schema_is_written_and_checked(run, tmp_path):
    file = tmp_path / "schema.json"
    assert run({}, "schema", "--check", "--file", str(file))[0] == 1
    assert run({}, "schema", "--file", str(file))[0] == 0
    assert run({}, "schema", "--check", "--file", str(file))[0] == 0
    assert json.loads(file.read_text())["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_validate_of_a_schema_file_that_is_not_there_says_what_is_near(tmp_path, capsys):
    file = tmp_path / "gcp" / "cost" / "mine.yml"
    file.parent.mkdir(parents=True)
    written = '"gcp/billing_cost_dayly"'
    file.write_text(
        'steps:\n  - step_id: "a"\n    ps_type: "gcp.bigquery_to_bigquery"\n    source: {query: "SELECT 1 AS n"}\n'
        f'    destination: {{table: "t", schema_template: {written}}}\n'
    )
    assert main(["--configs", str(tmp_path), "validate"]) == 1
    assert (
        "mine.yml:5:48: destination.schema_template: there is no schemas/gcp/billing_cost_dayly.json;"
        " did you mean gcp/billing_cost_daily"
    ) in capsys.readouterr().err
    file.write_text(file.read_text().replace(written, '"gcp/billing_cost_daily"'))
    assert main(["--configs", str(tmp_path), "validate"]) == 0
