"""A push endpoint that records what arrives and answers as a test wants."""

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Received:
    """One push."""

    at: float
    path: str
    headers: dict[str, str]
    content: bytes
    finished: threading.Event = field(default_factory=threading.Event)

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.content)

    @property
    def message(self) -> dict[str, Any]:
        return self.body["message"]

    @property
    def message_id(self) -> str:
        return str(self.message["messageId"])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Endpoint:
    """Answers every push with `answer(push)`: a status, or None to close the connection."""

    def __init__(self, port: int = 0) -> None:
        self.received: list[Received] = []
        self.answer: Callable[[Received], int | None] = lambda _: 204
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size = int(self.headers["content-length"])
                content = self.rfile.read(size)
                if len(content) < size:  # the sender died in the middle
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                push = Received(time.monotonic(), self.path, headers, content)
                endpoint.received.append(push)
                status = endpoint.answer(push)
                push.finished.set()
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = _Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/push?source=test"

    def pushes(self, count: int, timeout: float = 60.0) -> list[Received]:
        """The first `count` pushes, once they are here."""
        wait_until(lambda: len(self.received) >= count, timeout=timeout, message=f"{count} pushes")
        return self.received[:count]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
