"""HTTP/1.1 to the functions: kept-alive connections, bodies streamed both ways.

Not httpx or httpcore: with those the gateway answered 840 requests/s where one function process
answers 2,000, so the gateway would have been what a load test measures.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

Headers = list[tuple[bytes, bytes]]

# Below gunicorn's keep-alive of 2 s, so that no request meets a connection that is being closed.
_IDLE_SECONDS = 1.0
# As Cloud Run does, a request waits for an instance that is just starting.
_CONNECT_SECONDS = 5.0
_POLL_SECONDS = 0.02
_READ_BYTES = 256 * 1024


class UpstreamError(Exception):
    """The function cannot be reached, or its answer broke off."""


class Response:
    """One answer: its head, then its body by `chunks`."""

    def __init__(self, connection: "_Connection", *, bodiless: bool) -> None:
        self.headers: Headers = []
        self.status = 0
        self.keep_alive = False
        self._connection = connection
        self._bodiless = bodiless
        self._parser: Any = HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self.status = self._parser.get_status_code()
        self.keep_alive = self._parser.should_keep_alive()
        if self._bodiless:
            self._complete, self.keep_alive = True, False

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._chunks.append(data)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._complete = True

    async def read_head(self) -> None:
        """Wait for status and headers.

        Raises:
            UpstreamError: the function closed the connection without them.
        """
        while not self.status:
            await self._read()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives.

        Raises:
            UpstreamError: it broke off.
        """
        while True:
            arrived, self._chunks = self._chunks, []
            for chunk in arrived:
                yield chunk
            if self._complete:
                return
            await self._read()

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request."""
        return self._complete and self.keep_alive

    async def _read(self) -> None:
        try:
            data = await self._connection.reader.read(_READ_BYTES)
            if data:
                self._parser.feed_data(data)
                return
        except (ConnectionError, HttpParserError) as error:
            raise UpstreamError(str(error) or type(error).__name__) from error
        if not self.status or self._announces_its_length():
            raise UpstreamError("it closed the connection before its answer was complete")
        self._complete, self.keep_alive = True, False

    def _announces_its_length(self) -> bool:
        names = {name.lower() for name, _ in self.headers}
        return bool(names & {b"content-length", b"transfer-encoding"})


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        """Open still, and not idle for so long that the function may close it any moment."""
        fresh = time.monotonic() - self.idle_since < _IDLE_SECONDS
        return fresh and not self.reader.at_eof() and not self.writer.is_closing()


class Upstream:
    """One function's address and the connections to it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 80
        self._idle: list[_Connection] = []

    async def send(
        self, method: str, target: bytes, headers: Headers, body: AsyncIterator[bytes] | None
    ) -> Response:
        """Send a request and wait for the head of the answer; then read `chunks` and `release`.

        Raises:
            UpstreamError: nothing listens, or the connection broke.
        """
        connection = await self._connect()
        response = Response(connection, bodiless=method == "HEAD")
        try:
            connection.writer.write(_head(method, target, headers))
            if body is not None:
                await _send_body(connection.writer, headers, body)
            await response.read_head()
        except BaseException:
            connection.writer.close()
            raise
        return response

    def release(self, response: Response) -> None:
        """Keep the connection of a complete answer, close that of any other."""
        connection = response._connection
        if response.reusable:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.writer.close()

    def close(self) -> None:
        """Close idle connections."""
        while self._idle:
            self._idle.pop().writer.close()

    async def _connect(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.writer.close()
        refused: OSError | None = None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                while True:
                    try:
                        opened = await asyncio.open_connection(self._host, self._port)
                    except ConnectionRefusedError as error:
                        refused = error
                        await asyncio.sleep(_POLL_SECONDS)
                    else:
                        return _Connection(*opened)
        except TimeoutError as error:
            reason = (refused and refused.strerror) or "no connection taken"
            raise UpstreamError(f"{reason} for {_CONNECT_SECONDS:.0f} s") from error
        except OSError as error:
            raise UpstreamError(error.strerror or str(error)) from error


def _head(method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = [method.encode() + b" " + target + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def _send_body(
    writer: asyncio.StreamWriter, headers: Headers, body: AsyncIterator[bytes]
) -> None:
    chunked = (b"transfer-encoding", b"chunked") in headers
    try:
        async for chunk in body:
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
            await writer.drain()
        if chunked:
            writer.write(b"0\r\n\r\n")
    except ConnectionError:
        # The function may have answered before it read everything: that answer counts.
        return
