"""Files of tests/data/templates: each valid one resolves, each invalid one says what it states."""

# ruff: noqa: E501 - templates in one piece

import shutil
from pathlib import Path

import pytest

from shared.templates.loader import TemplateLibrary
from shared.templates.problems import TemplateError
from shared.templates.resolver import resolve

DATA = Path("tests/data/templates").resolve()
VALID = TemplateLibrary(DATA / "valid")
INVALID = sorted((DATA / "invalid").glob("*.yml"))
MARK = "# expect: "


@pytest.mark.parametrize("name", VALID.names())
def test_valid_template_resolves(name, facts):
    required = {"owner": "owner@example.com"} if name.endswith("everything") else {}
    pipeline = resolve(VALID.named(name), facts(), required)
    assert pipeline.steps
    assert type(pipeline).model_validate_json(pipeline.model_dump_json()) == pipeline


@pytest.mark.parametrize("file", INVALID, ids=[file.stem for file in INVALID])
def test_invalid_template_states_every_fault_with_its_place(file, tmp_path):
    root = tmp_path / "configs"
    shutil.copytree(DATA / "valid", root)
    shutil.copy(file, root / "gcp" / "cost")
    with pytest.raises(TemplateError) as caught:
        TemplateLibrary(root).named(f"gcp/cost/{file.stem}")
    stated = [
        f"configs/gcp/cost/{file.name}:{line.removeprefix(MARK)}"
        for line in file.read_text(encoding="utf-8").split("\n")
        if line.startswith(MARK)
    ]
    assert stated, "the file states what is expected of it"
    assert [problem.headline for problem in caught.value.problems] == stated


def test_excerpt_shows_the_line_and_points_at_the_fault(compiled):
    with pytest.raises(TemplateError) as caught:
        compiled(
            'steps:\n  - step_id: "a"\n    ps_type: "sample.anything"\n    value: "x {tennant_id}"\n'
        )
    assert str(caught.value) == (
        "configs/gcp/cost/x.yml:4:15: unknown variable 'tennant_id'; did you mean tenant_id?\n"
        '        value: "x {tennant_id}"\n'
        "                  ^^^^^^^^^^^^"
    )


def test_every_fault_of_a_file_is_reported_in_the_order_of_its_lines(faults):
    text = (
        'descripton: "x"\nvariables:\n  a: "{b}"\n  b: "{a}"\nsteps:\n'
        '  - step_id: "A"\n    ps_type: "sample.nothing"\n  - step_id: "b"\n    ps_type: "sample.queries"\n'
        "    query: \"SELECT '%{date}%'\"\n    limt: 5\n"
    )
    found = faults(text)
    parts = ["descripton", "circle", "must match", "unknown ps_type", "part of a string", "limt"]
    assert [part in message for part, message in zip(parts, found, strict=True)] == [True] * 6
