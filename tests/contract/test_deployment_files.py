"""Build files, scripts and command lines of a deployment, by the schemas of their tools."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from infra import topology
from tests.gcloud import lines, record
from tests.gcloud.lines import Line

ROOT = Path(__file__).parents[2]
TOPOLOGY = topology.load()
BUILD_FILES = sorted(file.name for file in ROOT.glob("cloudbuild*.yaml"))
SCRIPTS = sorted(file.name for file in (ROOT / "infra").glob("*.sh"))
DEPLOY = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
LINES = lines.written()


def _recorded(name: str) -> Any:
    return json.loads((record.DATA / name).read_text(encoding="utf-8"))


def _build(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def _texts(value: Any) -> str:
    """Everything that a build says, for substitutions and commands."""
    return json.dumps(value).replace("\\n", "\n").replace('\\"', '"')


@pytest.mark.parametrize("name", BUILD_FILES)
def test_a_build_file_is_what_cloud_build_takes(name: str) -> None:
    jsonschema.validate(_build(name), _recorded("cloudbuild.schema.json"))


def test_the_schema_refuses_what_cloud_build_does_not_know() -> None:
    build = _build("cloudbuild.yaml")
    build["steps"][0]["arguments"] = ["x"]
    with pytest.raises(jsonschema.ValidationError, match="arguments"):
        jsonschema.validate(build, _recorded("cloudbuild.schema.json"))


@pytest.mark.parametrize("name", BUILD_FILES)
def test_steps_wait_for_earlier_ones_and_substitutions_have_values(name: str) -> None:
    build = _build(name)
    seen: set[str] = set()
    for step in build["steps"]:
        assert set(step.get("waitFor", ())) <= seen, step["id"]
        seen.add(step["id"])
        assert bool(step.get("script")) != bool(step.get("entrypoint")), step["id"]
    used = set(re.findall(r"\$\{?(_[A-Z_]+)", _texts(build["steps"])))
    assert used == set(build["substitutions"])
    assert build["options"]["automapSubstitutions"] is True


@pytest.mark.parametrize("name", BUILD_FILES)
def test_steps_call_targets_modules_and_files_that_exist(name: str) -> None:
    text = _texts(_build(name)["steps"])
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for step in _build(name)["steps"]:
        called = step.get("args", []) if step.get("entrypoint") == "make" else []
        called += re.findall(r"(?m)^\s*make ([a-z-]+)", step.get("script", ""))
        assert set(called) <= targets
    for module in re.findall(r"-m ((?:shared|infra|functions)[a-z_.]*)", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file() or (
            ROOT / module.replace(".", "/") / "__main__.py"
        ).is_file()
    for script in re.findall(r"infra/[a-z]+\.sh", text):
        assert (ROOT / script).stat().st_mode & 0o100


@pytest.mark.parametrize("name", BUILD_FILES)
def test_builds_use_the_versions_of_this_repository(name: str) -> None:
    wanted = (ROOT / "infra/terraform/.terraform-version").read_text(encoding="utf-8").strip()
    images = {step["name"] for step in _build(name)["steps"]}
    assert {i for i in images if "terraform" in i} == {f"hashicorp/terraform:{wanted}"}
    python = TOPOLOGY.runtime.removeprefix("python3")
    assert {i for i in images if i.startswith("python")} == {f"python:3.{python}"}


@pytest.mark.parametrize("place", [*BUILD_FILES, *SCRIPTS])
def test_scripts_can_be_read_by_their_shells(place: str) -> None:
    if place in SCRIPTS:
        scripts = [(ROOT / "infra" / place).read_text(encoding="utf-8")]
    else:
        scripts = [step["script"] for step in _build(place)["steps"] if "script" in step]
    for script in scripts:
        shell = script.splitlines()[0].split()[-1].rpartition("/")[2].removeprefix("#!")
        done = subprocess.run(
            [shell, "-n"], input=script, capture_output=True, text=True, timeout=30, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.place}: {line.text[:60]}")
def test_a_gcloud_line_is_a_command_with_flags_that_it_has(line: Line) -> None:
    assert lines.problems(line, _recorded("commands.json")["commands"]) == []


def test_wrong_gcloud_lines_are_found() -> None:
    commands = _recorded("commands.json")["commands"]
    wrong = Line("x", "gcloud secrets versions add name --datafile=- | cat --nothing")
    assert lines.problems(wrong, commands) == [
        "x: gcloud secrets versions add has no flag --datafile"
    ]
    (told,) = lines.problems(Line("x", "gcloud secret add name"), commands)
    assert told.startswith("x: no such command")


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_the_installed_sdk_knows_every_command_and_flag_too() -> None:
    root, _ = record.sdk()
    commands = record.commands(record.command_tree(root))
    assert [problem for line in LINES for problem in lines.problems(line, commands)] == []


def test_every_alert_has_a_section_in_the_runbook() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    sections = [
        title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", runbook, re.MULTILINE)
    ]
    assert {alert.replace("_", "-") for alert in TOPOLOGY.alerts} <= set(sections)


def test_the_guide_gives_every_secret_a_value() -> None:
    added = set(re.findall(r"gcloud secrets versions add ([a-z-]+)", DEPLOY))
    assert added == set(TOPOLOGY.secrets)


def test_the_guide_speaks_of_files_that_exist() -> None:
    text = DEPLOY.replace("$ENVIRONMENT", "dev")
    paths = re.findall(r"(?:infra|tests|docs|configs)/[A-Za-z0-9_./-]+[A-Za-z0-9]", text)
    made = {"infra/terraform/.terraform.lock.hcl"}
    assert [path for path in paths if path not in made and not (ROOT / path).exists()] == []
    for folder in re.findall(r'-(?:backend-config|var-file)="([^"]+)"', text):
        assert (ROOT / "infra/terraform" / folder).is_file()
