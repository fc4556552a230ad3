"""How many bytes a query may scan, by its step, its template and the tenant's plan."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.engine.explain import explain
from shared.engine.launch import first_message
from shared.engine.prepare import RunRequest, TemplatePath, prepare
from shared.tenancy.tenants import TenantProfile, TenantStatus
from tests.component.shared.engine.logs import run_rows
from tests.component.shared.engine.templates import templates
from tests.component.shared.post import Post, deliver

pytestmark = pytest.mark.usefixtures("central")

TEXT = """
max_bytes_billed: {limit}
steps:
  - step_id: "read"
    ps_type: "gcp.bigquery_to_bigquery"
    source:
      query: |
        SELECT COUNT(pipeline_id) AS n
        FROM `{{project_id}}.{{tenant_id}}.x_meta_pipeline_runs_log`
    destination: {{table: "counted"}}
"""
PLAN_OF_STARTERS = 107_374_182_400


@pytest.fixture
def profile(fresh: Callable[[], str], tenant: str) -> TenantProfile:
    return TenantProfile(
        tenant_id=tenant, admin_email="a@b.example", status=TenantStatus.ACTIVE,
        subscription_plan="STARTER", created_at=datetime.now(UTC),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "expected"), [(1_000, 1_000), (PLAN_OF_STARTERS * 2, PLAN_OF_STARTERS)]
)
def test_smaller_limit_of_template_and_plan_travels_with_the_run(
    profile: TenantProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    limit: int, expected: int,
) -> None:  # fmt: skip
    with templates(tmp_path / "c", monkeypatch, limited=TEXT.format(limit=limit)):
        pipeline, run = prepare(RunRequest(TemplatePath("gcp", "test", "limited")), profile)

    assert pipeline.max_bytes_billed == expected
    assert first_message(pipeline, run).max_bytes_billed == expected


def test_query_above_the_templates_limit_fails_the_run_and_is_foreseen(
    profile: TenantProfile, post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.engine import outcomes

    request = RunRequest(TemplatePath("gcp", "test", "limited"))
    with templates(tmp_path / "c", monkeypatch, limited=TEXT.format(limit=1)):
        pipeline, run = prepare(request, profile)
        outcomes.record_run(run, "PENDING")  # so that there is something to count
        explained = explain(request, profile)
    deliver(first_message(pipeline, run))

    (row,) = run_rows(run)
    assert (row["status"], row["error_code"]) == ("FAILED", "too-many-bytes")
    assert "max_bytes_billed allows 1:" in row["error"]
    refusal = explained.steps[0].foresight.refusal
    assert refusal is not None
    assert refusal.code == "too-many-bytes"
