"""A planted spike is found with its figures; busy weekdays, noise and young services are not."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from shared.clients import bigquery_client
from shared.errors import AccessDeniedError
from shared.processors.anomaly.cost_spike import CostSpike, CostSpikeConfig
from shared.processors.contract import StepContext, StepResult
from shared.warehouse import tables
from shared.warehouse.failures import WarehouseError
from shared.warehouse.queries import query
from tests.component.conftest import PROJECT
from tests.runs import a_context, a_run

MONDAY = date(2025, 11, 17)
TUESDAY = date(2025, 11, 18)
# A year of weekdays in one statement: Mondays cost 300, Saturdays and Sundays 10, others 100, with
# an even and an odd week 4 apart.
SEASON = """
CREATE TABLE `{tenant}.costs` PARTITION BY usage_date AS
SELECT
  day AS usage_date, service, project, 'USD' AS currency,
  CASE EXTRACT(DAYOFWEEK FROM day) WHEN 2 THEN 300 WHEN 1 THEN 10 WHEN 7 THEN 10 ELSE 100 END
    + NUMERIC '0.01' * LENGTH(service)
    + IF(MOD(EXTRACT(ISOWEEK FROM day), 2) = 0, 2, -2) AS cost
FROM UNNEST(GENERATE_DATE_ARRAY('2025-09-01', '2025-11-30')) AS day,
  UNNEST(['compute', 'storage']) AS service,
  UNNEST(['web', CAST(NULL AS STRING)]) AS project
"""


@pytest.fixture
def costs(tenant: str) -> str:
    bigquery_client().query_and_wait(SEASON.format(tenant=tenant))
    return f"{tenant}.costs"


def add(costs: str, day: date, service: str, cost: str, currency: str = "USD") -> None:
    bigquery_client().query_and_wait(
        f"INSERT `{costs}` VALUES (DATE '{day}', '{service}', 'web', '{currency}', {cost})"
    )


def find(
    tenant: str, day: date = MONDAY, context: StepContext | None = None, **config: Any
) -> StepResult:
    values: dict[str, Any] = {
        "source": {"query": query(f"SELECT * FROM `{tenant}.costs`").model_dump(mode="json")}
    }
    where = context or a_context(a_run(tenant, date=day), "find")
    return CostSpike().run(CostSpikeConfig.model_validate(values | config), where)


def spikes(tenant: str) -> list[dict[str, Any]]:
    found = bigquery_client().query_and_wait(
        f"SELECT * FROM `{tenant}.cost_anomalies` ORDER BY usage_date, service, project"
    )
    return [dict(row.items()) for row in found]


@pytest.mark.parametrize("day", [MONDAY, TUESDAY, date(2025, 11, 22), date(2025, 11, 23)])
def test_the_season_is_no_news(costs: str, tenant: str, day: date) -> None:
    result = find(tenant, day)
    assert (result.outputs["spikes"], result.outputs["summary"]) == (0, "")
    assert spikes(tenant) == []


def test_a_planted_spike_is_found_with_its_figures(costs: str, tenant: str) -> None:
    """A Monday's 300 on a Tuesday: usual in a week, not on that day of it."""
    add(costs, TUESDAY, "compute", "200")
    result = find(tenant, TUESDAY)

    (spike,) = spikes(tenant)
    assert (spike["service"], spike["project"], spike["currency"]) == ("compute", "web", "USD")
    assert spike["usage_date"] == TUESDAY
    # Odd week: 100.07 - 2 and 200 more; baseline of four odd and four even weeks: 100.07.
    assert spike["cost"] == Decimal("298.07")
    assert spike["baseline"] == Decimal("100.07")
    assert spike["increase"] == Decimal(198)
    assert spike["spread"] == Decimal("5.0035"), "5 % of the baseline is above 1.4826 * 2"
    assert spike["ratio"] == Decimal("2.9786")
    assert spike["weeks"] == 8
    assert (result.rows_processed, result.outputs["spikes"]) == (1, 1)
    assert result.outputs["summary"] == (
        "compute in web: 298.07 USD instead of 100.07 (+198, 3 times as much)"
    )
    assert result.outputs["table"] == f"{PROJECT}.{tenant}.cost_anomalies"


