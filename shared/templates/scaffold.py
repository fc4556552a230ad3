"""A new template to start from: commented, and valid as it is."""

import os
import re
from pathlib import Path

from shared.errors import ConflictError, FieldProblem, InvalidInputError
from shared.templates.loader import SUFFIX

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}(/[a-z][a-z0-9_]{0,63}){2}", re.ASCII)
_CLOUDS = ("aws", "azure", "gcp")
_SCAFFOLD = """\
# yaml-language-server: $schema=%(schema)s
#
# %(path)s: one line that says what is right after a run
#
# Which table is written, what a run for the same date does again, what has to be there before.
#
#   curl -X POST http://127.0.0.1:8080/api/v1/pipelines/run/acme_corp/%(path)s \\
#     -H "X-API-Key: $API_KEY" -H "Content-Type: application/json" -d '{"date": "2025-11-15"}'

description: "%(title)s of {tenant_id} on {date}"

# What a request body may replace. {tenant_id}, {date}, {project_id} and others are built in.
variables:
  source_table: "{project_id}.%(provider)s_export.%(name)s"
  destination_dataset_type: "%(cloud)s_silver_%(domain)s"
  destination_table: "%(name)s_daily"

# The only tables outside of the tenant's own datasets that queries may read.
sources:
  - "{source_table}"

steps:
  # Replaces the date's partition, so that running a date twice leaves the same rows.
  - step_id: "extract"
    name: "Extract %(title)s"
    ps_type: "gcp.bigquery_to_bigquery"
    timeout_seconds: 600
    retry: {max_attempts: 3, backoff_seconds: 30}
    source:
      query: |
        SELECT DATE(event_time) AS usage_date, COUNT(*) AS events
        FROM `{source_table}`
        WHERE DATE(event_time) = {date}
        GROUP BY usage_date
    destination:
      dataset_type: "{destination_dataset_type}"
      table: "{destination_table}"
      write: "replace_partition"
      # Columns, partitioning and clustering, in schemas/%(provider)s/%(name)s_daily.json:
      # schema_template: "%(provider)s/%(name)s_daily"

  - step_id: "check"
    name: "Check what was written"
    ps_type: "shared.data_quality"
    dataset_type: "{destination_dataset_type}"
    table: "{destination_table}"
    rules:
      - {name: "events_present", check: "not_null", column: "events"}
      - {name: "rows_as_usual", check: "row_count", days: 14, tolerance: 0.5, severity: "warn"}

  - step_id: "notify_on_failure"
    name: "Tell the tenant's administrator"
    ps_type: "shared.email_notification"
    trigger: "on_failure"
    to_emails: ["{admin_email}"]
    subject: "[ALERT] %(title)s failed - {tenant_id} - {date}"
    message: |
      Pipeline: {pipeline_id}
      Run:      {pipeline_logging_id}
      Step:     {failed_step}
      Error:    {error_message}
"""


def write(root: Path, path: str, schema: Path) -> Path:
    """Write a template for `path`, such as aws/security/findings, below `root`; its file.

    Raises:
        InvalidInputError: the path is none.
        ConflictError: there is one already.
    """
    if not _NAME.fullmatch(path):
        problem = (
            "must be provider/domain/name in lower-case letters, digits and underscores, such as"
            " aws/security/findings"
        )
        raise InvalidInputError([FieldProblem("template", problem, path)])
    provider, domain, name = path.split("/")
    file = root / f"{path}{SUFFIX}"
    text = _SCAFFOLD % {
        "schema": Path(os.path.relpath(schema, file.parent)).as_posix(),
        "path": path,
        "provider": provider,
        "cloud": provider if provider in _CLOUDS else "gcp",
        "domain": domain,
        "name": name,
        "title": name.replace("_", " "),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise ConflictError(f"{file} exists; choose another name, or edit it") from None
    return file
