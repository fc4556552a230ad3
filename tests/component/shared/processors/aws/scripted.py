"""A provider's service that says what a test wants: throttling, errors, pages that break off."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One answer of the service."""

    body: bytes
    """`{token}` in it stands for the bearer token that the request showed."""
    status: int = 200
    announced: int | None = None
    """Content-Length; absent: as long as the body is."""
    headers: Mapping[str, str] = field(default_factory=dict)


def page(content: Mapping[str, Any]) -> Answer:
    return Answer(json.dumps(content).encode())


def error(code: str, message: str = "No.", status: int = 400) -> Answer:
    body = json.dumps({"__type": code, "message": message})
    return Answer(body.encode(), status)


def xml_error(code: str, message: str, status: int = 403) -> Answer:
    """An error of services that speak XML, such as STS."""
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(f"<ErrorResponse>{error}</ErrorResponse>".encode(), status)


@dataclass
class Scripted:
    """Gives its answers in their order, the last one for ever; keeps what it was asked."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def will_say(self, *answers: Answer) -> None:
        """Forget what was to be said; say this."""
        self.answers[:] = answers

    def next(self, body: bytes) -> Answer:
        self.asked.append(json.loads(body) if body.startswith(b"{") else {})
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def scripted() -> Iterator[Scripted]:
    """The service, on a free port."""
    service = Scripted()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", "0"))
            answer = service.next(self.rfile.read(size))
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            body = answer.body.replace(b"{token}", token.encode())
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(answer.announced or len(body)))
            self.send_header("Connection", "close")
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        service.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield service
        server.shutdown()
