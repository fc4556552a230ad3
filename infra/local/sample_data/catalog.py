"""What can be billed: Google's services with their IDs, SKUs with units and list prices.

Service IDs and names are Google's. SKU IDs have Google's form and are derived from the SKU's
name; list prices are near Google's of 2025, in USD. The SKUs are in `skus.csv`.
"""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_GIB = 2**30
_MONTH_SECONDS = 730 * 3600

UNITS: dict[str, tuple[str, float]] = {
    "hour": ("seconds", 3600.0),
    "gibibyte hour": ("byte-seconds", _GIB * 3600.0),
    "gibibyte month": ("byte-seconds", float(_GIB * _MONTH_SECONDS)),
    "gibibyte": ("bytes", float(_GIB)),
    "tebibyte": ("bytes", float(2**40)),
    "gibibyte second": ("byte-seconds", float(_GIB)),
    "second": ("seconds", 1.0),
    "count": ("requests", 1.0),
    "month": ("seconds", float(_MONTH_SECONDS)),
}
"""Pricing unit to usage unit, and how many of the second are one of the first."""


class Place(NamedTuple):
    """Where a resource runs, in the words of SKU names and of the location columns."""

    name: str
    location: str
    country: str | None
    region: str | None
    zone: str | None


REGIONS = {
    "Iowa": Place("Iowa", "us-central1", "US", "us-central1", None),
    "South Carolina": Place("South Carolina", "us-east1", "US", "us-east1", None),
    "Belgium": Place("Belgium", "europe-west1", "BE", "europe-west1", None),
    "Frankfurt": Place("Frankfurt", "europe-west3", "DE", "europe-west3", None),
    "Singapore": Place("Singapore", "asia-southeast1", "SG", "asia-southeast1", None),
}
MULTI_REGIONS = {
    "US": Place("US Multi-region", "us", "US", None, None),
    "EU": Place("EU Multi-region", "eu", None, None, None),
}
GLOBAL = Place("global", "global", None, None, None)


@dataclass(frozen=True)
class Sku:
    """One thing with a price. `scope`: zonal, regional, multi or global."""

    service_id: str
    service: str
    description: str
    pricing_unit: str
    price: float
    hourly: float
    """Usage in pricing units of a middling resource in one hour."""
    scope: str
    discount: str = ""
    """Kinds of credits that it can earn: s(ustained), c(ommitted), d(ollar-based), f(ree tier)."""

    def sku_id(self, place: Place) -> str:
        digits = hashlib.sha256(f"{self.service_id}/{self.named(place)}".encode()).hexdigest()
        return "-".join(digits[i : i + 4] for i in (0, 4, 8)).upper()

    def named(self, place: Place) -> str:
        return self.description if self.scope == "global" else f"{self.description} {place.name}"


def _skus() -> Iterator[Sku]:
    with Path(__file__).with_name("skus.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield Sku(
                row["service_id"],
                row["service"],
                row["description"],
                row["pricing_unit"],
                float(row["price"]),
                float(row["hourly"]),
                row["scope"],
                row["discount"],
            )


SKUS: tuple[Sku, ...] = tuple(_skus())
