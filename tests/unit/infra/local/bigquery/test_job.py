from infra.local.bigquery.catalog import TableRef
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.job import Cancellation, Job


def _job() -> Job:
    return Job("p", "j", "US", {"jobType": "QUERY", "query": {"query": "SELECT 1"}})


def test_entry_brings_the_job_back() -> None:
    job = _job()
    job.state, job.started, job.ended = "DONE", 5, 7
    job.result = TableRef("p", "d", "t")
    job.errors = ApiError.invalid_query("wrong").protos()
    again = Job.from_entry("p", "j", job.to_entry())
    assert again.to_api("http://x") == job.to_api("http://x")
    assert again.result == job.result
    assert again.completed.done()
    error = again.error()
    assert error is not None
    assert (error.reason, error.status, str(error)) == ("invalidQuery", 400, "wrong")


def test_resource_names_the_job_as_google_does() -> None:
    resource = _job().to_api("http://h")
    assert resource["id"] == "p:US.j"
    assert resource["jobReference"] == {"projectId": "p", "jobId": "j", "location": "US"}
    assert resource["status"] == {"state": "PENDING"}
    assert resource["statistics"]["creationTime"].isdigit()


def test_cancellation_calls_back_once_set_or_at_once() -> None:
    cancellation = Cancellation()
    called: list[str] = []
    cancellation.on_set(lambda: called.append("first"))
    undo = cancellation.on_set(lambda: called.append("taken back"))
    undo()
    cancellation.set()
    cancellation.on_set(lambda: called.append("late"))
    assert called == ["first", "late"]
