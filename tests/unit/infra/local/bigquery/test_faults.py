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
    calls.count("jobs.insert")
    calls.count_statement("p.d.t")
    assert calls.report() == {"jobs.insert": 2, "dml": {"p.d.t": 1}}
    calls.clear()
    assert calls.report() == {"dml": {}}
