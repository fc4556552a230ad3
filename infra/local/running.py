"""A stack for a `with` block: `python -m infra.local up` as a child process, and where it is."""

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.processes import REPOSITORY
from infra.local.service import StartupError

_START_SECONDS = 90.0
_STOP_SECONDS = 5.0


@dataclass(frozen=True)
class RunningStack:
    """A stack that has said `ready`."""

    pid: int
    directory: Path
    """Logs are in `logs/`, what the stack printed in `stack.log`."""

    @property
    def ports(self) -> dict[str, int]:
        """Service → port; `smtp` is the mailbox's other one."""
        return dict(self._facts()["ports"])

    @property
    def urls(self) -> dict[str, str]:
        """HTTP services (`gateway`, `bigquery`, `cloud-scheduler`, …) and functions → URL."""
        http = {
            name: f"http://127.0.0.1:{self.ports[name]}"
            for name in ("gateway", "bigquery", "mailbox", "cloud-scheduler")
        }
        functions = {name: facts["url"] for name, facts in self._facts()["functions"].items()}
        return {**functions, **http}

    def environment(self) -> dict[str, str]:
        """The variables that point Google's clients, and the product, to this stack."""
        return dict(self._facts()["environment"])

    def function_processes(self) -> dict[str, int]:
        """Function → process id of the moment, which is a process group too."""
        return {name: facts["pid"] for name, facts in self._facts()["functions"].items()}

    def service_processes(self) -> dict[str, int]:
        """Process that serves one or more services → process id."""
        return dict(self._facts()["services"])

    def log(self, name: str) -> str:
        """What a function or a service process has written so far."""
        return (self.directory / "logs" / f"{name}.log").read_text(encoding="utf-8")

    def output(self) -> str:
        """What the stack itself has printed."""
        return (self.directory / "stack.log").read_text(encoding="utf-8")

    def _facts(self) -> dict[str, Any]:
        return dict(json.loads((self.directory / "ports.json").read_text(encoding="utf-8")))


@contextlib.contextmanager
def running(
    *,
    topology: Path | None = None,
    root: Path | None = None,
    state: Path | None = None,
    ephemeral: bool = True,
    free_ports: bool = True,
) -> Iterator[RunningStack]:
    """A stack, ready, for as long as the block lasts.

    `root` is the tree to bundle functions from, `state` the directory of state and logs (default:
    one that is deleted afterwards).

    Raises:
        StartupError: it did not start; the message is the stack's own.
    """
    with contextlib.ExitStack() as cleanup:
        directory = state
        if directory is None:
            directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="stack-")))
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "ports.json").unlink(missing_ok=True)
        output = cleanup.enter_context((directory / "stack.log").open("wb"))
        process = subprocess.Popen(  # noqa: S603 - this package
            [
                *(sys.executable, "-m", "infra.local", "up", "--until-eof"),
                *("--state", str(directory.resolve())),
                *("--ports-file", str(directory.resolve() / "ports.json")),
                *(("--topology", str(topology.resolve())) if topology else ()),
                *(("--root", str(root.resolve())) if root else ()),
                *(("--ephemeral",) if ephemeral else ()),
                *(("--free-ports",) if free_ports else ()),
            ],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=REPOSITORY,
        )
        cleanup.callback(_stop, process)
        stack = RunningStack(process.pid, directory)
        _await_ready(process, stack)
        yield stack


def _await_ready(process: "subprocess.Popen[bytes]", stack: RunningStack) -> None:
    tick = threading.Event()
    deadline = time.monotonic() + _START_SECONDS
    while not (stack.directory / "ports.json").exists():
        if process.poll() is not None:
            raise StartupError(stack.output().strip())
        if time.monotonic() > deadline:
            raise StartupError(f"no stack within {_START_SECONDS:.0f} s: {stack.output().strip()}")
        tick.wait(0.02)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
