from pathlib import Path

import pytest

from infra.local.records import Records


def test_children_keep_their_order_through_changes(tmp_path: Path) -> None:
    records = Records(tmp_path)
    for name in ("b", "a", "c"):
        records.put(name, "parent", name.encode())
    records.put("b", "parent", b"changed")
    assert records.children("parent") == [b"changed", b"a", b"c"]
    records.close()


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    records = Records(tmp_path)

    def fail_half_way() -> None:
        with records.transaction():
            records.put("a", "parent", b"1")
            with records.transaction():
                records.put("b", "parent", b"2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert records.count("parent") == 0
    records.close()


def test_what_was_written_survives_without_a_clean_end(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.put("a", "parent", b"1", b"secret")
    # As after kill -9: no close, only the lock of the dead process is gone.
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tmp_path.glob("records.sqlite*"):
        (copy / file.name).write_bytes(file.read_bytes())
    reopened = Records(copy)
    assert reopened.get("a") == b"1"
    assert reopened.hidden("a") == b"secret"
    reopened.close()
    records.close()


def test_deleting_takes_what_stands_below(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.put("a", "root", b"1")
    records.put("a/1", "a", b"2")
    records.delete("a")
    assert records.get("a") is None
    assert records.get("a/1") is None
    records.close()
