"""Settings: every environment variable of the product, read once, in this file only.

A dataclass with a reader per field, not a pydantic model: building that model's schema took a tenth
of a function's cold start (docs/adr/0005).
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from shared.errors import Permanent

BUNDLE_ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds `configs/` and `schemas/`, in a checkout and in a deployed bundle."""

_YES = frozenset({"true", "1", "yes", "on"})
_NO = frozenset({"false", "0", "no", "off"})


class SettingsError(Permanent):
    """Variables are missing or malformed; each is named, with its value and the fix."""

    code = "bad-settings"


def _boolean(text: str) -> bool:
    if text.lower() in _YES | _NO:
        return text.lower() in _YES
    raise ValueError("write true or false")


def _integer(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text.isdecimal() and low <= int(text) <= high:
            return int(text)
        raise ValueError(f"write a whole number from {low} to {high}")

    return read


def _origins(text: str) -> tuple[str, ...]:
    import json

    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, list) and all(isinstance(item, str) for item in found):
        return tuple(found)
    raise ValueError('write a JSON array, such as ["http://localhost:3000"]')


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


_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


def _rate(text: str) -> Rate | None:
    if text.lower() == "off":
        return None
    requests, _, unit = text.replace(" ", "").partition("/")
    if requests.isascii() and requests.isdecimal() and int(requests) and unit in _UNITS:
        return Rate(int(requests), _UNITS[unit])
    raise ValueError("write requests/second, /minute, /hour or /day, such as 50/minute, or off")


def _rate_limit_storage(text: str) -> str:
    if text == "memory://" or text.startswith(("redis://", "rediss://")):
        return text
    raise ValueError("write memory://, or the URL of a Redis, such as redis://10.0.0.3:6379/0")


def _hosts(text: str) -> frozenset[str]:
    return frozenset(host.strip().lower() for host in text.split(",") if host.strip())


def _log_level(text: str) -> str:
    if text.upper() in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        return text.upper()
    raise ValueError("write DEBUG, INFO, WARNING or ERROR")


