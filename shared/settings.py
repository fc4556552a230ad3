"""Settings: every environment variable of the product, read once, in this file only.

A dataclass with a reader per field, not a pydantic model: building that model's schema took a tenth
of a function's cold start (docs/adr/0005).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from shared import variable_readers as readers
from shared.errors import Permanent
from shared.variable_readers import Rate

BUNDLE_ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds `configs/` and `schemas/`, in a checkout and in a deployed bundle."""


class SettingsError(Permanent):
    """Variables are missing or malformed; each is named, with its value and the fix."""

    code = "bad-settings"


def _variable(
    description: str,
    *,
    default: Any = MISSING,
    read: Callable[[str], Any],
    is_shown: bool = True,
) -> Any:
    """A variable; one that is not shown may hold a secret, by mistake or within a URL."""
    metadata = {"description": description, "read": read, "is_shown": is_shown}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a function needs to know of its place. Field names are the variables' names."""

    GCP_PROJECT_ID: str = _variable(
        "Project that holds datasets, topics, keys and secrets.",
        read=readers.project,
    )
    BIGQUERY_LOCATION: str = _variable(
        "Location of every dataset and job.",
        default="US",
        read=readers.location,
    )
    BIGQUERY_EMULATOR_HOST: str | None = _variable(
        "URL of another BigQuery endpoint; unset means Google's.",
        default=None,
        read=readers.http_url,
    )
    PUBSUB_EMULATOR_HOST: str | None = _variable(
        "Another Pub/Sub, host:port.",
        default=None,
        read=readers.host_and_port,
    )
    KMS_EMULATOR_HOST: str | None = _variable(
        "Another Cloud KMS, host:port.",
        default=None,
        read=readers.host_and_port,
    )
    SECRET_MANAGER_EMULATOR_HOST: str | None = _variable(
        "Another Secret Manager, host:port.",
        default=None,
        read=readers.host_and_port,
    )
    KMS_KEY_NAME: str | None = _variable(
        "Crypto key that wraps the data keys of tenant secrets.",
        default=None,
        read=readers.crypto_key,
    )
    API_KEY_CHECKSUM_SECRET: str | None = _variable(
        "Secret version with the key of the API keys' checksums.",
        default=None,
        read=readers.secret_version,
        is_shown=False,
    )
    ADMIN_API_KEY_SECRET: str | None = _variable(
        "Secret version with the key expected in X-Admin-Key.",
        default=None,
        read=readers.secret_version,
        is_shown=False,
    )
    OPEN_ONBOARDING: bool = _variable(
        "Onboarding without X-Admin-Key; meant for a laptop.", default=False, read=readers.boolean
    )
    DISABLE_AUTH: bool = _variable(
        "No API keys asked for. Refused where K_SERVICE is set.",
        default=False,
        read=readers.boolean,
    )
    CORS_ORIGINS: tuple[str, ...] = _variable(
        "JSON array of origins that browsers may call from.", default=(), read=readers.origins
    )
    CONFIGS_DIR: Path = _variable(  # noqa: RUF009 - a Path is immutable
        "Folder of the pipeline templates.", default=BUNDLE_ROOT / "configs", read=readers.folder
    )
    STEP_TOPIC_PREFIX: str = _variable(
        "A step of family f is published to the topic <prefix>f.",
        default="step-",
        read=readers.topic_prefix,
    )
    STEP_FAMILY: str | None = _variable(
        "Family whose steps this executor runs; it opens no other provider's credentials.",
        default=None,
        read=readers.lower_case_name,
    )
    STEP_TIMEOUT_SECONDS: int = _variable(
        "Longest work of one delivery; Pub/Sub waits 600 s for its answer.",
        default=540,
        read=readers.integer(1, 580),
    )
    RATE_LIMIT_RUNS: Rate | None = _variable(  # noqa: RUF009 - a Rate is immutable
        "Run requests of one tenant in a time; off for no limit.",
        default=Rate(50, 60),
        read=readers.rate,
    )
    RATE_LIMIT_ENDPOINT: Rate | None = _variable(  # noqa: RUF009 - a Rate is immutable
        "Requests of one tenant to one endpoint in a time; off for no limit.",
        default=Rate(600, 60),
        read=readers.rate,
    )
    RATE_LIMIT_GLOBAL: Rate | None = _variable(  # noqa: RUF009 - a Rate is immutable
        "Requests of all callers in a time; BigQuery takes 100 calls a second of one method.",
        default=Rate(6000, 60),
        read=readers.rate,
    )
    RATE_LIMIT_STORAGE: str = _variable(
        "Where requests are counted: in each process, or redis://host:port/0 for all together.",
        default="memory://",
        read=readers.rate_limit_storage,
        is_shown=False,
    )
    SCHEDULER_AUDIENCE: str | None = _variable(
        "Audience of the OIDC tokens that Cloud Scheduler sends.",
        default=None,
        read=readers.word,
    )
    SCHEDULER_SERVICE_ACCOUNT: str | None = _variable(
        "Email of the service account whose tokens these are.",
        default=None,
        read=readers.email,
    )
    OIDC_CERTS_URL: str = _variable(
        "Certificates that verify these tokens.",
        default="https://www.googleapis.com/oauth2/v1/certs",
        read=readers.http_url,
    )
    GOOGLE_TOKEN_URL: str = _variable(
        "Where a service account's key is exchanged for a token.",
        default="https://oauth2.googleapis.com/token",
        read=readers.http_url,
    )
    AZURE_AUTHORITY_URL: str = _variable(
        "Microsoft Entra ID, before the directory's ID.",
        default="https://login.microsoftonline.com",
        read=readers.http_url,
    )
    AZURE_MANAGEMENT_URL: str = _variable(
        "Azure Resource Manager; it is sent tenants' tokens.",
        default="https://management.azure.com",
        read=readers.http_url,
    )
    AZURE_BLOB_URL: str = _variable(
        "Blob Storage of an {account}; it is sent tenants' tokens.",
        default="https://{account}.blob.core.windows.net",
        read=readers.account_url,
    )
    SECRET_LIFETIME_SECONDS: int = _variable(
        "How long a secret of the service is remembered; a new version is in use after it.",
        default=60,
        read=readers.integer(1, 3600),
    )
    AWS_IDENTITY_SECRET: str | None = _variable(
        "Secret version with the AWS key that may assume tenants' roles, as JSON.",
        default=None,
        read=readers.secret_version,
        is_shown=False,
    )
    SMTP_HOST: str | None = _variable(
        "Mail server.",
        default=None,
        read=readers.host,
    )
    SMTP_PORT: int = _variable("Its port.", default=587, read=readers.integer(1, 65535))
    SMTP_FROM: str = _variable(
        "Sender of every mail.",
        default="Convergence <no-reply@convergence.invalid>",
        read=readers.sender,
    )
    SMTP_STARTTLS: bool = _variable(
        "Refuse to send unencrypted.", default=True, read=readers.boolean
    )
    SMTP_USERNAME: str | None = _variable(
        "Account at the mail server.",
        default=None,
        read=readers.word,
    )
    SMTP_PASSWORD_SECRET: str | None = _variable(
        "Secret version with that account's password.",
        default=None,
        read=readers.secret_version,
        is_shown=False,
    )
    WEBHOOK_ALLOWED_HOSTS: frozenset[str] = _variable(
        "Hosts, with commas between, that notifications reach without TLS and at private addresses;"
        " meant for a laptop. Refused where K_SERVICE is set.",
        default=frozenset(),
        read=readers.hosts,
    )
    OPERATOR_EMAIL: str | None = _variable(
        "Who is told where a tenant has no admin_email of its own.",
        default=None,
        read=readers.email,
    )
    OTEL_TRACES_EXPORTER: str = _variable(
        "Where spans go: otlp or none.", default="none", read=readers.otel_exporter
    )
    OTEL_METRICS_EXPORTER: str = _variable(
        "Where durations of requests and deliveries go: otlp or none.",
        default="none",
        read=readers.otel_exporter,
    )
    OTEL_EXPORTER_OTLP_ENDPOINT: str | None = _variable(
        "Who takes them over OTLP/HTTP: a collector, or https://telemetry.googleapis.com.",
        default=None,
        read=readers.http_url,
    )
    LOG_LEVEL: str = _variable(
        "Least severity that is logged.", default="INFO", read=readers.log_level
    )
    K_SERVICE: str | None = _variable(
        "Set by Cloud Run: the service's name.",
        default=None,
        read=readers.word,
    )

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


