"""Who is billed: organizations with their billing accounts, projects, labels and tags."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

Labels = list[dict[str, Any]]

_ENVIRONMENTS = ("prod", "staging", "dev")


@dataclass(frozen=True)
class Account:
    """One Cloud Billing account."""

    billing_account_id: str
    organization: str
    currency: str
    regions: tuple[str, ...]
    multi_region: str
    systems: tuple[str, ...]
    contract_discount: float
    """Part of the list price that the contract takes off."""
    weight: float
    """Share of all rows, against the other accounts."""

    def conversion_rate(self, month: str) -> float:
        """Units of the account's currency for one USD, in an invoice month."""
        if self.currency == "USD":
            return 1.0
        return {"202510": 0.856912, "202511": 0.864304}.get(month, 0.861)


ACCOUNTS: tuple[Account, ...] = (
    Account(
        "01A2B3-C4D5E6-F7A8B9", "acme", "USD", ("Iowa", "South Carolina"), "US",
        ("web", "data", "ml"), 0.0, 4.0,
    ),
    Account(
        "02B3C4-D5E6F7-A8B9C0", "techcorp", "EUR", ("Belgium", "Frankfurt"), "EU",
        ("shop", "analytics"), 0.07, 3.0,
    ),
    Account(
        "03C4D5-E6F7A8-B9C0D1", "globex", "USD", ("Iowa", "Singapore"), "US",
        ("platform", "research"), 0.03, 2.0,
    ),
    Account(
        "04D5E6-F7A8B9-C0D1E2", "acme", "EUR", ("Belgium",), "EU",
        ("web", "data"), 0.0, 1.0,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Project:
    """One project with the structures that its rows carry."""

    project_id: str
    environment: str
    record: dict[str, Any]
    """The `project` column."""
    label_sets: tuple[Labels, ...]
    """Label sets of its resources; the last repeats the one before it in another order."""
    tags: Labels


def projects(account: Account) -> Iterator[Project]:
    """The projects of an account: every system in every environment."""
    currency = account.currency.lower()
    organization = number_of(account.organization, 12)
    for system, environment in product(account.systems, _ENVIRONMENTS):
        name = f"{account.organization}-{system}-{environment}"
        project_id = name if currency == "usd" else f"{name}-{currency}"
        number = number_of(project_id, 12)
        folder = number_of(f"{account.organization}/{system}", 12)
        record = {
            "id": project_id,
            "number": number,
            "name": name.replace("-", " ").title(),
            "labels": _labels(env=environment, system=system),
            "ancestry_numbers": f"/{organization}/{folder}/",
            "ancestors": [
                {"resource_name": f"projects/{number}", "display_name": project_id},
                {"resource_name": f"folders/{folder}", "display_name": system},
                {
                    "resource_name": f"organizations/{organization}",
                    "display_name": f"{account.organization}.example",
                },
            ],
        }
        sets = _label_sets(system, environment)
        yield Project(project_id, environment, record, sets, _tags(environment, organization))


def _label_sets(system: str, environment: str) -> tuple[Labels, ...]:
    full = _labels(team=f"{system}-team", component="api", cost_center=f"cc-{len(system)}40")
    return (
        [],
        _labels(team=f"{system}-team"),
        _labels(team=f"{system}-team", component="worker"),
        [{"key": "goog-k8s-cluster-name", "value": f"{system}-{environment}"}, *full],
        full,
        full[::-1],
    )


def _labels(**pairs: str) -> Labels:
    return [{"key": key.replace("_", "-"), "value": value} for key, value in pairs.items()]


def _tags(environment: str, organization: str) -> Labels:
    if environment == "dev":
        return []
    return [
        {
            "key": "environment",
            "value": "production" if environment == "prod" else "nonproduction",
            "inherited": environment == "prod",
            "namespace": organization,
        }
    ]


def number_of(text: str, digits: int) -> str:
    """A number that looks like Google's, always the same for one text."""
    value = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return str(10 ** (digits - 1) + value % (9 * 10 ** (digits - 1)))