def _variable(description: str, *, default: Any = MISSING, read: Callable[[str], Any] = str) -> Any:
    return field(default=default, metadata={"description": description, "read": read})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a function needs to know of its place. Field names are the variables' names."""

    GCP_PROJECT_ID: str = _variable("Project that holds datasets, topics, keys and secrets.")
    BIGQUERY_LOCATION: str = _variable("Location of every dataset and job.", default="US")
    BIGQUERY_EMULATOR_HOST: str | None = _variable(
        "URL of another BigQuery endpoint; unset means Google's.", default=None
    )
    PUBSUB_EMULATOR_HOST: str | None = _variable("Another Pub/Sub, host:port.", default=None)
    KMS_EMULATOR_HOST: str | None = _variable("Another Cloud KMS, host:port.", default=None)
    SECRET_MANAGER_EMULATOR_HOST: str | None = _variable(
        "Another Secret Manager, host:port.", default=None
    )
    KMS_KEY_NAME: str | None = _variable(
        "Crypto key that wraps the data keys of tenant secrets.", default=None
    )
    API_KEY_CHECKSUM_SECRET: str | None = _variable(
        "Secret version with the key of the API keys' checksums.", default=None
    )
    ADMIN_API_KEY_SECRET: str | None = _variable(
        "Secret version with the key expected in X-Admin-Key.", default=None
    )
    OPEN_ONBOARDING: bool = _variable(
        "Onboarding without X-Admin-Key; meant for a laptop.", default=False, read=_boolean
    )
    DISABLE_AUTH: bool = _variable(
        "No API keys asked for. Refused where K_SERVICE is set.", default=False, read=_boolean
    )
    CORS_ORIGINS: tuple[str, ...] = _variable(
        "JSON array of origins that browsers may call from.", default=(), read=_origins
    )
    CONFIGS_DIR: Path = _variable(  # noqa: RUF009 - a Path is immutable
        "Folder of the pipeline templates.", default=BUNDLE_ROOT / "configs", read=Path
    )
    STEP_TOPIC_PREFIX: str = _variable(
        "A step of family f is published to the topic <prefix>f.", default="step-"
    )
    STEP_FAMILY: str | None = _variable(
        "Family whose steps this executor runs; it opens no other provider's credentials.",
        default=None,
    )
    STEP_TIMEOUT_SECONDS: int = _variable(
        "Longest work of one delivery; Pub/Sub waits 600 s for its answer.",
        default=540,
        read=_integer(1, 580),
    )
    RATE_LIMIT_RUNS: Rate | None = _variable(  # noqa: RUF009 - a Rate is immutable
        "Run requests of one tenant in a time; off for no limit.",
        default=Rate(50, 60),
        read=_rate,
    )
    RATE_LIMIT_ENDPOINT: Rate | None = _variable(  # noqa: RUF009 - a Rate is immutable
        "Requests of one tenant to one endpoint in a time; off for no limit.",
        default=Rate(600, 60),
        read=_rate,
    )
    RATE_LIMIT_GLOBAL: Rate | None = _variable(  # noqa: RUF009 - a Rate is immutable
        "Requests of all callers in a time; BigQuery takes 100 calls a second of one method.",
        default=Rate(6000, 60),
        read=_rate,
    )
    RATE_LIMIT_STORAGE: str = _variable(
        "Where requests are counted: in each process, or redis://host:port/0 for all together.",
        default="memory://",
        read=_rate_limit_storage,
    )
    SCHEDULER_AUDIENCE: str | None = _variable(
        "Audience of the OIDC tokens that Cloud Scheduler sends.", default=None
    )
    SCHEDULER_SERVICE_ACCOUNT: str | None = _variable(
        "Email of the service account whose tokens these are.", default=None
    )
    OIDC_CERTS_URL: str = _variable(
        "Certificates that verify these tokens.",
        default="https://www.googleapis.com/oauth2/v1/certs",
    )
    GOOGLE_TOKEN_URL: str = _variable(
        "Where a service account's key is exchanged for a token.",
        default="https://oauth2.googleapis.com/token",
    )
    AZURE_AUTHORITY_URL: str = _variable(
        "Microsoft Entra ID, before the directory's ID.",
        default="https://login.microsoftonline.com",
    )
    AZURE_MANAGEMENT_URL: str = _variable(
        "Azure Resource Manager; it is sent tenants' tokens.",
        default="https://management.azure.com",
    )
    AZURE_BLOB_URL: str = _variable(
        "Blob Storage of an {account}; it is sent tenants' tokens.",
        default="https://{account}.blob.core.windows.net",
    )
    AWS_IDENTITY_SECRET: str | None = _variable(
        "Secret version with the AWS key that may assume tenants' roles, as JSON.", default=None
    )
    SMTP_HOST: str | None = _variable("Mail server.", default=None)
    SMTP_PORT: int = _variable("Its port.", default=587, read=_integer(1, 65535))
    SMTP_FROM: str = _variable(
        "Sender of every mail.", default="Convergence <no-reply@convergence.invalid>"
    )
    SMTP_STARTTLS: bool = _variable("Refuse to send unencrypted.", default=True, read=_boolean)
    SMTP_USERNAME: str | None = _variable("Account at the mail server.", default=None)
    SMTP_PASSWORD_SECRET: str | None = _variable(
        "Secret version with that account's password.", default=None
    )
    WEBHOOK_ALLOWED_HOSTS: frozenset[str] = _variable(
        "Hosts, with commas between, that notifications reach without TLS and at private addresses;"
        " meant for a laptop. Refused where K_SERVICE is set.",
        default=frozenset(),
        read=_hosts,
    )
    OPERATOR_EMAIL: str | None = _variable(
        "Who is told where a tenant has no admin_email of its own.", default=None
    )
    LOG_LEVEL: str = _variable("Least severity that is logged.", default="INFO", read=_log_level)
    K_SERVICE: str | None = _variable("Set by Cloud Run: the service's name.", default=None)

    def require(self, name: str) -> str:
        """The value of an optional variable that this function cannot do without.

        Raises:
            SettingsError: it is not set.
        """
        value = getattr(self, name)
        if not value:
            raise SettingsError(f"{name} is not set. {describe(name)}")
        return str(value)


def describe(name: str) -> str:
    """What a variable is for, in one sentence."""
    known = {variable.name: variable.metadata["description"] for variable in fields(Settings)}
    return str(known[name])


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Settings out of `environment`; empty values count as unset.

    Raises:
        SettingsError: names every missing or malformed variable.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for variable in fields(Settings):
        text = environment.get(variable.name, "")
        if not text:
            if variable.default is MISSING:
                problems.append(f"{variable.name} is not set. {describe(variable.name)}")
            continue
        try:
            values[variable.name] = variable.metadata["read"](text)
        except ValueError as error:
            problems.append(f"{variable.name} is {text!r}: {error}")
    if values.get("DISABLE_AUTH") and values.get("K_SERVICE"):
        problems.append("DISABLE_AUTH is refused on Cloud Run (K_SERVICE is set): remove it")
    if values.get("WEBHOOK_ALLOWED_HOSTS") and values.get("K_SERVICE"):
        problems.append("WEBHOOK_ALLOWED_HOSTS is refused on Cloud Run: remove it")
    if problems:
        raise SettingsError("; ".join(problems))
    return Settings(**values)


@cache
def settings() -> Settings:
    """The process's settings.

    Raises:
        SettingsError: names every missing or malformed variable.
    """
    return from_environment(os.environ)
