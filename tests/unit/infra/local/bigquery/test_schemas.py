import pytest

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.schemas import canonical_schema, changed_schema

X = {"name": "x", "type": "INTEGER", "mode": "NULLABLE"}


def test_canonical_names_modes_and_nesting() -> None:
    given = [
        {"name": "a", "type": "int64"},
        {
            "name": "r",
            "type": "STRUCT",
            "mode": "repeated",
            "fields": [{"name": "b", "type": "BOOL"}],
        },
        {"name": "s", "type": "STRING", "fields": [], "description": "kept"},
    ]
    assert canonical_schema(given) == [
        {"name": "a", "type": "INTEGER", "mode": "NULLABLE"},
        {
            "name": "r",
            "type": "RECORD",
            "mode": "REPEATED",
            "fields": [{"name": "b", "type": "BOOLEAN", "mode": "NULLABLE"}],
        },
        {"name": "s", "type": "STRING", "mode": "NULLABLE", "description": "kept"},
    ]


def _nested(levels: int) -> dict[str, object]:
    field: dict[str, object] = {"name": "leaf", "type": "STRING"}
    for _ in range(levels):
        field = {"name": "r", "type": "RECORD", "fields": [field]}
    return field


def test_nesting_ends_at_fifteen_levels() -> None:
    canonical_schema([_nested(14)])
    with pytest.raises(ApiError, match="nested deeper than 15"):
        canonical_schema([_nested(15)])


def test_too_many_columns() -> None:
    with pytest.raises(ApiError, match="10000"):
        canonical_schema({"name": f"c{n}", "type": "STRING"} for n in range(10_001))


@pytest.mark.parametrize("name", ["x", "_x", "größe", "a1", "with space", "a-b", "x" * 300])
def test_column_names_that_are_taken(name: str) -> None:
    assert canonical_schema([{"name": name, "type": "STRING"}])[0]["name"] == name


@pytest.mark.parametrize("name", ["", "1a", "a.b", "a`b", "x" * 301, None, "_TABLE_x", "a\n"])
def test_column_names_that_are_refused(name: str | None) -> None:
    with pytest.raises(ApiError) as refused:
        canonical_schema([{"name": name, "type": "STRING"}])
    assert refused.value.reason == "invalid"


def test_missing_columns_stay_only_when_allowed() -> None:
    y = {**X, "name": "y"}
    assert changed_schema([X, y], [y], "p:d.t", allow_missing=True) == [X, y]
    with pytest.raises(ApiError, match=r"Table p:d\.t\. Field x is missing"):
        changed_schema([X, y], [y], "p:d.t")


def test_case_of_names_stays_as_it_was() -> None:
    changed = changed_schema([X], [{**X, "name": "X", "description": "now described"}], "p:d.t")
    assert changed == [{**X, "description": "now described"}]


def test_nested_fields_are_added_and_named_by_path() -> None:
    old = {"name": "r", "type": "RECORD", "mode": "NULLABLE", "fields": [X]}
    new = {**old, "fields": [X, {**X, "name": "y"}]}
    assert changed_schema([old], [new], "p:d.t") == [new]
    bad = {**old, "fields": [{**X, "type": "STRING"}]}
    with pytest.raises(ApiError, match=r"Field r\.x has changed type"):
        changed_schema([old], [bad], "p:d.t")
