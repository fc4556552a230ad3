"""What recurs from hour to hour: a resource of a project that uses one SKU, under one label set."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import Any

import pyarrow as pa

from infra.local.sample_data.catalog import (
    GLOBAL,
    MULTI_REGIONS,
    REGIONS,
    SKUS,
    UNITS,
    Place,
    Sku,
)
from infra.local.sample_data.organizations import (
    ACCOUNTS,
    Account,
    Labels,
    Project,
    number_of,
    projects,
)
from infra.local.sample_data.schema import ARROW_TYPES

CONSTANT = (
    "billing_account_id", "service", "sku", "project", "labels", "system_labels", "location",
    "currency", "tags", "transaction_type", "seller_name", "price", "consumption_model",
)  # fmt: skip
"""Columns that are the same in every row of a line."""
RESOURCE = ("resource", "subscription")
"""Those of them that only the detailed export has."""

LOCAL_PRICES = {"USD": 1.0, "EUR": 0.861}
"""Google keeps price lists in local currency; this is the factor between them."""

_SCALE = {"prod": 1.0, "staging": 0.35, "dev": 0.2}
_TAX = {"USD": 0.0825, "EUR": 0.19}
_NO_PRICE = {"service": {"id": None, "description": "Invoice"}, "price": None}


@dataclass(frozen=True)
class Line:
    """One resource, or one kind of invoice line, of one account."""

    account: Account
    constants: dict[str, Any]
    kind: str
    """regular, tax, rounding or manual."""
    weight: float = 0.0
    hourly: float = 0.0
    """Middling usage of an hour in pricing units; the middling amount of an invoice line."""
    pricing_unit: str | None = None
    list_price: float = 0.0
    price: float = 0.0
    discount: str = ""
    is_machine: bool = False
    """Used around the clock, not only when people work."""

    @property
    def unit(self) -> tuple[str | None, float]:
        """Usage unit and how many of it are one pricing unit."""
        return UNITS[self.pricing_unit] if self.pricing_unit else (None, 1.0)


@cache
def lines() -> tuple[Line, ...]:
    """Every line, regular ones first."""
    regular: list[Line] = []
    invoice: list[Line] = []
    for account in ACCOUNTS:
        own = list(projects(account))
        found = [line for project in own for line in _of_project(account, project)]
        total = sum(line.weight for line in found)
        share = account.weight / total
        regular += [replace(line, weight=line.weight * share) for line in found]
        invoice += _invoice_lines(account, own)
    return (*regular, *invoice)


@cache
def constants(*, detailed: bool = False) -> pa.Table:
    """The constant columns, one row a line."""
    everything = [line.constants for line in lines()]
    names = (*CONSTANT, *RESOURCE) if detailed else CONSTANT
    return pa.table(
        {name: pa.array([row[name] for row in everything], ARROW_TYPES[name]) for name in names}
    )


def _of_project(account: Account, project: Project) -> Iterator[Line]:
    for number, sku in enumerate(SKUS):
        for place in _places(account, sku):
            # Not every project uses everything; which does what is fixed by position.
            if project.environment != "prod" and (number + len(project.project_id)) % 3 == 0:
                continue
            labels = project.label_sets[(number * 5 + len(place.name)) % len(project.label_sets)]
            yield _regular(account, project, sku, place, labels)
            if sku.discount.startswith("s") or sku.scope == "global":
                reordered = project.label_sets[-1 if labels is project.label_sets[-2] else -2]
                yield _regular(account, project, sku, place, reordered)


def _places(account: Account, sku: Sku) -> list[Place]:
    if sku.scope == "global":
        return [GLOBAL]
    if sku.scope == "multi":
        return [MULTI_REGIONS[account.multi_region]]
    regions = [REGIONS[name] for name in account.regions]
    return [_zone(place) for place in regions] if sku.scope == "zonal" else regions


def _zone(place: Place) -> Place:
    zone = f"{place.region}-b"
    return place._replace(location=zone, zone=zone)


def _regular(account: Account, project: Project, sku: Sku, place: Place, labels: Labels) -> Line:
    list_price = round(sku.price * LOCAL_PRICES[account.currency], 9)
    price = round(list_price * (1 - account.contract_discount), 9)
    machine = sku.scope == "zonal"
    own = {
        "service": {"id": sku.service_id, "description": sku.service},
        "sku": {"id": sku.sku_id(place), "description": sku.named(place)},
        "project": project.record,
        "labels": labels,
        "system_labels": _system_labels(sku),
        "location": {
            "location": place.location,
            "country": place.country,
            "region": place.region,
            "zone": place.zone,
        },
        "tags": project.tags,
        "resource": _resource(project, sku, place),
        "subscription": None,
        "price": _price(list_price, price, sku.pricing_unit),
        "consumption_model": {"id": "7754-699E-0EBF", "description": "Default"},
    }
    return Line(
        account=account,
        constants={**_common(account), **own},
        kind="regular",
        weight=_SCALE[project.environment] * (3.0 if machine else 1.0),
        hourly=sku.hourly * _SCALE[project.environment],
        pricing_unit=sku.pricing_unit,
        list_price=list_price,
        price=price,
        discount=sku.discount,
        is_machine=machine,
    )


def _price(list_price: float, price: float, unit: str) -> dict[str, Any]:
    listed = Decimal(repr(list_price)).quantize(Decimal("1e-9"))
    effective = Decimal(repr(price)).quantize(Decimal("1e-9"))
    return {
        "list_price": listed,
        "effective_price_default": effective,
        "list_price_consumption_model": listed,
        "effective_price": effective,
        "tier_start_amount": Decimal(0),
        "pricing_unit_quantity": Decimal(1),
        "unit": unit,
    }


def _resource(project: Project, sku: Sku, place: Place) -> dict[str, str] | None:
    """What was used, for the services that say it; a machine's cores and memory are of one."""
    number, zone = project.record["number"], place.zone
    if sku.service == "Cloud Storage":
        name = f"{project.project_id}-assets"
        return {"name": name, "global_name": f"//storage.googleapis.com/projects/_/buckets/{name}"}
    if sku.service != "Compute Engine" or zone is None:
        return None
    if " Instance " in sku.description:
        spot = "-spot" if sku.description.startswith("Spot") else ""
        kind, name = "instance", f"{project.project_id}-{_family(sku)}{spot}-1"
    elif "PD Capacity" in sku.description:
        kind, name = "disk", f"{project.project_id}-{sku.description.split()[0].lower()}-1"
    else:
        return None
    path = f"projects/{number}/zones/{zone}/{kind}/{number_of(f'{name}/{zone}', 19)}"
    return {"name": name, "global_name": f"//compute.googleapis.com/{path}"}


