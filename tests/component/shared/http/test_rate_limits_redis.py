"""Shares counted in a real Redis: together for all processes, and what happens when it is gone."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from flask import Flask
from pytest_mock import MockerFixture

from infra.local.processes import reserve_port
from shared.http import rate_limits
from shared.http.rate_limits import RateLimitedError
from shared.settings import settings
from tests.waiting import wait_until

_SERVER = shutil.which("redis-server")


@dataclass
class Redis:
    """A Redis that forgets everything when it is stopped."""

    port: int
    directory: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        assert _SERVER is not None
        self.process = subprocess.Popen(
            [_SERVER, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""],
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
        )
        wait_until(self._answers, message="an answer of Redis")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)

    def _answers(self) -> bool:
        with closing(redis.Redis(port=self.port, socket_timeout=1)) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    """Needs `redis-server`; without it the tests are skipped on a laptop and fail in CI."""
    if _SERVER is None:
        message = "redis-server is not installed: apt-get install redis-server"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with closing(reserve_port("127.0.0.1", 0)) as reserved:
        started = Redis(reserved.getsockname()[1], tmp_path)
        started.start()
        yield started
        started.kill()


@pytest.fixture
def ask(
    server: Redis, monkeypatch: pytest.MonkeyPatch, fresh: Callable[[], str]
) -> Iterator[Callable[[], bool]]:
    """Ask for a run of a tenant that has three a minute; False when that is too many."""
    tenant_id = fresh()
    monkeypatch.setenv("RATE_LIMIT_STORAGE", server.url)
    monkeypatch.setenv("RATE_LIMIT_RUNS", "3/minute")
    forget()
    app = Flask("toy")

    def spend() -> bool:
        with app.app_context():
            try:
                rate_limits.spend("POST /run", tenant_id, runs_of=tenant_id)
            except RateLimitedError:
                return False
            return True

    yield spend
    forget()


def forget() -> None:
    """As in a process that has just begun."""
    settings.cache_clear()
    rate_limits._counts.cache_clear()


def test_processes_share_one_count(ask: Callable[[], bool]) -> None:
    counted = [ask(), ask()]
    forget()

    assert [*counted, ask(), ask()] == [True, True, True, False]


def test_requests_pass_while_redis_is_gone_counted_by_the_process_alone(
    ask: Callable[[], bool], server: Redis, mocker: MockerFixture
) -> None:
    log = mocker.patch.object(rate_limits, "log")
    assert ask()

    server.kill()

    assert [ask() for _ in range(4)] == [True, True, True, False]
    assert log.call_count == 1
    assert "does not answer" in str(log.call_args)


def test_redis_counts_again_half_a_minute_after_it_is_back(
    ask: Callable[[], bool],
    server: Redis,
    monkeypatch: pytest.MonkeyPatch,
    mocker: MockerFixture,
) -> None:
    mocker.patch.object(rate_limits, "log")
    server.kill()
    assert [ask() for _ in range(4)] == [True, True, True, False]
    server.start()
    assert not ask()

    later = rate_limits.time.monotonic() + 31
    monkeypatch.setattr(rate_limits.time, "monotonic", lambda: later)

    assert [ask() for _ in range(4)] == [True, True, True, False]
