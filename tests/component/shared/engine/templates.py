"""Templates of a test's own, in place of the deployment's."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.engine import prepare
from shared.settings import BUNDLE_ROOT, settings

CHAIN = """
pipeline_id: "{tenant_id}-chain"
description: "Three steps of {tenant_id}"
variables:
  source: "{project_id}.{tenant_id}.x_meta_pipeline_runs_log"
  wanted: 3
steps:
  - step_id: "first"
    ps_type: "gcp.bigquery_to_bigquery"
    source:
      query: "SELECT n FROM UNNEST(GENERATE_ARRAY(1, {wanted})) AS n"
    destination: {table: "numbers", write: "append"}
  - step_id: "second"
    ps_type: "gcp.bigquery_to_bigquery"
    source:
      query: "SELECT {steps.first.rows_processed} AS counted, COUNT(*) AS n FROM `{source}`"
    destination: {table: "counts", write: "append"}
  - step_id: "third"
    ps_type: "gcp.bigquery_to_bigquery"
    source:
      query: "SELECT 'done' AS text"
    destination: {table: "texts", write: "append"}
  - step_id: "alert"
    ps_type: "shared.email_notification"
    trigger: "on_failure"
    to_emails: ["{admin_email}"]
    subject: "Run failed"
    message: "{error_message}"
"""


@contextmanager
def templates(folder: Path, monkeypatch: pytest.MonkeyPatch, **texts: str) -> Iterator[None]:
    """Let `gcp/test/{name}` be the template of each text while the block lasts."""
    folder.mkdir()
    shutil.copy(BUNDLE_ROOT / "configs" / "plans.yml", folder)
    place = folder / "gcp" / "test"
    place.mkdir(parents=True)
    for name, text in texts.items():
        (place / f"{name}.yml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("CONFIGS_DIR", str(folder))
    settings.cache_clear()
    prepare.library.cache_clear()
    yield
    prepare.library.cache_clear()
