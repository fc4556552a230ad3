import pytest

from infra.local.bigquery.detection import (
    column_names,
    looks_like_header,
    schema_of_objects,
    text_type,
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1", "INTEGER"),
        ("-12", "INTEGER"),
        ("1.5", "FLOAT"),
        ("1e3", "FLOAT"),
        ("true", "BOOLEAN"),
        ("2025-11-15", "DATE"),
        ("2025-11-15 10:00:00", "DATETIME"),
        ("2025-11-15T10:00:00Z", "TIMESTAMP"),
        ("2025-11-15 10:00:00.5 UTC", "TIMESTAMP"),
        ("2025-11-15 10:00:00+02", "TIMESTAMP"),
        ("10:00:00", "TIME"),
        ("1.2.3", "STRING"),
        ("", "STRING"),
    ],
)
def test_text_has_the_type_of_its_form(text: str, kind: str) -> None:
    assert text_type(text) == kind


def test_types_widen_over_rows() -> None:
    rows = [
        {"n": 1, "t": "2025-11-15", "m": 1, "r": [{"a": 1}], "e": None},
        {"n": 1.5, "t": "2025-11-15T10:00:00Z", "m": "x", "r": [{"b": True}], "e": None},
    ]
    schema = {field["name"]: field for field in schema_of_objects(rows)}
    assert {name: field["type"] for name, field in schema.items()} == {
        "n": "FLOAT",
        "t": "TIMESTAMP",
        "m": "STRING",
        "r": "RECORD",
        "e": "STRING",
    }
    assert schema["r"]["mode"] == "REPEATED"
    assert [field["name"] for field in schema["r"]["fields"]] == ["a", "b"]


def test_headings_become_column_names() -> None:
    assert column_names(["Net Cost", "net cost", "1st", "", "a.b"]) == [
        "Net_Cost",
        "net_cost_2",
        "_1st",
        "string_field_3",
        "a_b",
    ]


def test_header_stands_above_other_types() -> None:
    assert looks_like_header(["day", "cost"], ["2025-11-15", "1"])
    assert not looks_like_header(["a", "b"], ["c", "d"])
    assert not looks_like_header(["1", "b"], ["2", "d"])
    assert not looks_like_header(["a"], None)
