"""Processors of installed packages, and that docs/new-processor.md does what it says."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[4]
PAGE = ROOT / "docs" / "new-processor.md"
_FILE = re.compile(r"```\w+ file=(\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
Install = Callable[..., None]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages."""
    return tmp_path / "site"


@pytest.fixture
def install(site: Path) -> Install:
    """Leave what `pip install` leaves: modules, and the entry points in the metadata."""

    def run(name: str, entry_points: dict[str, str], modules: dict[str, str]) -> None:
        metadata = site / f"{name.replace('-', '_')}-1.0.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n")
        lines = [f"{key} = {value}\n" for key, value in entry_points.items()]
        (metadata / "entry_points.txt").write_text("[convergence.processors]\n" + "".join(lines))
        for path, text in modules.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(text)

    return run


@pytest.fixture
def python(site: Path) -> Callable[..., str]:
    """Runs a script in a fresh interpreter that has these packages; what it prints."""

    def run(script: str, *arguments: str, fails: bool = False) -> str:
        ran = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(site), "GCP_PROJECT_ID": "p"},
        )
        assert bool(ran.returncode) == fails, ran.stderr
        return (ran.stderr if fails else ran.stdout).strip()

    return run


def files_of_the_page() -> dict[str, str]:
    return dict(_FILE.findall(PAGE.read_text(encoding="utf-8")))


def test_the_page_makes_a_processor_that_runs(
    install: Install, python: Any, site: Path, tmp_path: Path
) -> None:
    files = files_of_the_page()
    project = tomllib.loads(files.pop("pyproject.toml"))["project"]
    template = files.pop("configs/gcp/cost/guarded.yml")
    install(project["name"], project["entry-points"]["convergence.processors"], files)
    (tmp_path / "configs" / "gcp" / "cost").mkdir(parents=True)
    (tmp_path / "configs" / "gcp" / "cost" / "guarded.yml").write_text(template)

    validated = python(
        "import sys; from shared.templates.__main__ import main; sys.exit(main(sys.argv[1:]))",
        *("--configs", str(tmp_path / "configs"), "validate"),
    )
    ran = python(
        "from datetime import date\n"
        "from shared.processors import registry\n"
        "from tests.runs import a_context, a_run\n"
        "from shared.errors import Permanent\n"
        "found = registry.load('acme.open_period')\n"
        "config = found.config_model(closed_until='2025-10-31')\n"
        "print(registry.family('acme.open_period'))\n"
        "print(dict(found.run(config, a_context(a_run(date=date(2025, 11, 15)))).outputs))\n"
        "try: found.run(config, a_context(a_run(date=date(2025, 10, 31))))\n"
        "except Permanent as error: print(error.code)\n"
    )

    assert validated == "1 templates, all good"
    assert ran.splitlines() == ["shared", "{'days_open': 15}", "period-closed"]


LOAD = "import sys; from shared.processors import registry; registry.load(sys.argv[1])"
MODULE = """
from shared.models import Model
from shared.processors.contract import Processor, StepResult
class Config(Model): ...
class One(Processor[Config]):
    ps_type = "acme.one"
    config_model = Config
    def run(self, config, context): return StepResult()
"""


@pytest.mark.parametrize(
    ("entry_points", "problem"),
    [
        ({"shared.webhook": "acme:One"}, "'shared.webhook' .*this name is built in"),
        ({"gcp.bq_etl": "acme:One"}, "'gcp.bq_etl' .*this name is built in"),
        ({"Acme/One": "acme:One"}, "'Acme/One' .*name it like acme.carbon"),
        ({"acme.one": "acme:Two"}, "acme:Two cannot be imported"),
        ({"acme.one": "nowhere:One"}, "nowhere:One cannot be imported"),
        ({"acme.one": "acme:Config"}, "acme:Config is no subclass of Processor"),
        ({"acme.one": "acme:One", "acme.two": "acme:One"}, "has the ps_type 'acme.one'"),
    ],
)
def test_entry_points_that_cannot_be_are_errors(
    install: Install, python: Any, entry_points: dict[str, str], problem: str
) -> None:
    install("acme", entry_points, {"acme.py": MODULE})

    stderr = python(LOAD, "acme.two" if "acme.two" in entry_points else "acme.one", fails=True)

    assert re.search(problem, stderr)


def test_a_name_of_two_packages_is_an_error_that_names_both(install: Install, python: Any) -> None:
    install("acme", {"acme.one": "acme:One"}, {"acme.py": MODULE})
    install("other", {"acme.one": "other:One"}, {"other.py": MODULE})

    stderr = python(LOAD, "acme.one", fails=True)

    assert "two packages have it" in stderr
    assert "acme:One" in stderr
    assert "other:One" in stderr


def test_a_broken_package_does_not_touch_what_is_built_in_which_never_asks_for_packages(
    install: Install, python: Any
) -> None:
    install("acme", {"shared.webhook": "acme:One"}, {"acme.py": MODULE})

    asked = python(
        "import importlib.metadata as m; asked = []; found = m.entry_points\n"
        "m.entry_points = lambda **by: asked.append(by) or found(**by)\n"
        "from shared.processors import registry\n"
        "print(registry.load('shared.webhook').ps_type, registry.family('gcp.bq_etl'),\n"
        "      [by for by in asked if by == {'group': registry.ENTRY_POINTS}])"
    )

    assert asked == "shared.webhook gcp []"
