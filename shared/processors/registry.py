"""`ps_type` to processor: a literal map, imported on first use.

Loading one `ps_type` imports one module, so that a function starts without the clients of the
processors it never runs. `importlib` is allowed in this file only.
"""

from functools import cache
from importlib import import_module

from shared.errors import Permanent, nearest
from shared.processors.contract import Processor

PROCESSORS: dict[str, str] = {
    "customer.onboarding": "shared.processors.customer.onboarding:CustomerOnboarding",
    "gcp.bigquery_to_bigquery": "shared.processors.gcp.bigquery_to_bigquery:BigQueryToBigQuery",
    "gcp.dry_run": "shared.processors.gcp.dry_run:DryRun",
    "shared.email_notification": "shared.processors.shared.email_notification:EmailNotification",
}

ALIASES: dict[str, str] = {
    "gcp.bq_etl": "gcp.bigquery_to_bigquery",
    "notify_systems.email_notification": "shared.email_notification",
}


class UnknownProcessorError(Permanent):
    """No processor has this `ps_type`."""

    code = "unknown-processor"

    def __init__(self, ps_type: str) -> None:
        self.ps_type = ps_type
        self.near = tuple(nearest(ps_type, known_types()))
        hint = f"did you mean {' or '.join(self.near)}?" if self.near else "no such name is near."
        super().__init__(f"unknown ps_type {ps_type!r}: {hint}")


def known_types() -> list[str]:
    """Every name that a template may use, aliases included."""
    return sorted({*PROCESSORS, *ALIASES})


def canonical(ps_type: str) -> str:
    """The processor's own name for `ps_type` or one of its aliases.

    Raises:
        UnknownProcessorError: nothing has this name.
    """
    name = ALIASES.get(ps_type, ps_type)
    if name not in PROCESSORS:
        raise UnknownProcessorError(ps_type)
    return name


def family(ps_type: str) -> str:
    """The part before the dot: names the topic and the deployment that run the step."""
    return canonical(ps_type).partition(".")[0]


@cache
def load(ps_type: str) -> Processor:  # type: ignore[type-arg]  # config types meet at run time
    """The processor for `ps_type` or an alias of it.

    Raises:
        UnknownProcessorError: nothing has this name.
    """
    module_name, _, class_name = PROCESSORS[canonical(ps_type)].partition(":")
    processor: Processor = getattr(import_module(module_name), class_name)()  # type: ignore[type-arg]
    return processor
