"""What a result changes about its table, and what it may not."""

from typing import Any

import pytest

from shared.warehouse.evolution import ResultDriftError, compare, padded, type_text
from shared.warehouse.queries import query

TABLE = "p.d.t"


def column(name: str, kind: str = "STRING", mode: str = "NULLABLE", *fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "type": kind, "mode": mode}
    return found | {"fields": list(fields)} if fields else found


def events(have: list[Any], want: list[Any]) -> list[tuple[str, str, str | None, str | None]]:
    found = compare(TABLE, have, want).events
    assert {event.table for event in found} <= {TABLE}
    return [(event.kind, event.column, event.before, event.after) for event in found]


def test_equal_columns_differ_in_nothing_whatever_their_case_and_order() -> None:
    found = compare(TABLE, [column("A"), column("b")], [column("B"), column("a")])

    assert (found.events, found.absent, found.added) == ((), (), False)


@pytest.mark.parametrize(
    ("have", "want"),
    [("INTEGER", "INT64"), ("FLOAT", "FLOAT64"), ("BOOLEAN", "BOOL"), ("RECORD", "STRUCT")],
)
def test_old_and_new_names_of_a_type_are_the_same(have: str, want: str) -> None:
    inner = (column("x"),) if have == "RECORD" else ()

    assert (
        events([column("a", have, "NULLABLE", *inner)], [column("a", want, "NULLABLE", *inner)])
        == []
    )


def test_new_columns_come_last_and_may_be_null() -> None:
    have, want = (
        [column("a")],
        [column("a"), column("b", "DATE", "REQUIRED"), column("c", mode="REPEATED")],
    )

    found = compare(TABLE, have, want)

    assert found.added
    assert [(c["name"], c["mode"]) for c in found.schema] == [
        ("a", "NULLABLE"), ("b", "NULLABLE"), ("c", "REPEATED"),
    ]  # fmt: skip
    assert events(have, want) == [
        ("column_added", "b", None, "DATE"),
        ("column_added", "c", None, "ARRAY<STRING>"),
    ]


def test_columns_inside_of_records_are_followed() -> None:
    have = [column("r", "RECORD", "REPEATED", column("a"), column("gone"))]
    want = [column("r", "RECORD", "REPEATED", column("a"), column("new", "INTEGER"))]

    found = compare(TABLE, have, want)

    assert events(have, want) == [
        ("column_missing", "r.gone", "STRING", None),
        ("column_added", "r.new", None, "INT64"),
    ]
    assert [c["name"] for c in found.schema[0]["fields"]] == ["a", "gone", "new"]
    assert found.absent == ()


@pytest.mark.parametrize(
    ("have", "want", "clause"),
    [
        (column("a"), column("a", "INTEGER"), "column a is STRING, the query now gives INT64"),
        (column("a"), column("a", mode="REPEATED"), "the query now gives ARRAY<STRING>"),
        (
            column("a", "RECORD", "NULLABLE", column("x", "DATE")),
            column("a", "RECORD", "NULLABLE", column("x", "TIMESTAMP")),
            "column a.x is DATE, the query now gives TIMESTAMP",
        ),
        (column("a", mode="REQUIRED"), column("b"), "column a is REQUIRED and the query no longer"),
    ],
)
def test_what_does_not_fit_stops_with_a_sentence(have: Any, want: Any, clause: str) -> None:
    with pytest.raises(ResultDriftError) as caught:
        compare(TABLE, [have], [want])
    assert clause in str(caught.value)
    assert str(caught.value).startswith("p.d.t: ")


def test_query_is_padded_with_nulls_of_the_tables_types() -> None:
    absent = [column("a", "NUMERIC"), column("l", "RECORD", "REPEATED", column("k"))]

    found = padded(query("SELECT 1 AS n -- the end;", n=1), absent)

    assert found.sql == (
        "SELECT returned.*, CAST(NULL AS NUMERIC) AS `a`,"
        " CAST(NULL AS ARRAY<STRUCT<k STRING>>) AS `l` FROM (\nSELECT 1 AS n -- the end\n)"
        " AS returned"
    )
    assert [parameter.name for parameter in found.parameters] == ["n"]


def test_names_that_would_have_to_be_escaped_are_left_to_bigquery() -> None:
    asked = query("SELECT 1")

    assert padded(asked, [column("a`b")]) == asked
    assert padded(asked, []) == asked


def test_type_in_words() -> None:
    nested = column("a", "RECORD", "REPEATED", column("b", "FLOAT"), column("c", "BOOLEAN"))

    assert type_text(nested) == "ARRAY<STRUCT<b FLOAT64, c BOOL>>"
