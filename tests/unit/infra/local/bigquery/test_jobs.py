"""The store of jobs, in memory and on disk."""

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.local.bigquery import jobs as jobs_module
from infra.local.bigquery.catalog import Catalog
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.faults import Faults
from infra.local.bigquery.job import Job
from infra.local.bigquery.jobs import Jobs
from infra.local.bigquery.journal import Journal
from infra.local.bigquery.storage import Storage


def _jobs(state: Path | None) -> Jobs:
    return Jobs(Catalog(Storage(state)), Journal(state), Faults())


def _job(job_id: str) -> Job:
    return Job("p", job_id, "US", {"jobType": "QUERY", "query": {"query": "SELECT 1"}})


def _ran(jobs: Jobs, job_id: str, work: Callable[[Job], None]) -> Job:
    job = _job(job_id)
    jobs.start(job, work)
    job.completed.result(timeout=10)
    return job


def _ids(jobs: Jobs, *states: str) -> list[str]:
    return sorted(jobs.recent("p", parent=None, states=set(states), since=0, until=1 << 62))


@pytest.mark.parametrize("durable", [False, True])
def test_jobs_beyond_memory_are_still_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, durable: bool
) -> None:
    monkeypatch.setattr(jobs_module, "RECENT_JOBS", 2)
    jobs = _jobs(tmp_path if durable else None)
    names = [f"j{number}" for number in range(6)]
    for name in names:
        _ran(jobs, name, lambda job: job.statistics.update(query={"statementType": job.job_id}))
    for name in names:
        assert jobs.get("p", name).statistics["query"]["statementType"] == name
        with pytest.raises(ApiError, match=f"Already Exists: Job p:US.{name}"):
            jobs.start(_job(name), lambda _: None)
    assert _ids(jobs, "DONE") == names
    assert _ids(jobs, "RUNNING", "PENDING") == []
    jobs.delete(jobs.get("p", "j0"))
    jobs.delete(jobs.get("p", "j5"))
    assert _ids(jobs) == names[1:5]
    jobs.close(1)


def test_failed_work_is_the_jobs_error() -> None:
    jobs = _jobs(None)

    def fail(_job: Job) -> None:
        raise ApiError.invalid_query("wrong")

    def break_down(_job: Job) -> None:
        raise ZeroDivisionError

    assert _ran(jobs, "a", fail).errors[0]["reason"] == "invalidQuery"
    assert _ran(jobs, "b", break_down).errors[0]["reason"] == "internalError"
    jobs.close(1)


def test_work_that_was_committed_ends_well_after_a_crash(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    catalog = Catalog(storage)
    journal = Journal(tmp_path)
    for job_id in ("committed", "lost"):
        journal.claim("p", job_id, _job(job_id).to_entry())
    with storage.transaction() as transaction:
        catalog.mark_job(transaction, "committed", {"outputRows": 3})
    storage.close()
    journal.close()

    jobs = _jobs(tmp_path)

    assert jobs.get("p", "committed").error() is None
    assert jobs.get("p", "committed").statistics["query"] == {"outputRows": 3}
    lost = jobs.get("p", "lost").error()
    assert lost is not None
    assert lost.reason == "backendError"
    jobs.close(1)
