"""moto's server under the roof of the local cloud.

It answers boto3 at `AWS_ENDPOINT_URL`, keeps everything in memory, and tells accounts apart by the
role that was assumed. Cost Explorer answers what was put into its queue:
`POST /moto-api/static/ce/cost-and-usage-results` (moto documentation, "ce").

moto is imported with the first request: most stacks never make one, and it costs half a second.
"""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from infra.local.service import RunningService, listening_socket


class _Moto:
    """moto's WSGI application, made when it is first asked for something."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._app: Callable[..., Iterable[bytes]] | None = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return self._made()(environ, start_response)

    def _made(self) -> Callable[..., Iterable[bytes]]:
        with self._lock:
            if self._app is None:
                from moto.moto_server.werkzeug_app import (
                    DomainDispatcherApplication,
                    create_backend_app,
                )

                self._app = DomainDispatcherApplication(create_backend_app)
            return self._app


class _QuietHandler(WSGIRequestHandler):
    """Keeps connections open, as boto3 expects, and writes no line per request."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


class _AwsService:
    def __init__(self, host: str, port: int) -> None:
        self._socket = listening_socket(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self._server = make_server(
            host,
            self.port,
            _Moto(),
            threaded=True,
            request_handler=_QuietHandler,
            fd=self._socket.fileno(),
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, name=f"aws-{self.port}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop answering; a second call does nothing."""
        self._server.shutdown()
        self._thread.join(timeout=2)
        self._server.server_close()
        self._socket.close()


def start(*, host: str, port: int, state: Path | None) -> RunningService:
    """Serve AWS until `stop`; nothing is kept in `state`.

    Raises:
        StartupError: the port is taken.
    """
    del state
    return _AwsService(host, port)
