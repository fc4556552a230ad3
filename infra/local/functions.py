"""Function processes: run from their bundles as Cloud Run does, restarted when they die."""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from infra.bundle import BundleError, build, extract
from infra.local.processes import Child, Guard, reserve_port
from infra.local.service import StartupError
from infra.topology import Topology

HOST = "127.0.0.1"
_READY_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 5.0


class FunctionProcess:
    """One function: its port for as long as the stack runs, and its process of the moment."""

    def __init__(self, name: str, topology: Topology, *, free_port: bool) -> None:
        """Reserve the port.

        Raises:
            StartupError: the port is in use.
        """
        self.name = name
        self._function = topology.functions[name]
        wanted = 0 if free_port else self._function.local.port or 0
        self._reserved = reserve_port(HOST, wanted)
        self.port: int = self._reserved.getsockname()[1]
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        return self._child.pid if self._child else 0

    @property
    def child(self) -> Child | None:
        return self._child

    def prepare(
        self, directory: Path, environment: dict[str, str], home: Path, log: Path, guard: Guard
    ) -> None:
        """Say how to run it: in `directory`, with nothing of the caller's environment."""
        home.mkdir(parents=True, exist_ok=True)
        function = self._function
        command = [
            str(Path(sys.executable).with_name("functions-framework")),
            *("--target", function.entry_point),
            *("--signature-type", "http"),
            *("--host", HOST),
            *("--port", str(self.port)),
        ]
        process_environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONUNBUFFERED": "1",
            "THREADS": str(function.concurrency),
            "CLOUD_RUN_TIMEOUT_SECONDS": str(function.timeout_seconds),
            "OTEL_SERVICE_NAME": self.name,  # Cloud Run says it in K_SERVICE
            **environment,
        }
        self._child = Child(self.name, command, log, guard, process_environment, directory)

    async def start(self) -> None:
        """Start the process and wait until it answers.

        Raises:
            StartupError: it ended, or did not answer in time; with the end of its log.
        """
        child = self._prepared()
        await child.start()
        ended = asyncio.create_task(child.ended())
        answers = asyncio.create_task(self._answers())
        await asyncio.wait(
            (ended, answers), timeout=_READY_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        answered = answers.done()
        for task in (ended, answers):
            task.cancel()
        if not answered:
            raise child.failure("did not start")

    async def keep_running(self, restarted: Callable[[str], None]) -> None:
        """Start the process again whenever it ends, and tell; for ever.

        At once where it was killed, more and more slowly where it ends by itself.
        """
        child = self._prepared()
        pause = 0.0
        while True:
            code = await child.ended()
            pause = 0.0 if code < 0 else min(_LONGEST_PAUSE_SECONDS, pause * 2 + 0.1)
            await asyncio.sleep(pause)
            await child.start()
            restarted(f"{self.name}: the process ended ({_meaning(code)}), restarted as {self.pid}")

    def close(self) -> None:
        """Give the port back."""
        self._reserved.close()

    def _prepared(self) -> Child:
        if self._child is None:
            raise StartupError(f"{self.name} was started before it was prepared")
        return self._child

    async def _answers(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection(HOST, self.port)
                try:
                    # The framework answers this path itself, without the function.
                    writer.write(b"GET /robots.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    if await reader.readline():
                        return
                finally:
                    writer.close()
            except OSError:
                pass
            await asyncio.sleep(0.02)


def bundles(topology: Topology, root: Path, directory: Path) -> dict[str, Path]:
    """Build and unpack the bundle of every function; name → the folder to run from.

    What earlier builds left in `directory` is deleted.

    Raises:
        StartupError: a source is missing or does not compile.
    """
    unpacked = directory / "unpacked"
    try:
        built = {name: build(name, topology, directory, root=root) for name in topology.functions}
        folders = {name: extract(bundle, unpacked) for name, bundle in built.items()}
    except BundleError as error:
        raise StartupError(str(error)) from error
    used = {unpacked, *folders.values(), *(bundle.path for bundle in built.values())}
    for stale in {*directory.iterdir(), *unpacked.iterdir()} - used:
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    return folders


def _meaning(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
