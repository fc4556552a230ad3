"""What a run left behind, as its tenant sees it in the views."""

from typing import Any

from shared.processors.contract import RunIdentity
from shared.warehouse import rows
from shared.warehouse.queries import query


def run_rows(run: RunIdentity) -> list[dict[str, Any]]:
    """The rows of the run in the view of runs."""
    return rows.read(
        query(
            f"SELECT * FROM `{run.tenant_id}.x_meta_pipeline_runs` WHERE pipeline_logging_id = @id",
            id=run.pipeline_logging_id,
        )
    )


def step_rows(run: RunIdentity) -> list[dict[str, Any]]:
    """The rows of the run in the view of steps, by step and attempt."""
    return rows.read(
        query(
            f"SELECT * FROM `{run.tenant_id}.x_meta_step_logs`"
            " WHERE pipeline_logging_id = @id ORDER BY step_index, attempt",
            id=run.pipeline_logging_id,
        )
    )


def steps(run: RunIdentity) -> list[tuple[str, int, str]]:
    """Step, attempt and status of each row of the view of steps."""
    return [(row["step_id"], row["attempt"], row["status"]) for row in step_rows(run)]


def status(run: RunIdentity) -> str:
    """The status of the run, which must have one row exactly."""
    (row,) = run_rows(run)
    return str(row["status"])
