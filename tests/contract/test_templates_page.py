"""docs/templates.md: its examples are templates, its reference is the models'."""

import datetime as dt
import re
from pathlib import Path

import pytest

from shared.processors import registry
from shared.templates import checks, reference, scaffold, schema
from shared.templates.__main__ import main
from shared.templates.built_ins import TYPES, BuiltIns
from shared.templates.loader import TemplateLibrary
from shared.templates.resolver import resolve

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / reference.FILE).read_text(encoding="utf-8")
EXAMPLES = dict(
    re.findall(r"```yaml file=configs/(\S+)\.yml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)
FACTS = BuiltIns(
    tenant_id="acme_corp",
    date=dt.date(2025, 11, 15),
    run_date=dt.date(2025, 11, 16),
    project_id="convergence-local",
    admin_email="admin@acme.example.com",
)


@pytest.fixture
def library(tmp_path: Path) -> TemplateLibrary:
    for name, text in EXAMPLES.items():
        file = tmp_path / "configs" / f"{name}.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return TemplateLibrary(tmp_path / "configs")


def test_there_are_three_examples() -> None:
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_resolves_and_suits_its_processors(name: str, library: TemplateLibrary) -> None:
    template = library.named(name)
    given = (
        {"notify_url": "https://hooks.example.com/"} if "notify_url" in template.variables else {}
    )

    pipeline = resolve(template, FACTS, given)

    checks.verify(template, pipeline)
    assert any(step.trigger == "on_failure" for step in pipeline.steps)


def test_second_example_inherits_as_the_page_says(library: TemplateLibrary) -> None:
    steps = library.named("gcp/cost/daily_total_checked").steps
    assert [step.prototype.step_id for step in steps] == ["total", "notify_on_failure", "check"]


def test_reference_is_that_of_the_models() -> None:
    assert reference.document(PAGE) == PAGE, "run .venv/bin/python -m shared.templates schema"


def test_every_processor_and_built_in_variable_is_there() -> None:
    for name in registry.PROCESSORS:
        assert f"\n### {name}\n" in PAGE
    written = PAGE.partition(reference.BEGIN)[0]
    assert [name for name in TYPES if f"`{{{name}}}`" not in written] == []


@pytest.mark.parametrize("name", ["aws/security/findings", "gcp/a/b", "shared/some_domain/x1"])
def test_a_new_template_is_valid_as_it_is(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "configs"

    assert main(["--configs", str(root), "new", name]) == 0

    assert main(["--configs", str(root), "validate"]) == 0
    template = TemplateLibrary(root).named(name)
    checks.verify(template, resolve(template, FACTS))
    assert "1 templates, all good" in capsys.readouterr().out
    first = (root / f"{name}.yml").read_text().partition("\n")[0]
    pointed = (root / name).parent / first.removeprefix("# yaml-language-server: $schema=")
    assert pointed.resolve() == ROOT / schema.FILE


def test_a_new_template_replaces_none_and_has_a_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scaffold.write(tmp_path, "gcp/cost/x", ROOT / schema.FILE)
    (tmp_path / "gcp" / "cost" / "x.yml").write_text("mine")

    for path in ("gcp/cost/x", "../../x", "gcp/x", "GCP/cost/x", "gcp/cost/x/y"):
        assert main(["--configs", str(tmp_path), "new", path]) == 1
    said = capsys.readouterr().err
    assert "x.yml exists; choose another name, or edit it" in said
    assert "must be provider/domain/name" in said
    assert (tmp_path / "gcp" / "cost" / "x.yml").read_text() == "mine"
    assert [path.name for path in tmp_path.rglob("*.yml")] == ["x.yml"]
