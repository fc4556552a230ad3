"""The models of `topology.yaml`, and the checks that one name refers to another that exists."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

DEFAULT_PATH = Path(__file__).with_name("topology.yaml")

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,48}[a-z0-9]$")]
Account = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")]  # IAM's own rule
Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
Method = Literal["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]


class TopologyError(Exception):
    """The file cannot be used; one line a problem, each with the place and what to write."""


class Part(BaseModel):
    """Frozen and closed: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LocalFunction(Part):
    """What only a laptop needs of a function."""

    port: int | None = Field(default=None, ge=1, le=65535, description="Absent: any free port.")
    environment: dict[Variable, str] = {}


class Function(Part):
    """One deployment: a source, what it may touch and how it scales."""

    description: str
    source: str = Field(pattern=r"^functions\.[a-z_]+\.main$")
    entry_point: str = Field(pattern=r"^[a-z_][a-z0-9_]*$")
    service_account: Name
    memory: str = Field(pattern=r"^[0-9]+(Mi|Gi)$")
    cpu: str = Field(pattern=r"^[0-9]+(\.[0-9]+)?$")
    timeout_seconds: int = Field(ge=1, le=3600, description="Cloud Run functions: 60 min for HTTP.")
    concurrency: int = Field(ge=1, le=1000, description="Requests at once in one instance.")
    min_instances: int = Field(ge=0)
    max_instances: int = Field(ge=1)
    environment: dict[Variable, str] = {}
    deployment_environment: list[Variable] = Field(
        default=[], description="Variables whose values differ between deployments."
    )
    keys: dict[Variable, str] = Field(
        default={}, description="Variable → crypto key: its resource name, and use of the key."
    )
    secrets: dict[Variable, str] = Field(
        default={},
        description="Variable → secret: the resource name of its latest version, and access to it.",
    )
    secret_prefixes: list[Annotated[str, Field(pattern=r"^[a-z]+--$")]] = Field(
        default=[],
        description="Beginnings of the names of secrets that operators make later, for tenants:"
        " access to the values of all of them.",
    )
    service_accounts: dict[Variable, str] = Field(
        default={}, description="Variable → service account: its email address."
    )
    key_use: list[Literal["decrypt", "encrypt"]] = Field(
        default=[], description="What it may do with its keys."
    )
    publishes: list[str] = []
    includes: list[Annotated[str, Field(pattern=r"^[a-z_]+$")]] = Field(
        default=[], description="Folders below `functions/` that its bundle holds beside its own."
    )
    local: LocalFunction = LocalFunction()

    @property
    def folder(self) -> str:
        """The folder below `functions/` that holds the source."""
        return self.source.split(".")[1]

    @model_validator(mode="after")
    def _variables_are_given_once(self) -> "Function":
        names = [
            *(*self.environment, *self.deployment_environment),
            *(*self.keys, *self.secrets, *self.service_accounts),
        ]
        for name in sorted(set(names)):
            if names.count(name) > 1:
                raise ValueError(f"variable {name} is given twice: keep one of them")
        if bool(self.keys) != bool(self.key_use):
            raise ValueError("keys and key_use belong together: say what the keys are used for")
        if self.min_instances > self.max_instances:
            raise ValueError(
                f"min_instances {self.min_instances} is above max_instances {self.max_instances}"
            )
        return self


class Subscription(Part):
    """A push subscription of a function to a topic (limits: Pub/Sub's `Subscription`)."""

    topic: str
    function: str
    ack_deadline_seconds: int = Field(ge=10, le=600)
    minimum_backoff_seconds: float = Field(default=10, ge=0, le=600)
    maximum_backoff_seconds: float = Field(default=600, ge=0, le=600)
    dead_letter_topic: str | None = None
    max_delivery_attempts: int | None = Field(default=None, ge=5, le=100)
    filter: str = Field(default="", max_length=256)
    enable_message_ordering: bool = False

    @model_validator(mode="after")
    def _belongs_together(self) -> "Subscription":
        if self.minimum_backoff_seconds > self.maximum_backoff_seconds:
            raise ValueError("minimum_backoff_seconds is above maximum_backoff_seconds")
        if self.max_delivery_attempts and not self.dead_letter_topic:
            raise ValueError("max_delivery_attempts needs a dead_letter_topic")
        return self


class Route(Part):
    """Paths of the gateway that a function answers."""

    path: str = Field(
        pattern=r"^/([A-Za-z0-9._~-]+|\*)?(/([A-Za-z0-9._~-]+|\*))*(/\*\*)?$|^/\*\*$",
        description="`*` is one segment, a final `**` any number, none included.",
    )
    methods: list[Method] = Field(default=[], description="Empty: every method.")
    function: str


