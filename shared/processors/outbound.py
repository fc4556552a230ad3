"""POST to a URL that a tenant chose, to nobody whom a tenant must not reach.

What a URL names is looked up once, every address found must be one of the public internet, and the
connection goes to the address that was checked: a name that changes its mind in between (DNS
rebinding) changes nothing. Redirects are refused, proxies of the environment are not asked, and the
whole exchange has one deadline, however slowly the other side sends.
"""

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

from shared.errors import Permanent
from shared.processors.contract import AttemptFailedError
from shared.settings import settings

SECONDS_AT_MOST = 180.0
"""Longer than `post` ever takes: what a lease around it has to outlast."""

_CONNECT_SECONDS = 5.0
_ADDRESSES_TRIED = 3
_EXCHANGE_SECONDS = 15.0
_TRIES = 3
_WAIT_SECONDS = 30.0
"""All waiting of one call for `Retry-After`; a longer one is left to the step's `retry`."""
_ANSWER_BYTES = 1000
_MAX_URL = 2000
_VISIBLE = re.compile(r"[!-\[\]-~]+")
_NOT_THE_INTERNET = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
        "fec0::/10",
    )
)
"""What `ipaddress` calls global and is not: protocol assignments, and IPv6 that stands for an IPv4
address, which is not looked into (NAT64, 6to4, Teredo), and site-local."""
_GOOD = range(200, 300)
_MAY_PASS = (408, 425, 429)


class DestinationRefusedError(Permanent):
    """The URL is none that may be posted to."""

    code = "destination-refused"


class DeliveryRefusedError(Permanent):
    """The other side says no, and would again."""

    code = "delivery-refused"


@dataclass(frozen=True)
class Destination:
    """A URL taken apart. Nothing that is said of it repeats more than `label`."""

    label: str
    """How errors name it: a host, or the secret that holds the URL."""
    scheme: str
    host: str
    port: int
    target: str

    def __repr__(self) -> str:
        """Without the path, which may be a secret."""
        return f"Destination({self.label!r})"


@dataclass(frozen=True)
class Answer:
    """What the other side said."""

    status: int
    retry_after_seconds: float | None
    text: str


def destination(url: str, label: str | None = None) -> Destination:
    """The URL, if its form is one to post to.

    Args:
        url: https; plain http only to a host of WEBHOOK_ALLOWED_HOSTS.
        label: how to name it where the URL itself is a secret; by default its host.

    Raises:
        DestinationRefusedError: it is not.
    """
    name = label or "the URL"
    parts = _parts(url)
    if parts is None or not parts.hostname:
        raise DestinationRefusedError(
            f"{name} must be an https URL in ASCII, of at most {_MAX_URL} characters"
        )
    name = label or parts.hostname
    plain = parts.scheme == "http" and parts.hostname in settings().WEBHOOK_ALLOWED_HOSTS
    if parts.scheme != "https" and not plain:
        raise DestinationRefusedError(
            f"{name} must be reached by https, not {parts.scheme or 'that'}"
        )
    if "@" in parts.netloc:
        raise DestinationRefusedError(f"{name} must be given without user and password")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Destination(name, parts.scheme, parts.hostname, port, target)


def _parts(url: str) -> SplitResult | None:
    if len(url) > _MAX_URL or not _VISIBLE.fullmatch(url):
        return None  # urlsplit would drop line breaks and tabs
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    return parts


