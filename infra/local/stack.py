"""The whole topology on this machine: `python -m infra.local up`."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra import topology as topologies
from infra.local.functions import HOST, FunctionProcess, bundles
from infra.local.processes import REPOSITORY, Child, Guard, reserve_port
from infra.local.running import RunningStack, running
from infra.local.service import StartupError
from infra.local.serving import DEFAULT_PORTS, DEFAULT_SMTP_PORT, DEFAULT_STATE
from infra.topology import Topology, TopologyError

__all__ = ["RunningStack", "Stack", "StartupError", "running", "up"]

_READY_SECONDS = 60.0
# Functions get less: what they had in hand is delivered again.
_FUNCTION_GRACE_SECONDS = 1.0
_SERVICE_GRACE_SECONDS = 2.3

# Process → services that it runs. The small ones share one: each alone would cost 60 MB.
_PROCESSES = {
    "bigquery": ("bigquery",),
    "pubsub": ("pubsub",),
    "small-services": (
        *("kms", "secrets", "mailbox", "cloud-scheduler", "identity"),
        *("aws", "azure", "azure-blob"),
    ),
    "gateway": ("gateway",),
}
_SCHEMES = {"pubsub": "", "kms": "", "secrets": "", "azure-blob": "https://"}


class Stack:
    """Every process of a topology, from the first to the last."""

    def __init__(self, options: argparse.Namespace, topology: Topology, directory: Path) -> None:
        """Reserve every port.

        Raises:
            StartupError: a port is in use.
        """
        self._options = options
        self._topology = topology
        self._topology_path: Path = (options.topology or topologies.DEFAULT_PATH).resolve()
        self._root: Path = (options.root or REPOSITORY).resolve()
        self._directory = directory
        self._trusted = directory.resolve() / "trusted.pem"
        self._logs = (options.state or DEFAULT_STATE).resolve() / "logs"
        self._began = time.monotonic()
        self._stack = contextlib.ExitStack()
        self.ports = {**DEFAULT_PORTS, "smtp": DEFAULT_SMTP_PORT}
        for name, port in self.ports.items():
            reserved = reserve_port(HOST, 0 if options.free_ports else port)
            self._stack.enter_context(reserved)
            self.ports[name] = reserved.getsockname()[1]
        self.functions = [
            FunctionProcess(name, topology, free_port=options.free_ports)
            for name in topology.functions
        ]
        for function in self.functions:
            self._stack.callback(function.close)
        self.guard = Guard()
        self._stack.callback(self.guard.finish)
        self._services: dict[str, Child] = {}
        self._errands: list[Child] = []

    async def start(self) -> None:
        """Start everything; returns once every service answers.

        Raises:
            StartupError: something did not start.
        """
        async with asyncio.TaskGroup() as group:
            services = {name: group.create_task(self._start_services(name)) for name in _PROCESSES}
            unpacked = group.create_task(
                asyncio.to_thread(bundles, self._topology, self._root, self._directory / "bundles")
            )
            group.create_task(self._provision(services))
            group.create_task(self._bootstrap(services))
            group.create_task(self._start_functions(unpacked))
        self.write_ports_file()

    async def run(self) -> None:
        """Keep the functions running until a service ends.

        Raises:
            StartupError: a service ended.
        """
        async with asyncio.TaskGroup() as group:
            for child in self._services.values():
                group.create_task(self._fail_when_ended(child))
            for function in self.functions:
                group.create_task(function.keep_running(self._restarted))

    async def stop(self) -> None:
        """End every process, within three seconds."""
        children = [function.child for function in self.functions if function.child]
        async with asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(_end(child, _FUNCTION_GRACE_SECONDS))
            for child in (*self._services.values(), *self._errands):
                group.create_task(_end(child, _SERVICE_GRACE_SECONDS))

    def close(self) -> None:
        """Kill what is left, give the ports back."""
        self._stack.close()
        if self._options.ports_file:
            self._options.ports_file.unlink(missing_ok=True)

    def environment(self) -> dict[str, str]:
        """What Google's clients and the product need to speak to this stack."""
        return {
            "GCP_PROJECT_ID": self._topology.local.project,
            "BIGQUERY_EMULATOR_HOST": f"http://{HOST}:{self.ports['bigquery']}",
            "PUBSUB_EMULATOR_HOST": f"{HOST}:{self.ports['pubsub']}",
            "KMS_EMULATOR_HOST": f"{HOST}:{self.ports['kms']}",
            "SECRET_MANAGER_EMULATOR_HOST": f"{HOST}:{self.ports['secrets']}",
            "AWS_ENDPOINT_URL": f"http://{HOST}:{self.ports['aws']}",
            "GOOGLE_TOKEN_URL": f"http://{HOST}:{self.ports['identity']}/token",
            "AZURE_AUTHORITY_URL": f"http://{HOST}:{self.ports['identity']}",
            "AZURE_MANAGEMENT_URL": f"http://{HOST}:{self.ports['azure']}",
            "AZURE_BLOB_URL": f"https://{HOST}:{self.ports['azure-blob']}/{{account}}",
            "REQUESTS_CA_BUNDLE": str(self._trusted),
        }

    def write_ports_file(self) -> None:
        """Say where everything is, and as which process; whoever reads it never sees half."""
        file: Path | None = self._options.ports_file
        if file is None:
            return
        part = file.with_suffix(".part")
        content = {
            "environment": self.environment(),
            "ports": self.ports,
            "services": {name: child.pid for name, child in self._services.items()},
            "functions": {f.name: {"url": f.url, "pid": f.pid} for f in self.functions},
        }
        part.write_text(json.dumps(content, indent=2), encoding="utf-8")
        part.replace(file)

    async def _start_services(self, process: str) -> None:
        command = [sys.executable, "-m", "infra.local", "serve"]
        specifications = [self._specification(name) for name in _PROCESSES[process]]
        child = Child(
            process,
            [*command, json.dumps(specifications)],
            self._logs / f"{process}.log",
            self.guard,
        )
        self._services[process] = child
        child.log.unlink(missing_ok=True)
        await child.start(tells_ready=True)
        await child.until_ready(_READY_SECONDS)
        for name in _PROCESSES[process]:
            scheme = _SCHEMES.get(name, "http://")
            self._say(name, f"{scheme}{HOST}:{self.ports[name]}")
            if name == "mailbox":
                self._say("smtp", f"{HOST}:{self.ports['smtp']}")

    def _specification(self, service: str) -> dict[str, Any]:
        state = None if self._options.ephemeral else str(self._directory / "state" / service)
        specification: dict[str, Any] = {
            "service": service,
            "host": HOST,
            "port": self.ports[service],
            "state": state,
        }
        if service == "bigquery":
            enforced = self._topology.local.enforce_bigquery_limits
            specification["limits"] = self._options.limits or enforced
        if service == "azure-blob":
            specification["trusted"] = str(self._trusted)
        if service == "mailbox":
            specification["smtp_port"] = self.ports["smtp"]
        if service == "cloud-scheduler":
            jobs = self._topology.scheduler_jobs
            specification |= {
                "jobs": {name: job.model_dump() for name, job in jobs.items()},
                "target": f"http://{HOST}:{self.ports['gateway']}",
                "project": self._topology.local.project,
                "paused": self._topology.local.pause_scheduler_jobs,
            }
        if service == "gateway":
            functions = self._topology.functions
            specification |= {
                "routes": [route.model_dump() for route in self._topology.routes],
                "upstreams": {function.name: function.url for function in self.functions},
                "timeouts": {name: f.timeout_seconds for name, f in functions.items()},
            }
        return specification

    async def _provision(self, services: dict[str, asyncio.Task[None]]) -> None:
        await asyncio.wait([services["small-services"], services["pubsub"]])
        arguments = {
            "topology": str(self._topology_path),
            "endpoints": {function.name: function.url for function in self.functions},
        }
        await self._run_to_end("provision", ["-m", "infra.local.provision", json.dumps(arguments)])

    async def _bootstrap(self, services: dict[str, asyncio.Task[None]]) -> None:
        if (self._root / "infra" / "bootstrap.py").exists():
            await asyncio.wait([services["bigquery"]])
            await self._run_to_end("bootstrap", ["-m", "infra.bootstrap"])

    async def _run_to_end(self, name: str, arguments: list[str]) -> None:
        environment = {
            **os.environ,
            **self.environment(),
            "BIGQUERY_LOCATION": self._topology.bigquery_location,
        }
        child = Child(
            name, [sys.executable, *arguments], self._logs / f"{name}.log", self.guard, environment
        )
        self._errands.append(child)
        child.log.unlink(missing_ok=True)
        await child.start()
        try:
            code = await asyncio.wait_for(child.ended(), _READY_SECONDS)
        except TimeoutError:
            raise child.failure("did not end") from None
        if code:
            raise child.failure("failed")
        self._say(name, "done")

    async def _start_functions(self, unpacked: "asyncio.Task[dict[str, Path]]") -> None:
        folders = await unpacked
        async with asyncio.TaskGroup() as group:
            for function in self.functions:
                log = self._logs / f"{function.name}.log"
                log.unlink(missing_ok=True)
                function.prepare(
                    folders[function.name],
                    self._function_environment(function.name),
                    self._directory / "home" / function.name,
                    log,
                    self.guard,
                )
                group.create_task(self._start_function(function))

    async def _start_function(self, function: FunctionProcess) -> None:
        await function.start()
        self._say(function.name, f"{function.url} (function, process {function.pid})")

    def _function_environment(self, name: str) -> dict[str, str]:
        function, local = self._topology.functions[name], self._topology.local
        supplied = {
            "OIDC_CERTS_URL": f"http://{HOST}:{self.ports['cloud-scheduler']}/certs",
            "SMTP_HOST": HOST,
            "SMTP_PORT": str(self.ports["smtp"]),
        }
        return {
            **self._topology.function_environment(name, local.project),
            **self.environment(),
            # As whom the function calls: BigQuery's rates are a service account's.
            "BIGQUERY_EMULATOR_HOST": (
                f"http://{function.service_account}:@{HOST}:{self.ports['bigquery']}"
            ),
            **{key: supplied[key] for key in function.deployment_environment if key in supplied},
            **function.local.environment,
            **{key: os.environ[key] for key in local.inherited_environment if key in os.environ},
        }

    async def _fail_when_ended(self, child: Child) -> None:
        await child.ended()
        raise child.failure("ended")

    def _restarted(self, line: str) -> None:
        print(line, flush=True)
        self.write_ports_file()

    def _say(self, name: str, where: str) -> None:
        print(f"{time.monotonic() - self._began:5.1f} s  {name:15} {where}", flush=True)


