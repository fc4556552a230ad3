"""INFORMATION_SCHEMA.JOBS: what the jobs of a project were, as rows."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

from infra.local.bigquery.job import USER, Job
from infra.local.bigquery.jobs import Jobs

KEPT = 10_000
"""Google keeps 180 days; here the newest are shown."""


class JobHistory:
    """The jobs as the view shows them."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def rows(self, project: str) -> Iterator[tuple[Any, ...]]:
        """A row a job, newest first, in the columns of `information_schema.JOB_COLUMNS`."""
        for job in self._jobs.newest(project, KEPT):
            yield _row(job)


def _row(job: Job) -> tuple[Any, ...]:
    statistics = job.common_statistics()
    of_kind = statistics.get(job.kind, {})
    configured = job.configuration.get(job.kind, {})
    labels = job.configuration.get("labels") or {}
    return (
        _moment(job.created),
        job.project,
        USER,
        job.job_id,
        job.configuration.get("jobType"),
        of_kind.get("statementType"),
        configured.get("priority"),
        _moment(job.started),
        _moment(job.ended),
        configured.get("query"),
        job.state,
        _number(statistics.get("totalBytesProcessed")),
        _number(statistics.get("totalSlotMs")),
        _error(job),
        of_kind.get("cacheHit"),
        _table(configured.get("destinationTable")),
        [_table(table) for table in of_kind.get("referencedTables", ())],
        [{"key": key, "value": value} for key, value in sorted(labels.items())],
        _number(of_kind.get("totalBytesBilled")),
        job.parent_id,
    )


def _moment(milliseconds: int | None) -> dt.datetime | None:
    if milliseconds is None:
        return None
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _error(job: Job) -> dict[str, str | None] | None:
    if not job.errors:
        return None
    known = {"debug_info": "debugInfo"}
    names = ("reason", "location", "debug_info", "message")
    return {name: job.errors[0].get(known.get(name, name)) for name in names}


def _table(reference: dict[str, str] | None) -> dict[str, str | None] | None:
    if not reference:
        return None
    return {
        "project_id": reference.get("projectId"),
        "dataset_id": reference.get("datasetId"),
        "table_id": reference.get("tableId"),
    }
