from pathlib import Path

import pyarrow as pa
import pytest

from infra.local.bigquery import results as results_module
from infra.local.bigquery.catalog import TableRef
from infra.local.bigquery.results import Results, anonymous_table

SCHEMA = [{"name": "a", "type": "INTEGER", "mode": "NULLABLE"}]
ROWS = pa.table({"a": [1, 2, 3]})


def test_other_names_are_no_results() -> None:
    results = Results(None)
    assert results.get(TableRef("p", "d", "t")) is None
    assert results.table_resource(anonymous_table("p", "unknown")) is None
    results.close()


def test_results_beyond_memory_are_read_from_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_module, "MEMORY_BYTES", 2 * ROWS.nbytes)
    results = Results(None)
    refs = [anonymous_table("p", f"job{number}") for number in range(6)]
    for ref in refs:
        results.put(ref, SCHEMA, ROWS)
    for ref in refs:
        found = results.get(ref)
        assert found is not None
        assert (found.schema, found.rows.to_pylist()) == (SCHEMA, ROWS.to_pylist())
    results.close()


def test_results_outlive_a_stop(tmp_path: Path) -> None:
    ref = anonymous_table("p", "job")
    results = Results(tmp_path)
    results.put(ref, SCHEMA, ROWS)
    results.close()
    found = Results(tmp_path).get(ref)
    assert found is not None
    assert found.rows.to_pylist() == ROWS.to_pylist()