def _family(sku: Sku) -> str:
    """`n2`, of a machine's SKU."""
    words = sku.description.lower().split()
    return next((word for word in words if len(word) == 2 and word[1].isdigit()), words[0][:2])


def _system_labels(sku: Sku) -> Labels:
    if "Instance Core" not in sku.description and "Instance Ram" not in sku.description:
        return []
    values = {
        "compute.googleapis.com/machine_spec": f"{_family(sku)}-standard-8",
        "compute.googleapis.com/cores": "8",
        "compute.googleapis.com/memory": "32768",
        "compute.googleapis.com/is_unused_reservation": "false",
    }
    return [{"key": key, "value": value} for key, value in values.items()]


def _common(account: Account) -> dict[str, Any]:
    return {
        "billing_account_id": account.billing_account_id,
        "currency": account.currency,
        "transaction_type": "GOOGLE",
        "seller_name": "Google LLC" if account.currency == "USD" else "Google Cloud EMEA Limited",
    }


def _invoice_lines(account: Account, own: list[Project]) -> Iterator[Line]:
    """Tax of the account and of its first project, rounding errors and manual adjustments."""
    tax = 75 * account.weight * _TAX[account.currency]
    yield _invoice(account, "tax", "Tax", tax, None)
    yield _invoice(account, "tax", "Tax", 0.3 * tax, own[0])
    yield _invoice(account, "rounding", "Rounding error", 0.004, None)
    yield _invoice(account, "manual", "Adjustment", -5 * account.weight, None)


def _invoice(account: Account, kind: str, sku: str, amount: float, project: Project | None) -> Line:
    own: dict[str, Any] = {
        **_NO_PRICE,
        "sku": {"id": None, "description": sku},
        "project": project.record if project else None,
        "labels": [],
        "system_labels": [],
        "location": {"location": None, "country": None, "region": None, "zone": None},
        "tags": [],
        "resource": None,
        "subscription": None,
        "consumption_model": None,
    }
    return Line(account, {**_common(account), **own}, kind, hourly=amount)
