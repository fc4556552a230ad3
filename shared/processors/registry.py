"""`ps_type` to processor: a literal map, imported on first use.

Loading one `ps_type` imports one module, so that a function starts without the clients of the
processors it never runs. `importlib` is allowed in this file only.

A package of one's own adds processors by entry points of the group `convergence.processors`
(docs/new-processor.md). They are looked for when a name is not built in, and not before: reading
what is installed costs milliseconds that a cold start does not have.
"""

import re
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from shared.errors import Permanent, nearest
from shared.processors.contract import Processor

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "convergence.processors"

PROCESSORS: dict[str, str] = {
    "anomaly.cost_spike": "shared.processors.anomaly.cost_spike:CostSpike",
    "aws.cost_explorer": "shared.processors.aws.cost_explorer:CostExplorer",
    "aws.cur_export": "shared.processors.aws.cur_export:CurExport",
    "azure.cost_export": "shared.processors.azure.cost_export:CostExport",
    "azure.cost_management": "shared.processors.azure.cost_management:CostManagement",
    "customer.onboarding": "shared.processors.customer.onboarding:CustomerOnboarding",
    "focus.normalize": "shared.processors.focus.normalize:Normalize",
    "gcp.bigquery_to_bigquery": "shared.processors.gcp.bigquery_to_bigquery:BigQueryToBigQuery",
    "gcp.dry_run": "shared.processors.gcp.dry_run:DryRun",
    "shared.data_quality": "shared.processors.shared.data_quality:DataQuality",
    "shared.email_notification": "shared.processors.shared.email_notification:EmailNotification",
    "shared.reconcile": "shared.processors.shared.reconcile:Reconcile",
    "shared.slack_notification": "shared.processors.shared.slack_notification:SlackNotification",
    "shared.webhook": "shared.processors.shared.webhook:Webhook",
}

ALIASES: dict[str, str] = {
    "gcp.bq_etl": "gcp.bigquery_to_bigquery",
    "notify_systems.email_notification": "shared.email_notification",
    "notify_systems.slack_notification": "shared.slack_notification",
}

FAMILIES: dict[str, str] = {"anomaly": "gcp", "focus": "gcp"}
"""Names whose steps are work inside BigQuery: the deployment of another family runs them."""

DEPLOYED = ("aws", "azure", "customer", "gcp", "shared")
"""Families with a topic and an executor; an installed processor of another name is `shared`."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\.[a-z][a-z0-9_]{0,63}", re.ASCII)


class BadEntryPointError(Permanent):
    """An installed package registers a processor in a way that cannot be."""

    code = "bad-entry-point"

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"entry point {name!r} of {ENTRY_POINTS}: {problem}")


class UnknownProcessorError(Permanent):
    """No processor has this `ps_type`."""

    code = "unknown-processor"

    def __init__(self, ps_type: str) -> None:
        self.ps_type = ps_type
        self.near = tuple(nearest(ps_type, known_types()))
        hint = f"did you mean {' or '.join(self.near)}?" if self.near else "no such name is near."
        super().__init__(f"unknown ps_type {ps_type!r}: {hint}")


def known_types() -> list[str]:
    """Every name that a template may use, aliases and installed processors included.

    Raises:
        BadEntryPointError: an installed package registers what cannot be.
    """
    return sorted({*PROCESSORS, *ALIASES, *_installed()})


def canonical(ps_type: str) -> str:
    """The processor's own name for `ps_type` or one of its aliases.

    Raises:
        UnknownProcessorError: nothing has this name.
        BadEntryPointError: it is not built in, and an installed package registers what cannot be.
    """
    name = ALIASES.get(ps_type, ps_type)
    if name not in PROCESSORS and name not in _installed():
        raise UnknownProcessorError(ps_type)
    return name


def family(ps_type: str) -> str:
    """The part before the dot, or who runs it: names the topic and the deployment of the step."""
    ps_type = canonical(ps_type)
    name = ps_type.partition(".")[0]
    if ps_type not in PROCESSORS and name not in {*DEPLOYED, *FAMILIES}:
        return "shared"
    return FAMILIES.get(name, name)


@cache
def load(ps_type: str) -> Processor:  # type: ignore[type-arg]  # config types meet at run time
    """The processor for `ps_type` or an alias of it.

    Raises:
        UnknownProcessorError: nothing has this name.
        BadEntryPointError: an installed package registers what cannot be.
    """
    name = canonical(ps_type)
    if name not in PROCESSORS:
        return _load_installed(_installed()[name])
    module_name, _, class_name = PROCESSORS[name].partition(":")
    processor: Processor = getattr(import_module(module_name), class_name)()  # type: ignore[type-arg]
    return processor


@cache
def _installed() -> "dict[str, EntryPoint]":
    """Processors of installed packages; whatever is wrong with one is an error."""
    from importlib.metadata import entry_points

    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=ENTRY_POINTS):
        if not _NAME.fullmatch(point.name):
            raise BadEntryPointError(point.name, "name it like acme.carbon")
        if point.name in PROCESSORS or point.name in ALIASES:
            raise BadEntryPointError(point.name, "this name is built in; choose another")
        if point.name in found:
            both = f"{found[point.name].value} and {point.value}"
            raise BadEntryPointError(point.name, f"two packages have it, {both}; remove one")
        found[point.name] = point
    return found


def _load_installed(point: "EntryPoint") -> Processor:  # type: ignore[type-arg]
    try:
        kind = point.load()
    except (ImportError, AttributeError) as error:
        raise BadEntryPointError(
            point.name, f"{point.value} cannot be imported: {error}"
        ) from error
    if not isinstance(kind, type) or not issubclass(kind, Processor):
        raise BadEntryPointError(point.name, f"{point.value} is no subclass of Processor")
    processor: Processor = kind()  # type: ignore[type-arg]
    if processor.ps_type != point.name:
        problem = f"{point.value} has the ps_type {processor.ps_type!r}; both must be the same"
        raise BadEntryPointError(point.name, problem)
    return processor
