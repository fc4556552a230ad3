from collections.abc import Callable

import pytest

from shared.expiring import ExpiringCache


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def counting() -> tuple[list[int], Callable[[], int]]:
    calls: list[int] = []

    def load() -> int:
        calls.append(len(calls))
        return len(calls)

    return calls, load


def test_value_is_loaded_once_within_its_lifetime(clock: Clock) -> None:
    cache: ExpiringCache[str, int] = ExpiringCache(60, clock=clock)
    calls, load = counting()

    assert cache.get("a", load) == 1
    clock.now += 59.9
    assert cache.get("a", load) == 1
    clock.now += 0.2
    assert cache.get("a", load) == 2
    assert len(calls) == 2


def test_none_is_remembered_like_any_value(clock: Clock) -> None:
    cache: ExpiringCache[str, None] = ExpiringCache(60, clock=clock)
    calls: list[int] = []

    cache.get("a", lambda: calls.append(1))
    cache.get("a", lambda: calls.append(1))

    assert calls == [1]


def test_error_is_not_remembered(clock: Clock) -> None:
    cache: ExpiringCache[str, int] = ExpiringCache(60, clock=clock)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: 1 // 0)

    assert cache.get("a", lambda: 7) == 7


def test_forgotten_value_is_loaded_again(clock: Clock) -> None:
    cache: ExpiringCache[str, int] = ExpiringCache(60, clock=clock)
    _, load = counting()
    cache.get("a", load)

    cache.forget("a")
    cache.forget("never there")

    assert cache.get("a", load) == 2


def test_oldest_entries_make_room_beyond_the_capacity(clock: Clock) -> None:
    cache: ExpiringCache[int, int] = ExpiringCache(60, capacity=3, clock=clock)
    for key in range(5):
        cache.get(key, lambda key=key: key)  # type: ignore[misc]
    calls, load = counting()

    for key in (2, 3, 4):
        cache.get(key, load)
    assert calls == []
    cache.get(0, load)
    assert len(calls) == 1
