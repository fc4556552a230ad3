import time
from pathlib import Path

import pytest

from infra.local.bigquery.journal import Journal
from infra.local.service import StartupError

NOW = int(time.time() * 1000)


def _entry(created: int = NOW, parent: str | None = None) -> dict[str, object]:
    return {"created": created, "parent_id": parent, "state": "PENDING"}


def test_id_is_claimed_once_over_restarts(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.claim("p", "a", _entry())
    assert not journal.claim("p", "a", _entry())
    assert journal.claim("other", "a", _entry())
    journal.close()
    again = Journal(tmp_path)
    assert not again.claim("p", "a", _entry())
    assert [job_id for _, job_id, _ in again.unfinished()] == ["a", "a"]
    again.close()


def test_forgotten_job_stays_claimed() -> None:
    journal = Journal(None)
    journal.claim("p", "a", _entry())
    journal.forget("p", ["a"])
    assert journal.read("p", "a") is None
    assert not journal.claim("p", "a", _entry())
    assert journal.recent("p", None, 0, 10) == []


def test_newest_jobs_come_first_without_children() -> None:
    journal = Journal(None)
    for number in (1, 3, 2):
        journal.claim("p", f"j{number}", _entry(number))
    journal.claim("p", "child", _entry(4, parent="j1"), done=True)
    journal.finish("p", "j3", {**_entry(3), "state": "DONE"})
    assert journal.recent("p", None, 0, 10) == [("j3", True), ("j2", False), ("j1", False)]
    assert journal.recent("p", "j1", 0, 10) == [("child", True)]
    assert journal.recent("p", None, 2, 2) == [("j2", False)]


def test_ids_are_remembered_for_180_days(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.claim("p", "old", _entry(NOW - 181 * 24 * 3600 * 1000))
    journal.claim("p", "younger", _entry(NOW - 179 * 24 * 3600 * 1000))
    journal.close()
    again = Journal(tmp_path)
    assert again.claim("p", "old", _entry())
    assert not again.claim("p", "younger", _entry())
    again.close()


def test_corrupt_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"nonsense" * 1000)
    with pytest.raises(StartupError, match=r"jobs\.sqlite cannot be read"):
        Journal(tmp_path)
