"""The change of the day: what it finds, and that tables keep their rows as long as they should."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from google.cloud.bigquery import TimePartitioning

from shared.clients import bigquery_client
from shared.schedules import retention
from shared.tenancy import quota
from shared.warehouse import rows
from shared.warehouse.schemas import load_folder, load_table
from tests.component.shared.schedules.overdue import admitted_row

pytestmark = pytest.mark.usefixtures("central")
_DAY_MS = 24 * 60 * 60 * 1000


@pytest.fixture
def expiring(central: None) -> Iterator[Callable[[int], None]]:
    """Sets after how many days `dead_letters` drops its rows; set back at the end."""
    client = bigquery_client()

    def let_expire(days: int) -> None:
        table = client.get_table("tenants.dead_letters")
        table.time_partitioning = TimePartitioning(
            field="recorded_at", expiration_ms=days * _DAY_MS
        )
        client.update_table(table, ["time_partitioning"])

    yield let_expire
    let_expire(_days_of_the_schema())


def _days_of_the_schema() -> int:
    partitioning = load_table("tenants/dead_letters").time_partitioning
    assert partitioning is not None
    assert partitioning.expiration_days is not None
    return partitioning.expiration_days


def test_day_is_summed_up_and_the_new_one_starts_at_zero(fresh: Callable[[], str]) -> None:
    now = datetime.now(UTC)
    tomorrow = now + timedelta(days=1)
    before = retention.end_day(tomorrow)
    for tenant_id, runs in ((fresh(), 3), (fresh(), 2)):
        entries = [admitted_row(tenant_id, n, f"{tenant_id}-{n}", now) for n in range(1, runs + 1)]
        rows.append(quota.LEDGER, entries)

    found = retention.end_day(tomorrow)

    assert found.usage_date == now.date()
    assert found.tenants_active == before.tenants_active + 2
    assert found.pipelines_run == before.pipelines_run + 5
    assert retention.end_day(tomorrow) == found
    assert retention.end_day(tomorrow + timedelta(days=40)).pipelines_run == 0


def test_tables_as_their_schemas_say_are_left_alone() -> None:
    found = retention.end_day()

    tables = [r for r in load_folder("tenants") if getattr(r, "time_partitioning", None)]
    assert found.tables_checked == len(tables)
    assert (found.retention_extended, found.drift) == ((), ())


def test_retention_is_made_as_long_as_the_schema_says(expiring: Callable[[int], None]) -> None:
    expiring(7)

    assert retention.end_day().retention_extended == ("tenants.dead_letters",)

    kept = bigquery_client().get_table("tenants.dead_letters").time_partitioning
    assert int(kept.expiration_ms) == _days_of_the_schema() * _DAY_MS
    assert retention.end_day().retention_extended == ()


def test_retention_is_never_made_shorter_by_night(expiring: Callable[[int], None]) -> None:
    expiring(1000)

    found = retention.end_day()

    assert found.retention_extended == ()
    assert found.drift == ("tenants.dead_letters keeps 1000 days, the schema only 90",)
    kept = bigquery_client().get_table("tenants.dead_letters").time_partitioning
    assert int(kept.expiration_ms) == 1000 * _DAY_MS
