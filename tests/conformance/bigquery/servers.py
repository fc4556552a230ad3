"""Local BigQuery servers as processes of their own, and Google's client against them."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

PROJECT = "convergence-local"
_READY = re.compile(r"bigquery ready on (\S+):(\d+)")


@dataclass
class Server:
    """A running server process."""

    process: subprocess.Popen[str]
    url: str

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self._collect()

    def stop(self) -> int:
        """End it as Ctrl-C would; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self._collect()

    def _collect(self) -> int:
        code = self.process.wait(timeout=60)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


def start_server(state: Path | None = None, *, limits: bool = False) -> Server:
    """Start a server on a free port; in memory without `state`; with rates if `limits`."""
    where = ["--ephemeral"] if state is None else ["--state", str(state)]
    where += ["--limits"] if limits else []
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.local", "bigquery", "--port", "0", *where],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    match = _READY.search(line)
    assert match, f"the server did not start: {line!r}"
    return Server(process, f"http://{match.group(1)}:{match.group(2)}")


def client_of(url: str, project: str = PROJECT) -> bigquery.Client:
    """Google's client, which finds the server by the environment while it is made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIGQUERY_EMULATOR_HOST", url)
        return bigquery.Client(project=project, credentials=AnonymousCredentials())
