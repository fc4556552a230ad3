"""What a tenant has used and what it may use, read from its ledger and its subscription at once.

`tenants.usage_ledger` holds a row for everything that became of a slot: ADMITTED, RELEASED at the
run's end, or REFUNDED when it does not count. A run counts once on the UTC day of its admission,
also where two processes admitted it at the same moment under two slots; and again on a later day if
it was let in anew because its deadline had passed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from shared.errors import AccessDeniedError, TooManyRequestsError
from shared.warehouse import rows
from shared.warehouse.queries import query

LEDGER = "tenants.usage_ledger"
DEAD_AFTER = timedelta(minutes=10)
"""A slot that was claimed longer ago has its row, or never gets one: its owner gives up before."""
_WINDOW = timedelta(days=2)
"""How far back a run may have been admitted that is still running; far above any deadline."""
_CONCURRENT_RETRY_SECONDS = 30.0

LimitName = Literal["daily", "monthly", "concurrent"]

_SENTENCES: dict[LimitName, str] = {
    "daily": "Daily pipeline quota exceeded. Upgrade or wait until tomorrow.",
    "monthly": "Monthly pipeline quota exceeded. Upgrade or wait until next month.",
    "concurrent": "Concurrent pipeline limit reached. Wait for running pipelines to complete.",
}


class QuotaExceededError(TooManyRequestsError):
    """One more run would pass a limit of the tenant's plan; `limit` says which."""

    code = "quota-exceeded"

    def __init__(self, limit: LimitName, *, retry_after_seconds: float) -> None:
        super().__init__(_SENTENCES[limit], retry_after_seconds=retry_after_seconds)
        self.limit = limit


class NoSubscriptionError(AccessDeniedError):
    """The tenant has no subscription, or one that has ended."""

    code = "no-subscription"

    def __init__(self, tenant_id: str) -> None:
        super().__init__(
            f"Tenant {tenant_id!r} has no active subscription. Subscribe to a plan first."
        )


@dataclass(frozen=True)
class Limits:
    """What the tenant's subscription allows, as it was when the ledger was read."""

    plan_name: str
    daily: int
    monthly: int
    concurrent: int


@dataclass(frozen=True)
class Admission:
    """A run that is in: it counts against the quota of `usage_date`."""

    run_id: str
    slot: int
    usage_date: date
    deadline: datetime
    """From then on the run does not count as running, whether it has ended or not."""
    released: bool = False
    """Whether the run has ended."""


@dataclass(frozen=True)
class Usage:
    """A tenant's use as its ledger shows it at one moment."""

    at: datetime
    limits: Limits
    run_today: int
    run_this_month: int
    running: int
    highest: int
    """The highest slot that has a row among those read; 0 when there is none."""
    settled: int | None
    """The highest slot with a row older than `DEAD_AFTER`: nothing below it is in doubt."""
    recent: frozenset[int]
    """Slots whose first row is younger."""
    subscribed_at: datetime
    """When the tenant subscribed first; it has no rows from before."""
    own: Mapping[str, Admission]
    """Those of the runs asked for that are in already."""
    status: str = "ACTIVE"
    """Of the subscription; in any other none of the limits opens anything."""

    @property
    def today(self) -> date:
        """The UTC day that these counts are of."""
        return self.at.date()

    def exceeded(self, unknown: int = 0) -> LimitName | None:
        """The limit that one more run would pass, counting `unknown` slots as runs of now.

        Of several the one that lasts longest, since waiting for the others would not help.
        """
        if self.run_this_month + unknown >= self.limits.monthly:
            return "monthly"
        if self.run_today + unknown >= self.limits.daily:
            return "daily"
        if self.running + unknown >= self.limits.concurrent:
            return "concurrent"
        return None

    def refusal(self, limit: LimitName) -> QuotaExceededError:
        """The error that says which limit is in the way and when to ask again."""
        seconds: dict[LimitName, float] = {
            "daily": (day_ends(self.at) - self.at).total_seconds(),
            "monthly": (month_ends(self.at) - self.at).total_seconds(),
            "concurrent": _CONCURRENT_RETRY_SECONDS,
        }
        return QuotaExceededError(limit, retry_after_seconds=math.ceil(seconds[limit]))


def day_ends(now: datetime) -> datetime:
    """The midnight, UTC, at which the daily count starts again."""
    return datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)


def month_ends(now: datetime) -> datetime:
    """The first of the next month, UTC."""
    first = (now.date().replace(day=1) + timedelta(days=32)).replace(day=1)
    return datetime.combine(first, datetime.min.time(), UTC)


def window_begins(now: datetime) -> date:
    """The oldest usage date that can matter: this month's first, and at least two days back."""
    return min(now.date().replace(day=1), now.date() - _WINDOW)


