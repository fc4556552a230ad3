"""Waiting in tests: on a condition, with a deadline, never for a fixed time."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    *,
    timeout: float = 60.0,
    message: str = "the condition",
    every: float = 0.02,
) -> T:
    """The first truthy value of `condition`, asked every `every` seconds.

    Raises:
        AssertionError: it stayed falsy for `timeout` seconds; names `message` and the last value.
    """
    tick = threading.Event()
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{message} did not come true within {timeout} s; last: {value!r}")
        tick.wait(every)
    return value
