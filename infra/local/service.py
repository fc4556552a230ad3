"""What every server of the local cloud shares: how it starts, binds, fails and stops."""

import errno
import socket
import threading
from typing import Any, Protocol

import uvicorn


class StartupError(Exception):
    """A service cannot start; the message is the one line that a person should read."""


class RunningService(Protocol):
    """A server that answers on `host:port` until `stop` is called."""

    host: str
    port: int

    def stop(self) -> None:
        """Stop answering, flush state. Takes at most two seconds; a second call does nothing."""


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound, listening TCP socket; `port` 0 picks a free one.

    Raises:
        StartupError: the port is taken or the address is not this machine's.
    """
    # The protocol is named because asyncio sets TCP_NODELAY only then: without it, every answer
    # waits some 40 ms for a delayed acknowledgement.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(1024)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise StartupError(
                f"port {port} on {host} is in use: stop what listens there or choose another port"
            ) from error
        raise StartupError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return bound


class UvicornService:
    """An ASGI application served on its own thread until `stop`."""

    def __init__(self, app: Any, *, host: str, port: int) -> None:
        self._socket = listening_socket(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name=f"http-{self.port}", daemon=True)
        self._failure: BaseException | None = None
        self._thread.start()
        self._await_start()

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for the start
            self._failure = error

    def _await_start(self) -> None:
        tick = threading.Event()
        while not self._server.started:
            if not self._thread.is_alive():
                raise StartupError(f"the HTTP server on port {self.port} ended: {self._failure}")
            tick.wait(0.005)

    def stop(self) -> None:
        """Stop accepting, give open requests a second, close the socket."""
        self._server.should_exit = True
        self._thread.join(timeout=2)
        self._socket.close()