_USAGE = f"""
WITH slots AS (
  SELECT
    slot,
    MAX(pipeline_logging_id) AS run_id,
    MIN(usage_date) AS usage_date,
    LOGICAL_OR(event = 'ADMITTED') AND NOT LOGICAL_OR(event = 'REFUNDED') AS counts,
    LOGICAL_OR(event = 'RELEASED') AS released,
    MAX(deadline) AS deadline,
    MIN(recorded_at) AS recorded_at
  FROM `{LEDGER}`
  WHERE tenant_id = @tenant_id AND usage_date >= @since
  GROUP BY slot
),
runs AS (
  SELECT
    run_id,
    MIN(slot) AS slot,
    MIN(usage_date) AS usage_date,
    LOGICAL_OR(released) AS released,
    MAX(deadline) AS deadline
  FROM slots
  WHERE counts
  GROUP BY run_id
),
days AS (
  SELECT DISTINCT run_id, usage_date
  FROM slots
  WHERE counts
),
used AS (
  SELECT
    COUNT(IF(usage_date = @today, run_id, NULL)) AS run_today,
    COUNT(IF(DATE_TRUNC(usage_date, MONTH) = @month, run_id, NULL)) AS run_this_month
  FROM days
),
live AS (
  SELECT
    COUNT(IF(NOT released AND deadline > @now, run_id, NULL)) AS running,
    ARRAY_AGG(
      IF(
        run_id IN UNNEST(@run_ids),
        STRUCT(run_id, slot, usage_date, released, deadline),
        NULL
      ) IGNORE NULLS
    ) AS own
  FROM runs
),
position AS (
  SELECT
    IFNULL(MAX(slot), 0) AS highest,
    MAX(IF(recorded_at <= @settled_before, slot, NULL)) AS settled,
    ARRAY_AGG(IF(recorded_at > @settled_before, slot, NULL) IGNORE NULLS) AS recent
  FROM slots
)
SELECT
  plan.plan_name,
  plan.status,
  plan.daily_limit,
  plan.monthly_limit,
  plan.concurrent_limit,
  (
    SELECT MIN(recorded_at)
    FROM `tenants.tenant_subscriptions_log`
    WHERE tenant_id = @tenant_id
  ) AS subscribed_at,
  used.*,
  live.*,
  position.*
FROM `tenants.tenant_subscriptions` AS plan
CROSS JOIN used
CROSS JOIN live
CROSS JOIN position
WHERE plan.tenant_id = @tenant_id
"""  # noqa: S608 - own names


def read(tenant_id: str, run_ids: Sequence[str] = ()) -> Usage:
    """The tenant's limits and use now, in one query; which of `run_ids` are in already.

    Reads the partitions of this month, and at least of the last two days.

    Raises:
        NoSubscriptionError: the tenant has no running subscription, so it may start nothing.
        WarehouseBusyError: not now.
    """
    usage = look(tenant_id, run_ids)
    if usage.status != "ACTIVE":
        raise NoSubscriptionError(tenant_id)
    return usage


def look(tenant_id: str, run_ids: Sequence[str] = ()) -> Usage:
    """What `read` tells, also of a tenant that is suspended.

    Raises:
        NoSubscriptionError: the tenant never had a subscription.
        WarehouseBusyError: not now.
    """
    now = datetime.now(UTC)
    found = rows.read(
        query(
            _USAGE,
            tenant_id=tenant_id,
            since=window_begins(now),
            today=now.date(),
            month=now.date().replace(day=1),
            now=now,
            settled_before=now - DEAD_AFTER,
            run_ids=list(run_ids),
        )
    )
    if not found:
        raise NoSubscriptionError(tenant_id)
    return _usage(now, found[0])


def _usage(now: datetime, row: Mapping[str, Any]) -> Usage:
    return Usage(
        at=now,
        limits=Limits(
            row["plan_name"], row["daily_limit"], row["monthly_limit"], row["concurrent_limit"]
        ),
        run_today=row["run_today"],
        run_this_month=row["run_this_month"],
        running=row["running"],
        highest=row["highest"],
        settled=row["settled"],
        recent=frozenset(row["recent"] or ()),
        subscribed_at=row["subscribed_at"],
        own={entry["run_id"]: Admission(**entry) for entry in row["own"] or ()},
        status=row["status"],
    )


def highest_slot_before(tenant_id: str, since: date) -> int:
    """The tenant's highest slot with a usage date before `since`; 0 when there is none.

    Reads all older partitions: for tenants that come back after weeks.

    Raises:
        WarehouseBusyError: not now.
    """
    found = rows.read(
        query(
            f"SELECT MAX(slot) AS highest FROM `{LEDGER}`"  # noqa: S608 - own names
            " WHERE tenant_id = @tenant_id AND usage_date < @since",
            tenant_id=tenant_id,
            since=since,
        )
    )
    return found[0]["highest"] or 0