def test_an_earlier_spike_does_not_hide_the_next(costs: str, tenant: str) -> None:
    add(costs, date(2025, 11, 11), "compute", "5000")
    add(costs, TUESDAY, "compute", "200")
    assert find(tenant, TUESDAY).outputs["spikes"] == 1


def test_a_new_service_counts_from_zero_and_another_currency_by_itself(
    costs: str, tenant: str
) -> None:
    add(costs, MONDAY, "ai", "70")
    add(costs, MONDAY, "tiny", "9.99")
    add(costs, MONDAY, "compute", "80", currency="EUR")
    result = find(tenant)

    assert [(row["service"], row["currency"], row["ratio"]) for row in spikes(tenant)] == [
        ("ai", "USD", None), ("compute", "EUR", None),
    ]  # fmt: skip
    assert result.outputs["summary"].splitlines()[0] == (
        "compute in web: 80 EUR instead of 0 (+80)"
    )


@pytest.mark.parametrize(
    ("threshold", "just_above", "just_below"),
    [("minimum_increase", 198, "198.000000001"), ("minimum_ratio", "2.97", "2.98"),
     ("minimum_score", "39.5", "39.6"), ("minimum_spread", "0.5", "0.6")],
)  # fmt: skip
def test_every_threshold_holds(
    threshold: str, just_above: Any, just_below: Any, costs: str, tenant: str
) -> None:
    add(costs, TUESDAY, "compute", "200")
    assert find(tenant, TUESDAY, **{threshold: just_above}).outputs["spikes"] == 1
    assert find(tenant, TUESDAY, **{threshold: just_below}).outputs["spikes"] == 0
    assert spikes(tenant) == [], "the date is replaced, also by nothing"


def test_too_few_weeks_say_nothing(costs: str, tenant: str) -> None:
    early = date(2025, 9, 22)
    add(costs, early, "compute", "5000")
    assert find(tenant, early, minimum_weeks=4).outputs["spikes"] == 0
    assert find(tenant, early, minimum_weeks=3).outputs["spikes"] == 1


def test_running_a_date_twice_gives_the_same_rows(costs: str, tenant: str) -> None:
    add(costs, TUESDAY, "compute", "200")
    context = a_context(a_run(tenant, date=TUESDAY), "find")
    first, second = (find(tenant, context=context).outputs for _ in range(2))
    rows = spikes(tenant)
    third = find(tenant, TUESDAY).outputs
    assert first == second
    assert third["summary"] == first["summary"]
    assert spikes(tenant) == rows


def test_only_the_greatest_are_listed(costs: str, tenant: str) -> None:
    for number in range(3):
        add(costs, MONDAY, f"new_{number}", str(100 + number))
    result = find(tenant, top=2)
    assert result.outputs["spikes"] == 3
    assert [line.split()[0] for line in result.outputs["summary"].splitlines()] == [
        "new_2", "new_1",
    ]  # fmt: skip


def test_foreign_costs_and_tables_are_refused(
    costs: str, tenant: str, fresh: Callable[[], str]
) -> None:
    other = fresh()
    tables.ensure_dataset(other, labels={tables.OWNER_LABEL: other})
    bigquery_client().query_and_wait(f"CREATE TABLE `{other}.costs` AS SELECT * FROM `{costs}`")
    reach = {"query": query(f"SELECT * FROM `{other}.costs`").model_dump(mode="json")}
    with pytest.raises(AccessDeniedError):
        find(tenant, source=reach)
    lacking = {"query": query(f"SELECT usage_date, cost FROM `{costs}`").model_dump(mode="json")}
    with pytest.raises(WarehouseError, match="service"):
        find(tenant, source=lacking)
    with pytest.raises(ValidationError):
        find(tenant, minimum_increase=-1)


def test_what_it_would_do_is_told_without_doing_it(costs: str, tenant: str) -> None:
    config = CostSpikeConfig.model_validate(
        {"source": {"query": query(f"SELECT * FROM `{costs}`").model_dump(mode="json")}}
    )
    context = a_context(a_run(tenant), "find")
    foreseen = CostSpike().foresee(config, context)
    assert foreseen.tables_read == (f"{PROJECT}.{costs}",)
    assert foreseen.tables_written == (f"{PROJECT}.{tenant}.cost_anomalies",)
    assert CostSpike().cancel(context) is False
