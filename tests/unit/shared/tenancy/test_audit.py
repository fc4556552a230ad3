"""Entries that meet in one process share a call, and none is lost or stored twice."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from pytest_mock import MockerFixture

from shared.tenancy import audit
from shared.tenancy.audit import Entry
from shared.warehouse.failures import WarehouseBusyError
from shared.warehouse.rows import Row
from tests.waiting import wait_until


def entry(action: str = "api_key.revoke") -> Entry:
    return Entry(action=action, outcome="ALLOWED", actor_type="api_key", tenant_id="acme_corp")


class Table:
    """Takes batches; the first one waits until it is told to go on."""

    def __init__(self) -> None:
        self.batches: list[list[Row]] = []
        self.go_on = threading.Event()
        self.fails: set[int] = set()

    def append(self, table: str, rows: Sequence[Row]) -> None:
        assert table == "tenants.audit_log"
        number = len(self.batches)
        self.batches.append(list(rows))
        if number == 0:
            assert self.go_on.wait(10)
        if number in self.fails:
            raise WarehouseBusyError("away", "backendError")


@pytest.fixture
def table(mocker: MockerFixture) -> Table:
    made = Table()
    mocker.patch.object(audit.rows, "append", made.append)
    mocker.patch.object(audit, "_journal", audit._Journal())
    return made


def burst(table: Table, size: int) -> None:
    """One entry under way, and `size` more that arrive meanwhile."""
    with ThreadPoolExecutor(size + 1) as pool:
        pool.submit(audit.record, entry())
        wait_until(lambda: table.batches, message="the first write")
        rest = [pool.submit(audit.record, entry()) for _ in range(size)]
        wait_until(lambda: len(audit._journal._gathering.rows) == size, message="the others")
        assert not any(future.done() for future in rest)
        table.go_on.set()


def test_single_entry_is_stored_before_the_call_returns(table: Table) -> None:
    table.go_on.set()

    audit.record(entry("tenant.suspend"))

    ((row,),) = table.batches
    assert row.values["action"] == "tenant.suspend"
    assert row.insert_id == row.values["audit_id"]


def test_entries_that_arrive_during_a_write_share_the_next_one(table: Table) -> None:
    burst(table, 20)

    assert [len(batch) for batch in table.batches] == [1, 20]
    ids = {row.insert_id for batch in table.batches for row in batch}
    assert len(ids) == 21


def test_entries_that_cannot_be_stored_are_all_logged(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    table.fails = {1}

    with caplog.at_level(logging.ERROR, "convergence"):
        burst(table, 5)

    lost = [record for record in caplog.records if record.message == "audit entry not stored"]
    assert len(lost) == 5
    assert all("acme_corp" in record.fields["entry"] for record in lost)  # type: ignore[attr-defined]


def test_failed_write_does_not_stop_the_next(table: Table) -> None:
    table.fails = {0}
    table.go_on.set()
    audit.record(entry())

    audit.record(entry())

    assert len(table.batches) == 2