def post(to: Destination, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send `body`, waiting out a short `Retry-After`.

    Only a 429 is answered by another request from here: it says that nothing was taken. After
    everything else that may pass, the other side may have taken it, and the step's `retry` decides.

    Raises:
        DestinationRefusedError: an address of the host is not one of the public internet.
        DeliveryRefusedError: the other side says no, or sends elsewhere.
        AttemptFailedError: not now.
    """
    waited = 0.0
    for tries_left in reversed(range(_TRIES)):
        answer = _exchange(to, body, headers)
        if answer.status in _GOOD:
            return answer
        wait = max(answer.retry_after_seconds or 1.0, 0.0)
        if answer.status != 429 or not tries_left or waited + wait > _WAIT_SECONDS:
            break
        threading.Event().wait(wait)
        waited += wait
    raise _refusal(to, answer)


def _refusal(to: Destination, answer: Answer) -> Exception:
    said = f"{to.label} answered {answer.status}"
    if answer.status in _MAY_PASS or answer.status >= 500:
        return AttemptFailedError(said, retry_after_seconds=answer.retry_after_seconds)
    if 300 <= answer.status < 400:
        return DeliveryRefusedError(f"{said}: redirects are not followed; give the final URL")
    # One word is a reason, such as Slack's `no_service`; a sentence may repeat what was sent.
    reason = answer.text if re.fullmatch(r"[a-z_]{1,40}", answer.text) else ""
    return DeliveryRefusedError(f"{said}{reason and ': '}{reason}")


def _exchange(to: Destination, body: bytes, headers: Mapping[str, str]) -> Answer:
    from http.client import HTTPConnection, HTTPException
    from ssl import SSLSocket

    addresses = _checked_addresses(to)
    try:
        with closing(_connected(to, addresses)) as plug, _deadline(plug):
            if isinstance(plug, SSLSocket):
                plug.do_handshake()
            connection = HTTPConnection(to.host, to.port)
            connection.default_port = 443 if to.scheme == "https" else 80
            connection.sock = plug
            connection.request("POST", to.target, body, dict(headers))
            response = connection.getresponse()
            text = response.read(_ANSWER_BYTES).decode("utf-8", "replace").strip()
            return Answer(response.status, _seconds(response.getheader("Retry-After")), text)
    except (OSError, HTTPException) as error:
        # Words of the system only: an HTTPException may quote what the other side sent.
        reason = str(error) if isinstance(error, OSError) else type(error).__name__
        raise AttemptFailedError(f"{to.label} cannot be reached: {reason}") from None


def _checked_addresses(to: Destination) -> list[str]:
    """The addresses of the host, all of which may be connected to."""
    try:
        found = socket.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise AttemptFailedError(f"the host of {to.label} cannot be found") from None
    addresses = [str(entry[4][0]) for entry in found]
    if to.host not in settings().WEBHOOK_ALLOWED_HOSTS and not all(map(is_public, addresses)):
        raise DestinationRefusedError(
            f"{to.label} leads to an address inside of a network; only hosts of the public"
            " internet are notified"
        )
    return list(dict.fromkeys(addresses))[:_ADDRESSES_TRIED]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    listed = any(ip in network for network in _NOT_THE_INTERNET)
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not listed


def _connected(to: Destination, addresses: list[str]) -> socket.socket:
    """A connection, its handshake still to come: that counts against the deadline."""
    for address in addresses[:-1]:
        with suppress(OSError):
            return _secured(to, socket.create_connection((address, to.port), _CONNECT_SECONDS))
    return _secured(to, socket.create_connection((addresses[-1], to.port), _CONNECT_SECONDS))


def _secured(to: Destination, plug: socket.socket) -> socket.socket:
    if to.scheme == "http":
        return plug
    import ssl

    try:
        return ssl.create_default_context().wrap_socket(
            plug, server_hostname=to.host, do_handshake_on_connect=False
        )
    except BaseException:
        plug.close()
        raise


@contextmanager
def _deadline(plug: socket.socket) -> Iterator[None]:
    """End an exchange in time, also one that gets a byte every few seconds."""
    plug.settimeout(_EXCHANGE_SECONDS)

    def hang_up() -> None:
        with suppress(OSError):
            socket.socket.shutdown(plug, socket.SHUT_RDWR)

    timer = threading.Timer(_EXCHANGE_SECONDS, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _seconds(retry_after: str | None) -> float | None:
    """`Retry-After` in seconds from now; it is a number or a date (RFC 9110, section 10.2.3)."""
    if not retry_after:
        return None
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after[:9])
    with suppress(ValueError):
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    return None
