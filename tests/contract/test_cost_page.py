"""docs/cost.md says what counts and prices say, and the counts are those of docs/scaling.md."""

import re
from pathlib import Path

import pytest

from benchmarks import calls_per_run, costs

ROOT = Path(__file__).parents[2]
RUN = costs.DATA["counts"]["run"]
SCALING = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


def test_the_page_is_what_counts_and_prices_come_to() -> None:
    page = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    assert costs.written(page) == page, "python benchmarks/costs.py --write"


def test_the_counts_are_those_that_were_measured() -> None:
    found = re.search(r"^\| a run, .*?\| (\d+) \| (\d+) \| (\d+) \|", SCALING, re.MULTILINE)
    assert found
    counted = (RUN["calls"], RUN["mebibytes_billed"], RUN["rows_streamed"])
    assert tuple(int(number) for number in found.groups()) == counted
    # The benchmark fails when a run becomes more expensive than these.
    assert RUN["calls"] <= calls_per_run.MOST_CALLS
    assert RUN["mebibytes_billed"] <= calls_per_run.MOST_MEGABYTES


def test_a_run_by_hand() -> None:
    run = costs.of_a_run()
    assert run["queries of runs"] == pytest.approx(120 / 1024 / 1024 * 6.25)
    assert run["rows streamed"] == pytest.approx(12 * 1000 / 200e6 * 0.01)
    assert run["requests of functions"] == pytest.approx(6 * 0.40 / 1e6)


def test_what_is_free_is_taken_off_once() -> None:
    queries = ("queries of runs", "trigger, process-queue, cleanup")
    paid, whole = costs.bill(10_000), costs.bill(10_000, free=False)
    assert sum(whole[line] - paid[line] for line in queries) == pytest.approx(6.25)
    assert costs.bill(1)["queries of runs"] == 0


def test_every_price_has_a_page_and_is_used() -> None:
    used = {price for units in costs.amounts(1).values() for price, _ in units}
    assert used == set(costs.DATA["prices"])
    for price in costs.DATA["prices"].values():
        assert {"usd", "per", "free", "as_of", "page"} <= set(price)
