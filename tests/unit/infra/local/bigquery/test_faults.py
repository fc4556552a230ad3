import pytest

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.faults import Calls, Faults


def test_fault_counts_down_for_its_method_only() -> None:
    faults = Faults()
    faults.add({"method": "jobs.insert", "times": 2, "status": 503})
    assert faults.take("jobs.get") is None
    taken = [faults.take("jobs.insert") for _ in range(3)]
    assert [fault is not None for fault in taken] == [True, True, False]
    assert taken[0] is not None
    error = taken[0].error()
    assert error is not None
    assert (error.status, error.reason) == (503, "backendError")


def test_first_given_is_first_taken() -> None:
    faults = Faults()
    faults.add({"method": "m", "status": 500})
    faults.add({"method": "m", "status": 403})
    assert [fault.status for fault in (faults.take("m"), faults.take("m")) if fault] == [500, 403]


@pytest.mark.parametrize("body", [{}, {"method": "m", "x": 1}, {"method": "m", "status": "x"}])
def test_malformed_fault_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ApiError):
        Faults().add(body)


def test_report_has_calls_and_statements() -> None:
    calls = Calls()
    calls.count("jobs.insert")
    calls.count("jobs.insert", "step-gcp")
    calls.count_statement("p.d.t")
    assert calls.report() == {"jobs.insert": 2, "dml": {"p.d.t": 1}}
    assert calls.by_user() == {"": {"jobs.insert": 1}, "step-gcp": {"jobs.insert": 1}}
    calls.clear()
    assert (calls.report(), calls.by_user()) == ({"dml": {}}, {})


def test_fault_of_some_seconds_meets_every_call() -> None:
    faults = Faults()
    faults.add({"method": "*", "seconds": 600, "status": 503})
    assert all(faults.take(method) for method in ("jobs.get", "jobs.get", "tables.list"))
    assert faults.take("") is None  # the control surface
    assert faults.take("jobs.run") is None
    faults.clear()
    faults.add({"method": "jobs.get", "seconds": 1e-9, "status": 503})
    assert faults.take("jobs.get") is None


def test_fault_of_a_job_waits_for_it() -> None:
    faults = Faults()
    faults.add({"method": "jobs.run", "job": "a", "delay_seconds": 1})
    assert faults.take("jobs.run", "b") is None
    assert [fault["job"] for fault in faults.report()] == ["a"]
    assert faults.take("jobs.run", "a")
    assert faults.report() == []
