"""How stacks begin and end: at once, completely, with one clear line when they cannot begin."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from google.cloud import secretmanager_v1
from google.cloud.pubsub_v1 import PublisherClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcTransport,
)

from infra.local.service import StartupError
from infra.local.stack import RunningStack, running
from tests.component.infra.process_tree import alive, descendants
from tests.waiting import wait_until

DATA = Path(__file__).parents[2] / "data"
REPOSITORY = Path(__file__).parents[3]
TOPOLOGY = DATA / "topology.yaml"
PROJECT = "projects/convergence-local"


def topology_with(tmp_path: Path, **functions: dict[str, Any]) -> Path:
    """The test topology, some functions changed."""
    content = yaml.safe_load(TOPOLOGY.read_text(encoding="utf-8"))
    for name, changes in functions.items():
        content["functions"][name].update(changes)
    file = tmp_path / "topology.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def up(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra.local", "up", "--ephemeral", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything_without_waiting_for_requests(number: signal.Signals) -> None:
    with running(topology=TOPOLOGY, root=DATA) as stack, ExitStack() as open_request:
        children = descendants(stack.pid)
        # Seven or more: services, functions with their workers, the guard.
        assert len(children) >= 7
        url = f"{stack.urls['inbox']}"
        open_request.enter_context(httpx.stream("GET", url))
        slow = socket.create_connection(("127.0.0.1", stack.ports["gateway"]))
        open_request.enter_context(slow)
        slow.sendall(b"GET /echo/slow?seconds=60 HTTP/1.1\r\nHost: a\r\n\r\n")
        os.kill(stack.pid, number)
        wait_until(lambda: not alive(children), timeout=90, message="the end of every process")


def test_killing_the_stack_kills_everything(tmp_path: Path) -> None:
    with running(topology=TOPOLOGY, root=DATA, state=tmp_path) as stack:
        children = descendants(stack.pid)
        directory = Path(httpx.get(stack.urls["echo"]).json()["directory"]).parents[2]
        os.kill(stack.pid, signal.SIGKILL)
        wait_until(lambda: not alive(children), timeout=90, message="the end of every process")
        wait_until(lambda: not directory.exists(), message="the end of the temporary directory")


def test_an_ephemeral_stack_leaves_its_logs_only(tmp_path: Path) -> None:
    with running(topology=TOPOLOGY, root=DATA, state=tmp_path) as stack:
        directory = Path(httpx.get(stack.urls["echo"]).json()["directory"]).parents[2]
    assert not directory.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "stack.log"]


def test_the_end_of_a_service_is_the_end_of_the_stack() -> None:
    with running(topology=TOPOLOGY, root=DATA) as stack:
        children = descendants(stack.pid)
        os.kill(stack.service_processes()["gateway"], signal.SIGKILL)
        wait_until(lambda: not alive(children), message="the end of every process")
        wait_until(lambda: "gateway ended" in stack.output(), message="its reason")


def test_state_outlives_a_restart_and_pushes_find_their_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def checksum(stack: RunningStack) -> bytes:
        channel = grpc.insecure_channel(stack.environment()["SECRET_MANAGER_EMULATOR_HOST"])
        transport = SecretManagerServiceGrpcTransport(channel=channel)
        with secretmanager_v1.SecretManagerServiceClient(transport=transport) as client:
            name = f"{PROJECT}/secrets/checksum/versions/latest"
            return client.access_secret_version(name=name).payload.data

    def publish(stack: RunningStack) -> None:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", stack.environment()["PUBSUB_EMULATOR_HOST"])
        with PublisherClient() as publisher:
            publisher.publish(f"{PROJECT}/topics/letters", b"x").result(10)
        wait_until(lambda: httpx.get(stack.urls["inbox"]).json(), message="the delivery")

    with running(topology=TOPOLOGY, root=DATA, state=tmp_path, ephemeral=False) as stack:
        first = checksum(stack)
        publish(stack)
    with running(topology=TOPOLOGY, root=DATA, state=tmp_path, ephemeral=False) as stack:
        # Other free ports than before: the kept subscription must have been told.
        publish(stack)
        assert checksum(stack) == first


def test_a_function_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        topology = topology_with(tmp_path, echo={"local": {"port": port}})
        with socket.create_server(("127.0.0.1", 0)):
            result = up("--topology", str(topology), "--root", str(DATA), "--state", str(tmp_path))
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "is in use: stop what listens there, or start with --free-ports" in result.stderr


def test_a_bad_topology_is_one_line(tmp_path: Path) -> None:
    topology = topology_with(tmp_path, echo={"memroy": "1Gi"})
    result = up("--free-ports", "--topology", str(topology), "--root", str(DATA))
    assert result.returncode == 1
    assert result.stderr == (
        f"{topology}: functions.echo.memroy: this key is not known here; "
        "remove it or correct its spelling\n"
    )


def test_a_function_that_cannot_be_imported_shows_the_end_of_its_log(tmp_path: Path) -> None:
    shutil.copytree(DATA, tmp_path / "root")
    broken = tmp_path / "root" / "functions" / "inbox" / "main.py"
    broken.write_text("import no_such_package\n")
    with (
        pytest.raises(StartupError, match=r"(?s)inbox did not start.*no_such_package"),
        running(topology=TOPOLOGY, root=tmp_path / "root"),
    ):
        pass


def test_a_function_with_a_syntax_error_is_one_line(tmp_path: Path) -> None:
    shutil.copytree(DATA, tmp_path / "root")
    (tmp_path / "root" / "functions" / "inbox" / "main.py").write_text("def broken(:\n")
    root = str(tmp_path / "root")
    result = up("--free-ports", "--topology", str(TOPOLOGY), "--root", root)
    assert result.returncode == 1
    assert "functions/inbox/main.py:1: " in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_corrupt_state_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "state" / "kms").mkdir(parents=True)
    (tmp_path / "state" / "kms" / "records.sqlite").write_bytes(b"nonsense" * 1000)
    with (
        pytest.raises(StartupError) as failed,
        running(topology=TOPOLOGY, root=DATA, state=tmp_path, ephemeral=False),
    ):
        pass
    assert str(failed.value).splitlines()[-1].startswith("kms: state file ")
    assert "delete it to start empty" in str(failed.value)
