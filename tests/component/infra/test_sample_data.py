"""The sample export in a real local BigQuery: partitions of arrival, loaded once."""

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from infra.local.bigquery import server
from infra.local.sample_data import Shape, __main__, rows, write

SHAPE = Shape(rows=2_000, days=7)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    running = server.start(host="127.0.0.1", port=0, state=None)
    yield f"http://127.0.0.1:{running.port}"
    running.stop()


@pytest.fixture
def client(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> bigquery.Client:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", endpoint)
    return bigquery.Client(
        project="convergence-local", location="US", credentials=AnonymousCredentials()
    )


def test_every_day_of_arrival_is_a_partition(client: bigquery.Client) -> None:
    seen = {}
    loaded = write(client, "days", shape=SHAPE, on_partition=seen.__setitem__)
    assert (loaded.rows, loaded.partitions) == (2_000, 7)
    expected = {day: part.num_rows for day, part in rows(SHAPE)}
    assert seen == expected
    found = client.query_and_wait(
        "SELECT DATE(_PARTITIONTIME) AS day, COUNT(*) AS arrived,"
        " COUNTIF(DATE(export_time) != DATE(_PARTITIONTIME)) AS astray"
        f" FROM `{loaded.table}` GROUP BY day"
    )
    counted = {row.day: (row.arrived, row.astray) for row in found}
    assert counted == {day: (count, 0) for day, count in expected.items()}


def test_nested_and_repeated_values_arrive_as_they_are(client: bigquery.Client) -> None:
    loaded = write(client, "nested", shape=SHAPE)
    table = client.get_table(loaded.table)
    modes = {field.name: field.mode for field in table.schema}
    assert (modes["credits"], modes["labels"], modes["project"]) == (
        "REPEATED",
        "REPEATED",
        "NULLABLE",
    )
    assert table.time_partitioning.field is None
    day, part = next(iter(rows(SHAPE)))
    found = client.query_and_wait(
        f"SELECT * FROM `{loaded.table}` WHERE _PARTITIONTIME = TIMESTAMP('{day}')"
    )
    assert sorted(_text(dict(row)) for row in found) == sorted(map(_text, part.to_pylist()))


def test_a_second_call_does_nothing_and_force_loads_again(client: bigquery.Client) -> None:
    first = write(client, "twice", shape=SHAPE)
    before = client.get_table(first.table).created
    assert write(client, "twice", shape=SHAPE).partitions == 0
    assert client.get_table(first.table).created == before
    assert write(client, "twice", shape=SHAPE, force=True).partitions == 7
    assert client.get_table(first.table).num_rows == 2_000


def test_an_unfinished_or_other_export_is_replaced(client: bigquery.Client) -> None:
    loaded = write(client, "partly", shape=SHAPE)
    client.delete_table(f"{loaded.table}$20251118")
    assert write(client, "partly", shape=SHAPE).partitions == 7
    other = Shape(rows=1_000, days=3)
    assert write(client, "partly", shape=other).partitions == 3
    assert client.get_table(loaded.table).num_rows == 1_000


def test_the_command_says_what_it_did(
    client: bigquery.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--rows", "400", "--days", "2", "--dataset", "command", "--progress"]
    assert __main__.main(arguments) == 0
    assert "command.gcp_billing_export_v1: 400 rows loaded in 2 partitions" in (
        capsys.readouterr().out
    )
    assert __main__.main(arguments) == 0
    assert capsys.readouterr().out.strip().endswith("400 rows already there")
    assert __main__.main(["--rows", "1"]) == 1
    assert "at least 1400 rows, not 1" in capsys.readouterr().err


def _text(row: dict[str, Any]) -> str:
    """A row in one form, whatever the time zone object and the trailing zeros of its values."""
    return json.dumps(row, sort_keys=True, default=_plain)


def _plain(value: datetime | Decimal) -> str:
    return value.isoformat() if isinstance(value, datetime) else f"{value:.9f}"
