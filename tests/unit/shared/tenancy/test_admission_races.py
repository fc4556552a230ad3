"""Every limit holds in every order of events, and nobody is refused who need not be."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import Retryable
from shared.tenancy.quota import Limits, QuotaExceededError
from tests.unit.shared.tenancy.simulation import Chances, Simulation

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MISFORTUNES = Chances(death=0.05, lost_answer=0.03, freeze=0.03)
limits = st.builds(
    Limits,
    plan_name=st.just("TEST"),
    daily=st.integers(1, 12),
    monthly=st.integers(1, 15),
    concurrent=st.integers(1, 6),
)
seeds = st.integers(0, 2**32)
races = settings(max_examples=60, deadline=None)


@races
@given(seed=seeds, allowed=limits, others=st.integers(0, 30))
def test_simultaneous_requests_fill_the_limit_exactly(
    seed: int, allowed: Limits, others: int
) -> None:
    room = min(allowed.daily, allowed.monthly, allowed.concurrent)
    with Simulation(seed, allowed) as simulation:
        for number in range(room + others):
            simulation.request(f"run-{number}")
        simulation.run()

    assert len(simulation.started) == room
    assert len(simulation.refused) == others
    assert all(isinstance(e, QuotaExceededError) for e in simulation.refused.values())
    assert {row["event"] for row in simulation.ledger} == {"ADMITTED"}
    assert sorted(row["slot"] for row in simulation.ledger) == list(range(1, room + 1))


@races
@given(seed=seeds, allowed=limits, processes=st.integers(2, 5), together=st.integers(1, 8))
def test_requests_that_meet_in_a_process_fill_the_limit_exactly(
    seed: int, allowed: Limits, processes: int, together: int
) -> None:
    room = min(allowed.daily, allowed.monthly, allowed.concurrent)
    with Simulation(seed, allowed) as simulation:
        for process in range(processes):
            simulation.request(*(f"run-{process}-{number}" for number in range(together)))
        simulation.run()

    assert len(simulation.started) == min(room, processes * together)


@settings(max_examples=150, deadline=None)
@given(
    seed=seeds,
    allowed=limits,
    now=st.sampled_from(
        [
            NOON,
            datetime(2026, 11, 20, 23, 55, tzinfo=UTC),
            datetime(2026, 11, 30, 23, 55, tzinfo=UTC),
            datetime(2026, 12, 31, 23, 58, tzinfo=UTC),
        ]
    ),
)
def test_no_limit_is_ever_passed_whatever_dies_freezes_or_is_lost(
    seed: int, allowed: Limits, now: datetime
) -> None:
    with Simulation(seed, allowed, chances=MISFORTUNES, now=now) as simulation:
        chance = simulation.random
        for number in range(40):
            again = chance.randrange(number + 1)
            twin = chance.random() < 0.2
            names = [f"run-{again if twin else number}"]
            if chance.random() < 0.2:
                names.append(f"run-{number}-b")
            simulation.request(
                *names,
                minutes=chance.choice((None, 0, 1, 15)),
                deadline=chance.choice((5, 60)),
                repeats=2,
            )
        simulation.run()
        simulation.check()


@races
@given(seed=seeds, allowed=limits)
def test_what_died_costs_nothing_after_ten_minutes(seed: int, allowed: Limits) -> None:
    with Simulation(seed, allowed, chances=Chances(death=0.3)) as simulation:
        for number in range(12):
            simulation.request(f"run-{number}", deadline=5)
        simulation.run()
        used = {
            row["pipeline_logging_id"] for row in simulation.ledger if row["event"] == "ADMITTED"
        }
        simulation.now += timedelta(minutes=11)
        simulation.chances = Chances()
        room = min(allowed.daily - len(used), allowed.monthly - len(used), allowed.concurrent)
        before = len(simulation.started)
        for number in range(allowed.concurrent + 3):
            simulation.request(f"later-{number}")
        simulation.run()

    assert len(simulation.started) - before == max(0, room)


@races
@given(seed=seeds, deaths=st.integers(1, 6))
def test_dead_slots_above_the_last_row_are_found_dead_one_by_one(seed: int, deaths: int) -> None:
    with Simulation(seed, Limits("TEST", 10, 10, 2)) as simulation:
        for slot in range(1, deaths + 1):
            simulation.claims[f"slot--acme_corp--{slot}"] = ("somebody", simulation.now)
        simulation.request("early")
        simulation.run()
        assert ("early" in simulation.started) == (deaths < 2)

        simulation.now += timedelta(minutes=11)
        simulation.request("late")
        simulation.run()
        simulation.request("later")
        simulation.run()

    assert {"late", "later"} & set(simulation.started) == (
        {"late"} if "early" in simulation.started else {"late", "later"}
    )


def test_run_that_asks_again_is_told_the_same_slot() -> None:
    with Simulation(1, Limits("TEST", 2, 2, 1)) as simulation:
        simulation.request("run")
        simulation.run()
        first = simulation.started["run"]
        simulation.request("run")
        simulation.request("other")
        simulation.run()

    assert simulation.running["run"] == first
    assert list(simulation.refused) == ["other"]


@pytest.mark.parametrize("seed", range(20))
def test_run_whose_answer_was_lost_finds_itself_in(seed: int) -> None:
    with Simulation(seed, Limits("TEST", 1, 1, 1), chances=Chances(lost_answer=0.5)) as simulation:
        simulation.request("run", repeats=30)
        simulation.run()

    assert list(simulation.started) == ["run"]
    admitted = {row["slot"] for row in simulation.ledger if row["event"] == "ADMITTED"}
    assert len(admitted) == 1


def test_twins_in_one_process_share_a_slot() -> None:
    with Simulation(1, Limits("TEST", 5, 5, 5)) as simulation:
        simulation.request("twin", "twin")
        simulation.run()

    assert [row["slot"] for row in simulation.ledger] == [1]


@pytest.mark.parametrize(("minutes", "dead"), [(0, False), (4, False), (9.9, False), (10.1, True)])
def test_claim_without_a_row_counts_for_ten_minutes(minutes: float, *, dead: bool) -> None:
    with Simulation(1, Limits("TEST", 1, 9, 9)) as simulation:
        simulation.claims["slot--acme_corp--1"] = ("somebody", simulation.now)
        simulation.now += timedelta(minutes=minutes)
        simulation.request("run")
        simulation.run()

    assert ("run" in simulation.started) == dead
    events = [(row["slot"], row["event"]) for row in simulation.ledger]
    assert events == ([(2, "ADMITTED"), (1, "REFUNDED")] if dead else [])


@races
@given(seed=seeds)
def test_twins_in_two_processes_count_once(seed: int) -> None:
    with Simulation(seed, Limits("TEST", 5, 5, 5)) as simulation:
        simulation.request("twin")
        simulation.request("twin")
        simulation.run()
        for number in range(4):
            simulation.request(f"other-{number}")
            simulation.run()

    assert len(simulation.started) == 5


@races
@given(seed=seeds)
def test_end_of_a_run_frees_its_slot_at_once(seed: int) -> None:
    with Simulation(seed, Limits("TEST", 100, 100, 2)) as simulation:
        for number in range(10):
            simulation.request(f"a-{number}", minutes=0)
            simulation.request(f"b-{number}", minutes=0)
            simulation.run()

    assert len(simulation.started) == 20


def test_deadline_frees_the_slot_of_a_run_that_never_ended() -> None:
    with Simulation(1, Limits("TEST", 9, 9, 1)) as simulation:
        simulation.request("dead", deadline=60)
        simulation.run()
        simulation.now += timedelta(minutes=59)
        simulation.request("early")
        simulation.run()
        simulation.now += timedelta(minutes=2)
        simulation.request("late")
        simulation.run()

    assert set(simulation.started) == {"dead", "late"}


def test_run_past_its_deadline_is_let_in_anew_and_counts_again() -> None:
    with Simulation(1, Limits("TEST", 9, 9, 1)) as simulation:
        simulation.request("run", deadline=60)
        simulation.run()
        simulation.now += timedelta(minutes=61)
        simulation.request("run", deadline=60)
        simulation.run()
        simulation.request("other")
        simulation.run()

    assert simulation.running["run"].slot == 2
    assert list(simulation.refused) == ["other"]


def test_owner_that_stalls_for_minutes_gives_its_slot_up() -> None:
    with Simulation(1, Limits("TEST", 9, 9, 9)) as simulation:
        simulation.request("slow", repeats=0)
        process = simulation._processes[0]
        while not simulation.claims:
            simulation.step(process)
        simulation.now += timedelta(minutes=4)
        simulation.run()

    assert isinstance(simulation.refused["slow"], Retryable)
    assert [row["event"] for row in simulation.ledger] == ["ADMITTED", "REFUNDED"]


@pytest.mark.parametrize("idle", [timedelta(days=3), timedelta(days=40), timedelta(days=190)])
def test_tenant_that_comes_back_goes_on_where_it_was(idle: timedelta) -> None:
    with Simulation(1, Limits("TEST", 9, 90, 9)) as simulation:
        for number in range(5):
            simulation.request(f"before-{number}", minutes=0)
            simulation.run()
        simulation.now += idle
        if idle > timedelta(days=180):
            simulation.claims.clear()
        simulation.request("after")
        simulation.request("after that")
        simulation.run()
        calls = simulation.calls
        simulation.request("and then")
        simulation.run()

    assert sorted(simulation.running[name].slot for name in ("after", "after that")) == [6, 7]
    assert simulation.running["and then"].slot == 8
    assert simulation.calls - calls == 3


def test_new_day_and_new_month_begin_at_zero() -> None:
    with Simulation(
        1, Limits("TEST", 2, 3, 9), now=datetime(2026, 11, 29, 23, 50, tzinfo=UTC)
    ) as simulation:
        for day in range(3):
            for number in range(3):
                simulation.request(f"{day}-{number}", minutes=0)
                simulation.run()
            simulation.now += timedelta(days=1)

    counted = [entry.usage_date.day for entry in simulation.started.values()]
    assert counted == [29, 29, 30, 1, 1]
    monthly, daily = simulation.refused["1-1"], simulation.refused["2-2"]
    assert isinstance(monthly, QuotaExceededError)
    assert isinstance(daily, QuotaExceededError)
    assert (monthly.limit, daily.limit) == ("monthly", "daily")