class Retry(Part):
    """How an attempt that failed is followed by others (Cloud Scheduler's `RetryConfig`)."""

    count: int = Field(default=0, ge=0, le=5, description="Attempts after the first one.")
    minimum_backoff_seconds: float = Field(default=5, ge=0, le=3600)
    maximum_backoff_seconds: float = Field(default=3600, ge=0, le=3600)
    maximum_doublings: int = Field(default=5, ge=0)

    @model_validator(mode="after")
    def _belongs_together(self) -> "Retry":
        if self.minimum_backoff_seconds > self.maximum_backoff_seconds:
            raise ValueError("minimum_backoff_seconds is above maximum_backoff_seconds")
        return self


class SchedulerJob(Part):
    """An HTTP job of Cloud Scheduler, with an OIDC token of `service_account` for `audience`.

    A job never runs twice at once: while it is busy, its next time waits.
    """

    description: str
    schedule: str = Field(pattern=r"^\S+( \S+){4}$", description="Five-field cron expression.")
    time_zone: str = "Etc/UTC"
    function: str
    path: str = Field(pattern="^/")
    method: Literal["GET", "POST"] = "POST"
    service_account: str
    audience: str = Field(
        description="The token's `aud`; the function's SCHEDULER_AUDIENCE, and a custom audience of"
        " its Cloud Run service."
    )
    attempt_deadline_seconds: int = Field(default=180, ge=15, le=1800)
    retry: Retry = Retry()


class Key(Part):
    """A symmetric key."""

    description: str
    rotation_days: int = Field(ge=1, le=90)


class Kms(Part):
    """One key ring and its keys."""

    location: str
    key_ring: Name
    keys: dict[Name, Key]


class LocalSecret(Part):
    """First version of a secret on a laptop: a value, or random bytes once per state directory."""

    value: str | None = None
    random_bytes: int | None = Field(default=None, ge=16, le=1024)

    @model_validator(mode="after")
    def _one_of_both(self) -> "LocalSecret":
        if (self.value is None) == (self.random_bytes is None):
            raise ValueError("give one of value and random_bytes")
        return self


class Secret(Part):
    """A secret; its versions are added by operators, never by this file."""

    description: str
    local: LocalSecret


class ServiceAccount(Part):
    """An identity. Use of keys, secrets and topics follows from the functions that name them."""

    description: str
    roles: list[str] = Field(description="Custom roles, or predefined ones (roles/...).")
    datasets: dict[str, list[str]] = Field(
        default={}, description="Dataset → custom roles that hold there only."
    )


class CustomRole(Part):
    """Exactly these permissions."""

    description: str
    permissions: list[Annotated[str, Field(pattern=r"^[a-z]+\.[a-zA-Z]+\.[a-zA-Z]+$")]]


class Dataset(Part):
    """A dataset that exists before any tenant does."""

    description: str
    labels: dict[str, str] = {}


class LogMetric(Part):
    """A counter of the log entries with one message."""

    description: str
    message: str = Field(pattern=r"^[^\"\\]+$")
    labels: list[Annotated[str, Field(pattern="^[a-z_]+$")]] = []


class Alert(Part):
    """When operators are told. The measure of each name is Terraform's business."""

    summary: str
    severity: Literal["CRITICAL", "ERROR", "WARNING"]
    threshold: float = Field(ge=0, description="Told above it.")
    window_seconds: int = Field(ge=60, le=86400, multiple_of=60, description="Measured over.")
    lasting_seconds: int = Field(
        default=0, ge=0, le=82800, multiple_of=60, description="Above it for so long."
    )


class Local(Part):
    """What only a laptop needs."""

    project: Name
    inherited_environment: list[Variable] = []
    pause_scheduler_jobs: bool = Field(
        default=False, description="Jobs run only when the local Cloud Scheduler is told to."
    )
    enforce_bigquery_limits: bool = Field(
        default=False, description="The local BigQuery holds rates and delays, not only sizes."
    )


