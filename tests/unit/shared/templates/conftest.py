"""Template libraries from text, and the facts of a run."""

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from shared.processors import registry
from shared.templates.built_ins import BuiltIns
from shared.templates.compiled import CompiledTemplate
from shared.templates.loader import TemplateLibrary
from shared.templates.models import ResolvedPipeline
from shared.templates.problems import TemplateError
from shared.templates.resolver import resolve

SAMPLES = "tests.unit.shared.templates.sample_processors"


@pytest.fixture(autouse=True)
def sample_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sample.queries` (SQL in every shape a model may have) and `sample.anything`."""
    monkeypatch.setitem(registry.PROCESSORS, "sample.queries", f"{SAMPLES}:Queries")
    monkeypatch.setitem(registry.PROCESSORS, "sample.anything", f"{SAMPLES}:Anything")
    monkeypatch.setitem(registry.PROCESSORS, "gcp.processor_engine", f"{SAMPLES}:Engine")


@pytest.fixture
def library(tmp_path: Path) -> Callable[..., TemplateLibrary]:
    """A library of templates given as `{"gcp/cost/x": "steps: …"}`."""

    def make(templates: Mapping[str, str]) -> TemplateLibrary:
        root = tmp_path / "configs"
        for path, text in templates.items():
            file = root / f"{path}.yml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return TemplateLibrary(root)

    return make


@pytest.fixture
def compiled(library: Callable[..., TemplateLibrary]) -> Callable[[str], CompiledTemplate]:
    """Compiles a text as `gcp/cost/x`."""
    return lambda text: library({"gcp/cost/x": text}).named("gcp/cost/x")


@pytest.fixture
def resolved(compiled: Callable[[str], CompiledTemplate]) -> Callable[..., ResolvedPipeline]:
    """Compiles a text and resolves it for `acme` on 2025-11-15."""

    def run(
        text: str, overrides: Mapping[str, Any] | None = None, **facts: Any
    ) -> ResolvedPipeline:
        return resolve(compiled(text), make_facts(**facts), overrides)

    return run


@pytest.fixture
def faults(compiled: Callable[[str], CompiledTemplate]) -> Callable[[str], list[str]]:
    """The messages of all problems of a text."""

    def run(text: str) -> list[str]:
        with pytest.raises(TemplateError) as caught:
            compiled(text)
        return [problem.message for problem in caught.value.problems]

    return run


@pytest.fixture
def facts() -> Callable[..., BuiltIns]:
    """Makes the facts of a run, with some replaced."""
    return make_facts


def make_facts(**replaced: Any) -> BuiltIns:
    values: dict[str, Any] = {
        "tenant_id": "acme",
        "date": dt.date(2025, 11, 15),
        "run_date": dt.date(2025, 11, 16),
        "project_id": "convergence-local",
        "pipeline_logging_id": "11111111-2222-4333-8444-555555555555",
        "trigger_by": "finance_team",
        "company_name": "ACME Corporation",
        "billing_account_ids": ["0A1B2C-111111-222222"],
        "admin_email": "admin@acme.example.com",
    }
    return BuiltIns(**(values | replaced))
