"""Running services in this process: by hand, one of them; for the stack, some together."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from infra.local.service import RunningService, StartupError

DEFAULT_PORTS = {
    "bigquery": 9050,
    "pubsub": 8085,
    "kms": 9011,
    "secrets": 9012,
    "mailbox": 8025,
    "aws": 9014,
    "identity": 9015,
    "azure": 9016,
    "azure-blob": 9017,
    "gateway": 8080,
    "cloud-scheduler": 9013,
}
DEFAULT_SMTP_PORT = 1025
DEFAULT_STATE = Path(".local")


def _bigquery(**settings: Any) -> RunningService:
    from infra.local.bigquery.server import start

    return start(**settings)


def _pubsub(**settings: Any) -> RunningService:
    from infra.local.pubsub.server import start

    return start(**settings)


def _kms(**settings: Any) -> RunningService:
    from infra.local.kms.server import start

    return start(**settings)


def _secrets(**settings: Any) -> RunningService:
    from infra.local.secrets.server import start

    return start(**settings)


def _mailbox(**settings: Any) -> RunningService:
    from infra.local.mailbox.server import start

    return start(**settings)


def _aws(**settings: Any) -> RunningService:
    from infra.local.aws.server import start

    return start(**settings)


def _identity(**settings: Any) -> RunningService:
    from infra.local.identity.server import start

    return start(**settings)


def _azure(**settings: Any) -> RunningService:
    from infra.local.azure.server import start

    return start(**settings)


def _azure_blob(**settings: Any) -> RunningService:
    from infra.local.azure.storage import start

    return start(**settings)


def _gateway(**settings: Any) -> RunningService:
    from infra.local.gateway.server import start

    return start(**settings)


def _cloud_scheduler(**settings: Any) -> RunningService:
    from infra.local.scheduler.server import start

    return start(**settings)


# Imported when started: a service needs only its own packages.
_STARTS: dict[str, Callable[..., RunningService]] = {
    "bigquery": _bigquery,
    "pubsub": _pubsub,
    "kms": _kms,
    "secrets": _secrets,
    "mailbox": _mailbox,
    "aws": _aws,
    "identity": _identity,
    "azure": _azure,
    "azure-blob": _azure_blob,
    "gateway": _gateway,
    "cloud-scheduler": _cloud_scheduler,
}


def start_service(name: str, **settings: Any) -> RunningService:
    """Start one service in this process.

    Raises:
        StartupError: it cannot start; says why.
    """
    try:
        return _STARTS[name](**settings)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("infra."):
            raise
        raise StartupError(
            f"the package {error.name!r} is not installed: "
            "run `pip install --require-hashes -r requirements-dev.txt`"
        ) from error


def serve(specifications: list[dict[str, Any]], *, ready: Callable[[str], None]) -> int:
    """Run services until SIGINT or SIGTERM; the exit code.

    A specification holds `service` and the arguments of its `start`, `state` as a string or None.
    `ready` is told each service's line once all of them answer.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with ExitStack() as running:
        lines = []
        try:
            for specification in specifications:
                settings = dict(specification)
                name = settings.pop("service")
                state = settings.pop("state")
                service = start_service(name, state=Path(state) if state else None, **settings)
                running.callback(service.stop)
                lines.append(f"{name} ready on {service.host}:{service.port}")
        except StartupError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        ready("\n".join(lines))
        # A signal that comes just before a wait without end is not looked at until it ends.
        while not ended.wait(0.2):
            pass
    return 0


def serve_for_stack(specifications: str, ready_fd: int) -> int:
    """`serve` what a JSON list says and write `ready` to a file descriptor, for the stack."""

    def tell(_lines: str) -> None:
        os.write(ready_fd, b"ready\n")
        os.close(ready_fd)

    return serve(json.loads(specifications), ready=tell)
