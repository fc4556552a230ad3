import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

import httpx
import pytest

from infra.local.gateway.server import start
from infra.local.service import RunningService, StartupError, listening_socket

MEBIBYTE = 1024 * 1024


class Served(Protocol):
    url: str


def headers_of(answer: httpx.Response) -> dict[str, str]:
    return dict(answer.json()["headers"])


@contextmanager
def gateway_to(port: int) -> Iterator[RunningService]:
    gateway = start(
        host="127.0.0.1",
        port=0,
        state=None,
        routes=[{"path": "/**", "function": "f"}],
        upstreams={"f": f"http://127.0.0.1:{port}"},
        timeouts={"f": 3.0},
    )
    yield gateway
    gateway.stop()


@contextmanager
def raw_server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that treats every connection as `answer` does, then closes it."""
    listener = listening_socket("127.0.0.1", 0)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_method_path_query_and_body_arrive_as_sent(http: httpx.Client, method: str) -> None:
    answer = http.request(method, "/echo/a%20b/%C3%A4?x=1&y=%2F", content=b"hello")
    seen = answer.json()
    assert seen["method"] == method
    assert seen["raw_path"] == "/echo/a%20b/%C3%A4"
    assert seen["query"] == "x=1&y=%2F"
    assert seen["body_bytes"] == 5


def test_status_and_headers_return_as_answered(http: httpx.Client) -> None:
    answer = http.get("/echo/x?status=429")
    assert answer.status_code == 429
    assert answer.headers["x-answered-by"] == "echo"
    assert [c.split(";")[0] for c in answer.headers.get_list("set-cookie")] == ["a=1", "b=2"]
    assert len(answer.headers.get_list("date")) == 1


def test_headers_arrive_and_the_client_is_named(http: httpx.Client) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    sent = {
        "X-API-Key": "k",
        "traceparent": trace,
        "X-Cloud-Trace-Context": "105445aa7843bc8bf206b12000100000/1;o=1",
        "Host": "api.example.com",
        "Connection": "keep-alive, X-Hop",
        "X-Forwarded-Proto": "https",
    }
    seen = headers_of(http.get("/echo/x", headers=sent))
    assert seen["x-api-key"] == "k"
    assert seen["traceparent"] == trace
    assert seen["x-cloud-trace-context"] == sent["X-Cloud-Trace-Context"]
    assert seen["host"] == "api.example.com"
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert "connection" not in seen


def test_a_forwarded_client_stays_first(http: httpx.Client) -> None:
    seen = headers_of(http.get("/echo/x", headers={"X-Forwarded-For": "203.0.113.7"}))
    assert seen["x-forwarded-for"] == "203.0.113.7, 127.0.0.1"


def test_head_has_headers_only(http: httpx.Client) -> None:
    for _ in range(2):
        answer = http.head("/echo/x")
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["content-length"]) > 0


def test_a_path_without_route_is_a_problem(http: httpx.Client) -> None:
    answer = http.get("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "no route has the path /nowhere"


def test_a_method_without_route_is_told_the_others(http: httpx.Client) -> None:
    answer = http.post("/read")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_function_that_is_down_is_a_bad_gateway(http: httpx.Client) -> None:
    answer = http.get("/down", timeout=30)
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    assert "function down is down" in answer.json()["detail"]


def test_a_function_that_takes_too_long_is_a_gateway_timeout(http: httpx.Client) -> None:
    answer = http.get("/echo/wait?seconds=9")
    assert answer.status_code == 504
    assert answer.json()["detail"] == "function echo did not answer within 2 s"


def test_an_answer_streams_while_it_is_made(http: httpx.Client) -> None:
    began = time.monotonic()
    with http.stream("GET", "/echo/stream?chunks=4&pause=0.25") as answer:
        arrivals = [(chunk[:1], time.monotonic() - began) for chunk in answer.iter_raw()]
    assert arrivals[0][0] == b"0"
    assert arrivals[0][1] < 0.5 < arrivals[-1][1]


def test_bodies_up_to_32_mib_pass_in_chunks(http: httpx.Client) -> None:
    def chunks(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield b"x" * MEBIBYTE

    assert http.post("/echo/x", content=chunks(32)).json()["body_bytes"] == 32 * MEBIBYTE
    answer = http.post("/echo/x", content=b"x" * (32 * MEBIBYTE))
    assert answer.json()["body_bytes"] == 32 * MEBIBYTE


def test_a_body_announced_above_32_mib_is_refused_unread(served: Served) -> None:
    head = b"POST /echo/x HTTP/1.1\r\nHost: a\r\nContent-Length: 33554433\r\n\r\n"
    with socket.create_connection(("127.0.0.1", httpx.URL(served.url).port), 5) as connection:
        connection.sendall(head)
        answer = connection.recv(65536).lower()
    assert answer.startswith(b"http/1.1 413 ")
    assert b"content-type: application/problem+json" in answer


def test_a_body_that_grows_above_32_mib_is_refused(http: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(34):
            yield b"x" * MEBIBYTE

    assert http.post("/echo/x", content=endless()).status_code == 413


def test_an_answer_given_before_the_body_was_read_arrives(http: httpx.Client) -> None:
    answer = http.post("/echo/unread", content=b"x" * MEBIBYTE)
    assert (answer.status_code, answer.text) == (403, "not read")


def test_a_large_answer_is_refused_when_its_length_is_announced() -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 33554433\r\n\r\nx")

    with raw_server(answer) as port, gateway_to(port) as gateway:
        refused = httpx.get(f"http://127.0.0.1:{gateway.port}/x")
    assert refused.status_code == 500
    assert "32 MiB" in refused.json()["detail"]


def test_an_answer_that_breaks_off_does_not_look_whole() -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    with (
        raw_server(answer) as port,
        gateway_to(port) as gateway,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        httpx.get(f"http://127.0.0.1:{gateway.port}/x")


def test_an_answer_without_length_ends_with_its_connection() -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nwhole")

    with raw_server(answer) as port, gateway_to(port) as gateway:
        assert httpx.get(f"http://127.0.0.1:{gateway.port}/x").text == "whole"


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent"])
def test_nonsense_is_a_bad_gateway(answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with raw_server(serve) as port, gateway_to(port) as gateway:
        assert httpx.get(f"http://127.0.0.1:{gateway.port}/x").status_code == 502


def test_a_kept_connection_that_its_function_closed_is_not_used_again() -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with (
        raw_server(answer) as port,
        gateway_to(port) as gateway,
        httpx.Client(base_url=f"http://127.0.0.1:{gateway.port}") as client,
    ):
        assert [client.get("/x").text for _ in range(5)] == ["ok"] * 5


def test_many_requests_at_once_all_arrive(http: httpx.Client) -> None:
    def ask(number: int) -> str:
        return str(http.get(f"/echo/{number}").json()["raw_path"])

    with ThreadPoolExecutor(16) as pool:
        paths = list(pool.map(ask, range(200)))
    assert paths == [f"/echo/{number}" for number in range(200)]


def test_a_port_in_use_is_named() -> None:
    with gateway_to(1) as gateway, pytest.raises(StartupError, match="is in use"):
        start(host="127.0.0.1", port=gateway.port, state=None, routes=[], upstreams={}, timeouts={})


def test_a_route_to_a_function_without_address_is_named() -> None:
    routes = [{"path": "/x", "function": "api"}]
    with pytest.raises(StartupError, match="/x goes to api, which has no upstream URL"):
        start(host="127.0.0.1", port=0, state=None, routes=routes, upstreams={}, timeouts={})
