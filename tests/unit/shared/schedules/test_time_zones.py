"""Time zones: which are taken, and which name is offered for another."""

import pytest

from shared.schedules import time_zones


@pytest.mark.parametrize(
    "name", ["UTC", "Etc/UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "CET"]
)
def test_taken(name: str) -> None:
    assert time_zones.problem(name) is None


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("America/NewYork", "did you mean America/New_York"),
        ("america/new_york", "did you mean America/New_York?"),
        ("New York", "did you mean America/New_York?"),
        ("Berlin", "did you mean Europe/Berlin?"),
        ("Europe/Belrin", "did you mean Europe/Berlin"),
        ("US/Berlin", "did you mean Europe/Berlin?"),
        ("utc", "did you mean UTC?"),
        ("PST", "did you mean America/Los_Angeles?"),
        ("+02:00", "write one such as America/New_York"),
        ("", "write one such as America/New_York"),
    ],
)
def test_refused_with_the_name_that_may_be_meant(name: str, near: str) -> None:
    problem = time_zones.problem(name)

    assert problem is not None
    assert problem.startswith(f"{name!r} is not an IANA time zone; ")
    assert near in problem


@pytest.mark.parametrize(
    "name", ["localtime", "Factory", "posix/UTC", "right/UTC", "../../etc/passwd", "/UTC", "UTC\0"]
)
def test_paths_and_the_machines_own_zone_are_refused(name: str) -> None:
    assert time_zones.problem(name) is not None


def test_a_long_name_is_cut_in_the_answer() -> None:
    problem = time_zones.problem("x" * 5000)

    assert problem is not None
    assert len(problem) < 200
