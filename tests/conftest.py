"""What holds for every kind of test: its marker comes from its folder, and so do its sockets."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_socket import disable_socket, enable_socket

_TESTS = Path(__file__).parent
_KINDS = frozenset({"unit", "contract", "component", "system", "conformance", "proof"})
collect_ignore = ["proof"]  # hours of races: only where named, by `make proof`
_WITHOUT_SOCKETS = frozenset({"unit", "contract"})


def _kind(path: Path) -> str:
    return path.relative_to(_TESTS).parts[0] if path.is_relative_to(_TESTS) else ""


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the kind that its folder names; outside of the kinds is an error."""
    for item in items:
        kind = _kind(item.path)
        if kind not in _KINDS:
            raise pytest.UsageError(
                f"{item.nodeid} is in no folder of a kind: move it below one of {sorted(_KINDS)}"
            )
        item.add_marker(kind)
        # A file runs on one worker; all system tests do, for they share one stack. One that has a
        # stack of its own says so by a group of its own.
        group = "system" if kind == "system" else item.path.as_posix()
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_finish() -> None:
    """Let the garbage collector leave seven thousand tests alone.

    They live to the end. Going through them again and again made a test that reads a deeply nested
    file take half a minute in the suite, and less than a second alone.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _sockets_of_the_kind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Unit and contract tests may not open a socket; an event loop's socket pair stays allowed."""
    if _kind(request.path) not in _WITHOUT_SOCKETS:
        yield
        return
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()
