"""Each service alone: `python -m infra.local kms --port 9011 [--ephemeral]`."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
SERVICES = [
    "bigquery", "pubsub", "kms", "secrets", "mailbox", "aws", "azure", "azure-blob",
    "gateway", "cloud-scheduler",
]  # fmt: skip


def command(service: str, *arguments: str) -> list[str]:
    more = ("--smtp-port", "0") if service == "mailbox" else ()
    return [sys.executable, "-m", "infra.local", service, *more, *arguments]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_service_says_ready_and_ends_on_a_signal(
    tmp_path: Path, service: str, number: signal.Signals
) -> None:
    arguments = command(service, "--port", "0", "--state", str(tmp_path / service))
    with subprocess.Popen(
        arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        found = re.fullmatch(rf"{service} ready on 127\.0\.0\.1:(\d+)\n", line)
        assert found, line
        socket.create_connection(("127.0.0.1", int(found[1])), timeout=5).close()
        began = time.monotonic()
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
        assert (process.returncode, output, errors) == (0, "", "")
        assert time.monotonic() - began < 20


@pytest.mark.parametrize("service", SERVICES)
def test_an_ephemeral_service_writes_nothing(tmp_path: Path, service: str) -> None:
    state = tmp_path / service
    arguments = command(service, "--port", "0", "--ephemeral", "--state", str(state))
    with subprocess.Popen(
        arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert "ready" in process.stdout.readline()
        process.terminate()
        process.communicate(timeout=30)
    assert not state.exists()


@pytest.mark.parametrize("service", SERVICES)
def test_a_port_in_use_is_one_line(service: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run(
            command(service, "--port", str(port), "--ephemeral"),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{service}: port {port} on 127.0.0.1 is in use")


def test_a_missing_package_is_one_line(tmp_path: Path) -> None:
    hidden = tmp_path / "aiosmtpd"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError(name='aiosmtpd')\n")
    result = subprocess.run(
        command("mailbox", "--port", "0", "--ephemeral"),
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("mailbox: the package 'aiosmtpd' is not installed: run ")
