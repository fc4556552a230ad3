from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from shared.warehouse.queries import Query, QueryParameter, query


@pytest.mark.parametrize(
    ("value", "sql_type"),
    [
        ("text", "STRING"),
        (7, "INT64"),
        (True, "BOOL"),
        (1.5, "FLOAT64"),
        (Decimal("1.5"), "NUMERIC"),
        (date(2025, 11, 15), "DATE"),
        (datetime(2025, 11, 15, tzinfo=UTC), "TIMESTAMP"),
        (["a", "b"], "ARRAY<STRING>"),
        ((1, 2), "ARRAY<INT64>"),
        ([], "ARRAY<STRING>"),
    ],
)
def test_type_follows_from_the_python_value(value: Any, sql_type: str) -> None:
    (parameter,) = query("SELECT @x", x=value).parameters

    assert (parameter.name, parameter.type) == ("x", sql_type)


def test_value_without_a_googlesql_type_is_a_programming_error() -> None:
    with pytest.raises(TypeError, match="no GoogleSQL type for dict"):
        query("SELECT @x", x={})


@pytest.mark.parametrize(
    ("sql_type", "value", "on_the_wire"),
    [
        ("STRING", "1' OR '1'='1", "1' OR '1'='1"),
        ("DATE", "2025-11-15", "2025-11-15"),
        ("INT64", 2**62, str(2**62)),
        ("NUMERIC", "123456789.000000001", "123456789.000000001"),
        ("BOOL", False, "false"),
    ],
)
def test_json_value_of_a_template_reaches_bigquery_unchanged(
    sql_type: str, value: Any, on_the_wire: str
) -> None:
    parameter = QueryParameter(name="x", type=sql_type, value=value).to_bigquery()

    assert parameter.to_api_repr()["parameterValue"] == {"value": on_the_wire}
    assert parameter.to_api_repr()["parameterType"] == {"type": sql_type}


def test_timestamp_text_keeps_its_instant() -> None:
    parameter = QueryParameter(name="x", type="TIMESTAMP", value="2025-11-15T01:00:00+01:00")

    sent = parameter.to_bigquery().to_api_repr()["parameterValue"]["value"]
    assert datetime.fromisoformat(sent) == datetime(2025, 11, 15, tzinfo=UTC)


def test_array_of_dates_and_empty_array_keep_their_element_type() -> None:
    dates = QueryParameter(name="d", type="ARRAY<DATE>", value=["2025-11-15"]).to_bigquery()
    empty = QueryParameter(name="e", type="ARRAY<STRING>", value=[]).to_bigquery()

    assert dates.to_api_repr()["parameterValue"] == {"arrayValues": [{"value": "2025-11-15"}]}
    assert dates.to_api_repr()["parameterType"]["arrayType"] == {"type": "DATE"}
    assert empty.to_api_repr()["parameterValue"] == {"arrayValues": []}


def test_query_survives_a_message_as_json() -> None:
    original = Query(
        sql="SELECT @d, @a",
        parameters=(
            QueryParameter(name="d", type="DATE", value="2025-11-15"),
            QueryParameter(name="a", type="ARRAY<STRING>", value=["x", "y"]),
        ),
    )

    assert Query.model_validate_json(original.model_dump_json()) == original
