"""Which URLs and addresses may be posted to."""

import socket
from typing import Any

import pytest

from shared.processors import outbound
from shared.processors.contract import AttemptFailedError
from shared.processors.outbound import DestinationRefusedError, destination, is_public
from shared.settings import SettingsError, from_environment, settings


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "192.0.0.8", "198.18.0.1", "203.0.113.7", "240.0.0.1"),
        *("255.255.255.255", "224.0.0.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fd20:ce::254"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::"),
        *("2001:0:7f00:1::", "ff02::1", "64:ff9b:1::a9fe:a9fe", "fec0::1", "2001:db8::1"),
    ],
)
def test_addresses_inside_of_a_network_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "3.5.140.2", "2a00:1450:4001:80b::200e"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.example.com/x", "ftp://hooks.example.com", "file:///etc/passwd", "x", ""),
        *("https://", "https:///path", "https://user:pass@hooks.example.com/", "https://h:x/"),
        *("https://hooks.example.com/a\r\nX: y", "https://hooks.example.com/ä", "https://h:99999/"),
        *("https://good.example\\@127.0.0.1/", "https://h/ x", "HTTP://hooks.example.com", "//h/x"),
        *("https://hooks.example.com/\t", "https://[::1", "javascript:alert(1)"),
        "https://hooks.example.com/" + "x" * 2000,
    ],
)
def test_only_https_urls_are_taken_and_no_error_repeats_them(url: str) -> None:
    with pytest.raises(DestinationRefusedError) as caught:
        destination(url, "the webhook of secret 'a'")

    assert "the webhook of secret 'a' must be" in str(caught.value)
    assert "example" not in str(caught.value)


def test_url_is_taken_apart() -> None:
    found = destination("https://Hooks.Example.com:8443/a/b?c=d#e")

    assert (found.host, found.port, found.target) == ("hooks.example.com", 8443, "/a/b?c=d")
    assert "/a/b" not in repr(found)


@pytest.mark.parametrize(
    "addresses", [["10.0.0.1"], ["8.8.8.8", "169.254.169.254"], ["::ffff:10.0.0.1"]]
)
def test_a_host_with_one_private_address_is_not_connected_to(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [_entry(a) for a in addresses])
    monkeypatch.setattr(socket, "create_connection", _never)

    with pytest.raises(DestinationRefusedError, match="inside of a network"):
        outbound.post(destination("https://rebinding.example.com/"), b"{}", {})


def test_what_is_connected_to_is_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])
    asked: list[Any] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        asked.append(address)
        raise OSError("no route")

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [_entry(a) for a in next(answers)])
    monkeypatch.setattr(socket, "create_connection", connect)

    with pytest.raises(AttemptFailedError, match="no route"):
        outbound.post(destination("https://rebinding.example.com/"), b"{}", {})
    assert asked == [("8.8.8.8", 443)]


def test_allowed_hosts_are_for_laptops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1, LocalHost")
    settings.cache_clear()

    assert destination("http://localhost:8025/slack/x").port == 8025
    with pytest.raises(SettingsError, match="WEBHOOK_ALLOWED_HOSTS is refused on Cloud Run"):
        from_environment(
            {"GCP_PROJECT_ID": "p", "WEBHOOK_ALLOWED_HOSTS": "127.0.0.1", "K_SERVICE": "step"}
        )


def _entry(address: str) -> Any:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))


def _never(*_: Any, **__: Any) -> Any:
    raise AssertionError("must not connect")
