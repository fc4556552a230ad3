"""Subscription plans: what a tenant may use, from `configs/plans.yml`."""

from functools import cache

from pydantic import Field

from shared.errors import FieldProblem, InvalidInputError
from shared.models import Model
from shared.settings import settings

DEFAULT_PLAN = "STARTER"


class Plan(Model):
    """The limits of one plan."""

    description: str = Field(default="", description="One line for people.")
    daily_limit: int = Field(ge=1, description="Pipeline runs a UTC day.")
    monthly_limit: int = Field(ge=1, description="Pipeline runs a UTC calendar month.")
    concurrent_limit: int = Field(ge=1, description="Pipeline runs at one time.")
    team_limit: int = Field(ge=1, description="Team members; enforced by the frontend.")
    providers_limit: int = Field(ge=1, description="Cloud providers with stored credentials.")
    max_bytes_billed: int | None = Field(
        default=None,
        ge=1,
        description="Bytes that one query may scan. Holds at once for every tenant of the plan.",
    )

    def subscribed(self) -> dict[str, int]:
        """The limits that are copied into a tenant's subscription."""
        return self.model_dump(exclude={"description", "max_bytes_billed"})


class Plans(Model):
    """All plans, by name."""

    plans: dict[str, Plan]


@cache
def plans() -> dict[str, Plan]:
    """Every plan by its name, read once."""
    import yaml

    text = (settings().CONFIGS_DIR / "plans.yml").read_text(encoding="utf-8")
    return Plans.model_validate(yaml.safe_load(text)).plans


def plan(name: str) -> Plan:
    """The plan of this name, in any case.

    Raises:
        InvalidInputError: no such plan; lists those that exist.
    """
    known = plans()
    found = known.get(name.upper())
    if found is None:
        raise InvalidInputError(
            [FieldProblem("/subscription_plan", f"must be one of {', '.join(known)}", name)]
        )
    return found


def max_bytes_billed(name: str) -> int | None:
    """Bytes that one query of a tenant with this plan may scan; None for no limit."""
    known = plans().get(name.upper())
    return known.max_bytes_billed if known else None