def from_environment(environment: Mapping[str, str], needed: Sequence[str] = ()) -> Settings:
    """Settings out of `environment`; empty values count as unset, those `needed` must be set.

    Raises:
        SettingsError: names every missing or malformed variable, in one line.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for variable in fields(Settings):
        text = environment.get(variable.name, "")
        if not text:
            if variable.default is MISSING or variable.name in needed:
                problems.append(f"{variable.name} is not set. {describe(variable.name)}")
            continue
        try:
            values[variable.name] = variable.metadata["read"](text)
        except ValueError as error:
            value = repr(text) if variable.metadata["is_shown"] else "malformed"
            problems.append(f"{variable.name} is {value}: {error}")
    if values.get("DISABLE_AUTH") and values.get("K_SERVICE"):
        problems.append("DISABLE_AUTH is refused on Cloud Run (K_SERVICE is set): remove it")
    if values.get("WEBHOOK_ALLOWED_HOSTS") and values.get("K_SERVICE"):
        problems.append("WEBHOOK_ALLOWED_HOSTS is refused on Cloud Run: remove it")
    exporters = (values.get("OTEL_TRACES_EXPORTER"), values.get("OTEL_METRICS_EXPORTER"))
    if "otlp" in exporters and not environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        name = "OTEL_EXPORTER_OTLP_ENDPOINT"
        problems.append(f"{name} is not set. {describe(name)}")
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


def needs(*names: str) -> Settings:
    """The process's settings, `names` among them: a function's first act, before any request.

    Raises:
        SystemExit: with one line that names every missing or malformed variable.
    """
    try:
        from_environment(os.environ, names)
    except SettingsError as error:
        raise SystemExit(f"not started: {error}") from None
    return settings()
