"""A change of a source's columns is recorded once and is one step's to tell, whoever sees it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from shared.processors import drift_events
from shared.warehouse import rows
from shared.warehouse.drift import DriftEvent
from shared.warehouse.failures import WarehouseError
from shared.warehouse.queries import query
from tests.component.conftest import PROJECT, Cloud
from tests.runs import a_context, a_run

GONE = DriftEvent("column_missing", f"{PROJECT}.acme.costs", "labels.key", "STRING", None)
NEW = DriftEvent("column_added", f"{PROJECT}.acme.costs", "tags", None, "ARRAY<STRING>")
CHANGED = DriftEvent("type_changed", f"{PROJECT}.acme.costs", "cost", "NUMERIC", "STRING")


def results(tenant: str) -> list[dict[str, Any]]:
    return rows.read(query(f"SELECT * FROM `{tenant}.x_meta_dq_results` ORDER BY column_name"))


def test_every_kind_is_recorded_in_words(tenant: str) -> None:
    told = drift_events.record(a_context(a_run(tenant)), [GONE, NEW, CHANGED])

    assert told == (GONE, NEW, CHANGED)
    changed, gone, new = results(tenant)
    assert (changed["severity"], changed["expected"], changed["observed"]) == (
        "fail", "NUMERIC", "STRING",
    )  # fmt: skip
    assert (gone["severity"], gone["column_name"], gone["table_name"], gone["dataset_id"]) == (
        "warn", "labels.key", "costs", "acme",
    )  # fmt: skip
    assert gone["rule_name"] == (
        "column labels.key is no longer in the source; it is NULL from now on"
        " (STRING before, absent now)"
    )
    assert (new["status"], new["details"]) == ("FAILED", {"drift": "column_added"})
    assert drift_events.summary(told).splitlines()[1] == (
        f"{PROJECT}.acme.costs: column tags is new in the source; it was added to the table"
        " (absent before, ARRAY<STRING> now)"
    )


def test_no_event_asks_nothing(tenant: str, cloud: Cloud) -> None:
    before = cloud.calls()
    assert drift_events.record(a_context(a_run(tenant)), []) == ()
    assert cloud.calls() == before


def test_a_later_run_has_nothing_to_tell_a_repetition_of_the_first_has(tenant: str) -> None:
    first, second = (a_context(a_run(tenant)) for _ in range(2))
    assert drift_events.record(first, [GONE]) == (GONE,)

    assert drift_events.record(second, [GONE, NEW]) == (NEW,)
    assert drift_events.record(first, [GONE]) == (GONE,)
    assert drift_events.record(replace(first, attempt=2), [GONE, NEW]) == (GONE,)
    again = replace(first, is_repeated=True)
    assert [event.column for event in drift_events.record(again, [])] == ["labels.key"]
    assert drift_events.record(replace(again, step_id="other"), []) == ()

    assert [row["column_name"] for row in results(tenant)] == ["labels.key", "tags"]


def test_another_table_column_or_type_is_another_event(tenant: str) -> None:
    context = a_context(a_run(tenant))
    others = [
        replace(CHANGED, table=f"{PROJECT}.acme.other"),
        replace(CHANGED, column="list"),
        replace(CHANGED, after="INT64"),
    ]
    assert drift_events.record(context, [CHANGED]) == (CHANGED,)
    assert drift_events.record(context, [CHANGED, *others]) == (CHANGED, *others)
    assert len(results(tenant)) == 4


def test_of_ten_runs_at_once_one_tells(tenant: str) -> None:
    contexts = [a_context(a_run(tenant)) for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        told = list(pool.map(lambda context: drift_events.record(context, [GONE, NEW]), contexts))

    assert sorted(event.column for found in told for event in found) == ["labels.key", "tags"]
    assert len(results(tenant)) == 2


def test_a_death_between_claim_and_record_is_made_good_by_the_next(
    tenant: str, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, next_one = (a_context(a_run(tenant)) for _ in range(2))
    cloud.fail("tabledata.insertAll", status=400, reason="invalid")
    with pytest.raises(WarehouseError):
        drift_events.record(dead, [GONE])
    assert drift_events.record(next_one, [GONE]) == (), "the lease of the first still runs"

    monkeypatch.setattr(drift_events, "_LEASE_SECONDS", 0.0)
    assert drift_events.record(next_one, [GONE]) == (GONE,)
    assert drift_events.record(dead, [GONE]) == ()
    assert len(results(tenant)) == 1