async def _end(child: Child, grace: float) -> None:
    if not child.pid:
        return
    child.terminate()
    try:
        await asyncio.wait_for(child.ended(), grace)
    except TimeoutError:
        child.kill()
        await child.ended()


async def _until_stopped(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    if options.until_eof:
        loop.add_reader(sys.stdin.fileno(), _at_eof(loop, stopped))
    await stopped.wait()


def _at_eof(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> Callable[[], None]:
    def read() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            loop.remove_reader(sys.stdin.fileno())
            stopped.set()

    return read


async def _run(stack: Stack, options: argparse.Namespace) -> None:
    stopped = asyncio.create_task(_until_stopped(options))

    async def life() -> None:
        await stack.start()
        print("ready", flush=True)
        await stack.run()

    running = asyncio.create_task(life())
    try:
        await asyncio.wait((stopped, running), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
            await running
        await stack.stop()


def up(options: argparse.Namespace) -> int:
    """The command; 0 when stopped, 1 after one line on stderr."""
    try:
        topology = topologies.load(options.topology or topologies.DEFAULT_PATH)
        if not options.ephemeral:
            return _up(options, topology, (options.state or DEFAULT_STATE).resolve())
        with tempfile.TemporaryDirectory(prefix="convergence-") as directory:
            return _up(options, topology, Path(directory))
    except (StartupError, TopologyError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _up(options: argparse.Namespace, topology: Topology, directory: Path) -> int:
    stack = Stack(options, topology, directory)
    try:
        if options.ephemeral:
            stack.guard.delete_in_the_end(directory)
        asyncio.run(_run(stack, options))
    except BaseExceptionGroup as failures:
        raise _first(failures) from None
    finally:
        stack.close()
    return 0


def _first(failures: BaseExceptionGroup[Any]) -> BaseException:
    """The first reason in a group of groups."""
    found: BaseException = failures
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
