"""From a variable's text to its value: what cannot be is a ValueError that says what to write.

A reader's text follows the variable's name and value, and never repeats either: some values are not
for the log.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_YES = frozenset({"true", "1", "yes", "on"})
_NO = frozenset({"false", "0", "no", "off"})
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


def shaped(pattern: str, advice: str) -> Callable[[str], str]:
    """A text that `pattern` matches whole; compiled for variables that are set only."""

    def read(text: str) -> str:
        if re.fullmatch(pattern, text, re.ASCII):
            return text
        raise ValueError(f"write {advice}")

    return read


project = shaped(r"[a-z][a-z0-9.:-]*", "a project ID, such as my-project")
location = shaped(r"[A-Za-z][A-Za-z0-9-]*", "a location, such as US or europe-west1")
http_url = shaped(r"https?://[^\s/]+\S*", "a URL, such as https://example.com")
host = shaped(r"[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]", "a host name without a scheme or a port")
host_and_port = shaped(r"[^\s:/]+:[0-9]+", "host:port, such as 127.0.0.1:8085")
email = shaped(r"[^\s@,;<>]+@[^\s@,;<>]+", "one mail address")
sender = shaped(
    r"(?:[^\x00-\x1f<>]*<[^\s@<>]+@[^\s@<>]+>|[^\s@<>]+@[^\s@<>]+)",
    "an address, with a name before it or not: Convergence <no-reply@example.com>",
)
word = shaped(r"[^\s\x00-\x1f]+", "one word")
topic_prefix = shaped(r"[A-Za-z][A-Za-z0-9._~+%-]*", "the beginning of a topic's name")
lower_case_name = shaped(r"[a-z][a-z0-9_]*", "a name in lower case")
crypto_key = shaped(
    r"projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+",
    "projects/*/locations/*/keyRings/*/cryptoKeys/*",
)
secret_version = shaped(
    r"projects/[^/\s]+/secrets/[^/\s]+/versions/[^/\s]+",
    "the version's name, projects/*/secrets/*/versions/latest, never the secret itself",
)
rate_limit_storage = shaped(
    r"memory://|rediss?://\S+", "memory://, or the URL of a Redis, such as redis://10.0.0.3:6379/0"
)
otel_exporter = shaped(r"otlp|none", "otlp or none")
_url_of_account = shaped(r"https?://\S*\{account\}\S*", "a URL with {account} in it")


def account_url(text: str) -> str:
    """A URL with a place for the storage account, and for nothing else."""
    _url_of_account(text)
    if re.findall(r"[{}]", text) != ["{", "}"]:
        raise ValueError("write a URL with {account} in it, and no other braces")
    return text


def boolean(text: str) -> bool:
    """`true` or `false`, in a few spellings."""
    if text.lower() in _YES | _NO:
        return text.lower() in _YES
    raise ValueError("write true or false")


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def read(text: str) -> int:
        if text.isascii() and text.isdecimal() and low <= int(text) <= high:
            return int(text)
        raise ValueError(f"write a whole number from {low} to {high}")

    return read


def folder(text: str) -> Path:
    """A folder that is there."""
    path = Path(text)
    if path.is_dir():
        return path
    raise ValueError("write the path of a folder that exists")


def origins(text: str) -> tuple[str, ...]:
    """A JSON array of what browsers send in `Origin`: scheme, host and port, nothing after."""
    import json

    try:
        found = json.loads(text)
    except ValueError:
        found = None
    origin = re.compile(r"https?://[^\s/,]+", re.ASCII)
    if isinstance(found, list) and all(
        isinstance(item, str) and origin.fullmatch(item) for item in found
    ):
        return tuple(found)
    raise ValueError('write a JSON array, such as ["http://localhost:3000"]')


def hosts(text: str) -> frozenset[str]:
    """Host names with commas between."""
    found = [part.strip().lower() for part in text.split(",") if part.strip()]
    for name in found:
        host(name)
    return frozenset(found)


def log_level(text: str) -> str:
    """A severity."""
    if text.upper() in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        return text.upper()
    raise ValueError("write DEBUG, INFO, WARNING or ERROR")


@dataclass(frozen=True)
class Rate:
    """So many requests a second, minute, hour or day."""

    requests: int
    seconds: int

    def of(self, noun: str) -> str:
        """`50 runs a minute`."""
        unit = next(name for name, length in _UNITS.items() if length == self.seconds)
        plural = "" if self.requests == 1 else "s"
        return f"{self.requests} {noun}{plural} {'an' if unit == 'hour' else 'a'} {unit}"


def rate(text: str) -> Rate | None:
    """`50/minute`, or `off` for none."""
    if text.lower() == "off":
        return None
    requests, _, unit = text.replace(" ", "").partition("/")
    if requests.isascii() and requests.isdecimal() and int(requests) and unit in _UNITS:
        return Rate(int(requests), _UNITS[unit])
    raise ValueError("write requests/second, /minute, /hour or /day, such as 50/minute, or off")
