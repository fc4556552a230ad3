"""The stack's child processes: each its own process group, its own log, known to the guard."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.service import StartupError

REPOSITORY = Path(__file__).resolve().parents[2]
_GUARD = Path(__file__).with_name("guard.py")
_TAIL_LINES = 15


class Guard:
    """The process that kills the others should this one be killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this package's own file
            [sys.executable, "-I", "-S", str(_GUARD)],
            stdin=subprocess.PIPE,
            process_group=0,
            text=True,
        )

    def watch(self, group: int) -> None:
        self._tell(f"+{group}")

    def forget(self, group: int) -> None:
        self._tell(f"-{group}")

    def delete_in_the_end(self, directory: Path) -> None:
        self._tell(f"rm {directory}")

    def finish(self) -> None:
        """Let it kill and delete what is left, and wait for that."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(timeout=5)

    def _tell(self, line: str) -> None:
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()


@dataclass
class Child:
    """One process of the stack. `start` may be called again after the process has ended."""

    name: str
    command: list[str]
    log: Path
    guard: Guard
    environment: dict[str, str] | None = None
    directory: Path = REPOSITORY
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)
    _ready: asyncio.Future[bytes] | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        """Process and process group."""
        return self._process.pid if self._process else 0

    async def start(self, *, tells_ready: bool = False) -> None:
        """Run the command; with `tells_ready` it gets a `--ready-fd` to write to."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        reader, writer = os.pipe() if tells_ready else (-1, -1)
        command = [*self.command, "--ready-fd", str(writer)] if tells_ready else self.command
        with self.log.open("ab") as log:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self.environment,
                    cwd=self.directory,
                    process_group=0,
                    pass_fds=(writer,) if tells_ready else (),
                )
            except FileNotFoundError as error:
                raise StartupError(
                    f"{error.filename} is missing: "
                    "run `pip install --require-hashes -r requirements-dev.txt`"
                ) from error
        self.guard.watch(self.pid)
        if tells_ready:
            os.close(writer)
            self._ready = asyncio.ensure_future(_read_line(reader))

    async def until_ready(self, timeout: float) -> None:
        """Wait for the line on the ready pipe.

        Raises:
            StartupError: the process ended, or took longer than `timeout` seconds.
        """
        assert self._ready is not None  # noqa: S101 - start(tells_ready=True) came first
        try:
            line = await asyncio.wait_for(self._ready, timeout)
        except TimeoutError:
            raise self.failure(f"did not answer within {timeout:.0f} s") from None
        if line != b"ready\n":
            await self.ended()
            raise self.failure("did not start")

    async def ended(self) -> int:
        """Wait for the process; whatever is left of its group is killed. The exit code."""
        assert self._process is not None  # noqa: S101 - start came first
        code = await self._process.wait()
        self.kill()
        self.guard.forget(self.pid)
        return code

    def terminate(self) -> None:
        """Ask the process to end."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        """Kill the whole group, at once."""
        if self._process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def failure(self, what: str) -> StartupError:
        """An error with the last lines of the log; one line where the log ends with one reason."""
        lines = self.tail()
        if len(lines) == 1:
            return StartupError(lines[0])
        shown = "".join(f"\n  {line}" for line in lines)
        return StartupError(f"{self.name} {what}; the end of {self.log}:{shown}")

    def tail(self) -> list[str]:
        """The last lines of the log."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()][-_TAIL_LINES:]


async def _read_line(reader: int) -> bytes:
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader()
    pipe = os.fdopen(reader, "rb")
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
    try:
        return await stream.readline()
    finally:
        transport.close()


def reserve_port(host: str, port: int) -> socket.socket:
    """A port that is this stack's until the socket is closed; 0 picks one.

    Bound but not listening: the child binds the same port (both with SO_REUSEADDR) and listens,
    nobody else is given it in between, and a restarted child finds it again.

    Raises:
        StartupError: somebody listens there.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise StartupError(
            f"port {port} on {host} is in use: stop what listens there, or start with --free-ports"
        ) from error
    return bound
