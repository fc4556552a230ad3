"""`validate --dry-run`: every query of the product's templates, and faults with their lines."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from infra.local.sample_data import Shape, write
from shared.clients import bigquery_client
from shared.templates import scaffold
from shared.templates.__main__ import main
from shared.templates.dry_runs import dry_run
from shared.templates.loader import TemplateLibrary
from shared.warehouse import tables
from shared.warehouse.schemas import load_table

DAY = date(2025, 11, 15)
BROKEN = """\
variables:
  source_billing_table: "{project_id}.%s.gcp_billing_export_v1"
sources: ["{source_billing_table}"]
steps:
  - step_id: "extract"
    ps_type: "gcp.bigquery_to_bigquery"
    source:
      query: |
        SELECT {date} AS usage_date,
          kost
        FROM `{source_billing_table}`
    destination: {dataset_type: "gcp_silver_cost", table: "x"}
"""


@pytest.fixture
def export(fresh: Callable[[], str]) -> str:
    """A dataset with a billing export."""
    dataset = fresh()
    write(bigquery_client(), dataset, shape=Shape(rows=1400, days=2))
    return dataset


def configs(folder: Path, text: str) -> Path:
    file = folder / "configs" / "gcp" / "cost" / "mine.yml"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    return folder / "configs"


def test_a_good_query_is_asked_and_nothing_is_made(
    tenant: str, export: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = configs(tmp_path, (BROKEN % export).replace("kost", "cost"))

    assert main(["--configs", str(root), "validate", "--dry-run", tenant]) == 0

    assert "1 steps with queries asked of BigQuery" in capsys.readouterr().out
    made = [dataset.dataset_id for dataset in bigquery_client().list_datasets()]
    assert f"{tenant}_gcp_silver_cost" not in made


def test_a_broken_query_is_shown_where_it_is_written(
    tenant: str, export: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = configs(tmp_path, BROKEN % export)

    assert main(["--configs", str(root), "validate", "--dry-run", tenant]) == 1

    said = capsys.readouterr().err
    assert "configs/gcp/cost/mine.yml:" in said
    assert "extract: " in said
    assert "kost" in said
    assert "^" in said


def test_a_table_that_is_not_a_source_is_refused(
    tenant: str, export: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (BROKEN % export).replace("kost", "cost").replace('["{source_billing_table}"]', "[]")
    root = configs(tmp_path, text)

    assert main(["--configs", str(root), "validate", "--dry-run", tenant]) == 1
    assert "belongs neither to tenant" in capsys.readouterr().err


def test_queries_of_the_product_are_good(tenant: str) -> None:
    write(bigquery_client(), "billing_export", shape=Shape(rows=1400, days=2))
    billing = TemplateLibrary(Path("configs")).named("gcp/cost/cost_billing")

    before = dry_run(billing, tenant, DAY)
    dataset = f"{tenant}_gcp_silver_cost"
    tables.ensure_dataset(dataset, labels={tables.OWNER_LABEL: tenant})
    tables.ensure_relation(dataset, load_table("gcp/billing_cost_daily"))
    after = dry_run(billing, tenant, DAY)

    assert (before.problems, after.problems) == ((), ())
    assert after.waiting == ()
    assert after.asked >= 2


def test_every_query_of_every_template_is_good(tenant: str) -> None:
    for detailed in (False, True):
        write(
            bigquery_client(), "billing_export", shape=Shape(rows=1400, days=2), detailed=detailed
        )
    library = TemplateLibrary(Path("configs"))

    found = {name: dry_run(library.named(name), tenant, DAY) for name in library.names()}

    assert {
        name: [str(one) for one in it.problems] for name, it in found.items() if it.problems
    } == {}
    with_queries = {name for name, it in found.items() if it.asked}
    assert with_queries == {name for name in library.names() if name != "customer/onboarding"}


def test_a_table_of_ones_own_that_no_run_has_made_is_said_and_no_fault(
    tenant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scaffold.write(tmp_path, "gcp/cost/mine", Path("schemas/pipeline.schema.json"))
    template = TemplateLibrary(tmp_path).named("gcp/cost/mine")

    found = dry_run(template, tenant, DAY)

    assert [one.message.partition(":")[0] for one in found.waiting] == ["check"]
    assert [one.message.partition(":")[0] for one in found.problems] == ["extract"]
    assert main(["--configs", str(tmp_path), "validate", "--dry-run", tenant]) == 1
    assert "ask again after a run has made it" in capsys.readouterr().out