class Topology(Part):
    """All of it."""

    bigquery_location: str
    runtime: str = Field(default="python311", pattern=r"^python3[0-9]+$")
    datasets: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Dataset] = {}
    kms: Kms
    secrets: dict[Name, Secret]
    custom_roles: dict[Annotated[str, Field(pattern=r"^[a-z][a-z_]+$")], CustomRole] = {}
    service_accounts: dict[Account, ServiceAccount]
    environment: dict[Variable, str] = {}
    deployment_environment: list[Variable] = Field(
        default=[], description="Of every function: variables whose values differ by deployment."
    )
    functions: dict[Name, Function]
    topics: list[Name]
    push_service_account: str
    subscriptions: dict[Name, Subscription]
    routes: list[Route]
    scheduler_jobs: dict[Name, SchedulerJob]
    log_metrics: dict[Annotated[str, Field(pattern=r"^[a-z_]+$")], LogMetric] = {}
    alerts: dict[Annotated[str, Field(pattern=r"^[a-z_]+$")], Alert] = {}
    local: Local

    @model_validator(mode="after")
    def _names_exist(self) -> "Topology":
        problems = [
            f"{place}: no {kind} is called {name!r}; "
            f"there are: {', '.join(sorted(known)) or 'none'}"
            for place, kind, name, known in self._references()
            if name not in known
        ]
        problems += [f"routes: {path} is routed twice" for path in self._repeated_routes()]
        problems += [f"functions: local port {port} is used twice" for port in self._shared_ports()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _references(self) -> Iterator[tuple[str, str, str, Iterable[str]]]:
        """(place, kind, name, names of that kind) of every name that refers to another part."""
        accounts, functions = self.service_accounts, self.functions
        yield "push_service_account", "service account", self.push_service_account, accounts
        for name, account in accounts.items():
            place = f"service_accounts.{name}"
            for role in account.roles:
                if not role.startswith("roles/"):
                    yield f"{place}.roles", "custom role", role, self.custom_roles
            for dataset, roles in account.datasets.items():
                yield f"{place}.datasets", "dataset", dataset, self.datasets
                for role in roles:
                    yield f"{place}.datasets.{dataset}", "custom role", role, self.custom_roles
        yield from self._references_of_functions()
        for name, subscription in self.subscriptions.items():
            place = f"subscriptions.{name}"
            yield f"{place}.topic", "topic", subscription.topic, self.topics
            yield f"{place}.function", "function", subscription.function, functions
            if subscription.dead_letter_topic:
                dead_letter_topic = subscription.dead_letter_topic
                yield f"{place}.dead_letter_topic", "topic", dead_letter_topic, self.topics
        for route in self.routes:
            yield f"routes: {route.path}", "function", route.function, functions
        for name, job in self.scheduler_jobs.items():
            place = f"scheduler_jobs.{name}"
            yield f"{place}.function", "function", job.function, functions
            yield f"{place}.service_account", "service account", job.service_account, accounts

    def _references_of_functions(self) -> Iterator[tuple[str, str, str, Iterable[str]]]:
        accounts = self.service_accounts
        for name, function in self.functions.items():
            place = f"functions.{name}"
            yield f"{place}.service_account", "service account", function.service_account, accounts
            for variable, key in function.keys.items():
                yield f"{place}.keys.{variable}", "key", key, self.kms.keys
            for variable, secret in function.secrets.items():
                yield f"{place}.secrets.{variable}", "secret", secret, self.secrets
            for variable, identity in function.service_accounts.items():
                yield f"{place}.service_accounts.{variable}", "service account", identity, accounts
            for topic in function.publishes:
                yield f"{place}.publishes", "topic", topic, self.topics

    def _repeated_routes(self) -> Iterator[str]:
        seen: set[tuple[str, str]] = set()
        for route in self.routes:
            methods: list[str] = [*route.methods] or ["*"]
            for method in methods:
                if (route.path, method) in seen:
                    yield f"{method} {route.path}"
                seen.add((route.path, method))

    def _shared_ports(self) -> Iterator[int]:
        seen: set[int] = set()
        for function in self.functions.values():
            port = function.local.port
            if port in seen:
                yield port
            seen.update([port] if port else [])

    def key_name(self, key: str, project: str) -> str:
        """The resource name of a crypto key."""
        ring = f"projects/{project}/locations/{self.kms.location}/keyRings/{self.kms.key_ring}"
        return f"{ring}/cryptoKeys/{key}"

    @staticmethod
    def email(service_account: str, project: str) -> str:
        """The address of a service account."""
        return f"{service_account}@{project}.iam.gserviceaccount.com"

    def function_environment(self, function: str, project: str) -> dict[str, str]:
        """What a function's environment holds wherever it runs, deployment variables left out."""
        deployed = self.functions[function]
        keys = {variable: self.key_name(key, project) for variable, key in deployed.keys.items()}
        secrets = {
            variable: f"projects/{project}/secrets/{secret}/versions/latest"
            for variable, secret in deployed.secrets.items()
        }
        emails = {
            variable: self.email(account, project)
            for variable, account in deployed.service_accounts.items()
        }
        return {
            "GCP_PROJECT_ID": project,
            "BIGQUERY_LOCATION": self.bigquery_location,
            **self.environment,
            **deployed.environment,
            **keys,
            **secrets,
            **emails,
        }


def load(path: Path = DEFAULT_PATH) -> Topology:
    """The checked topology of a YAML file.

    Raises:
        TopologyError: the file is missing, is not YAML or says something impossible; names every
            problem with its place.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TopologyError(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise TopologyError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    try:
        return Topology.model_validate(content)
    except ValidationError as error:
        raise TopologyError("\n".join(_lines(path, error))) from error


def _lines(path: Path, error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            text = "this key is not known here; remove it or correct its spelling"
        for line in text.splitlines():
            yield f"{path}: {place + ': ' if place else ''}{line}"
