"""Exactly one winner: a claim is a BigQuery job ID, taken by a query that reads and bills nothing.

`jobs.insert` with a chosen ID is atomic in a project and location, so of any number of callers one
wins. A winner that dies would block its claim for ever; therefore a claim is a lease, and after it
the next number of the same key is up for the taking, again for exactly one.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.errors import Retryable
from shared.warehouse.jobs import attach, insert
from shared.warehouse.queries import Query

_MAX_GENERATIONS = 50


class ClaimHeldError(Retryable):
    """Somebody else holds the claim; try again when the lease is over."""

    code = "claim-held"

    def __init__(self, key: str, *, retry_after_seconds: float) -> None:
        super().__init__(
            f"{key} is being worked on elsewhere", retry_after_seconds=retry_after_seconds
        )
        self.key = key


@dataclass(frozen=True)
class Claim:
    """A won claim; `generation` counts the owners that came before and did not finish."""

    key: str
    generation: int


def take(key: str, owner: str, lease_seconds: float) -> Claim:
    """Win `key`, or find it won before by the same `owner`.

    Args:
        key: letters, digits, `_` and `-`, at most 1,000.
        owner: who asks; the same value finds its own claim again.
        lease_seconds: how long a winner may work before the next caller takes over.

    Raises:
        ClaimHeldError: another owner's lease still runs.
        WarehouseBusyError: BigQuery does not answer.
    """
    for generation in range(1, _MAX_GENERATIONS + 1):
        holder, taken_at = _insert_or_read(f"{key}--{generation}", owner)
        if holder == _label(owner):
            return Claim(key, generation)
        left = lease_seconds - (datetime.now(UTC) - taken_at).total_seconds()
        if left > 0:
            raise ClaimHeldError(key, retry_after_seconds=left)
    raise ClaimHeldError(key, retry_after_seconds=lease_seconds)


def _insert_or_read(job_id: str, owner: str) -> tuple[str, datetime]:
    if win(job_id, owner):
        return _label(owner), datetime.now(UTC)
    found = holder(job_id)
    return found.label, found.taken_at


@dataclass(frozen=True)
class Holder:
    """Who took a key, and when."""

    label: str
    taken_at: datetime

    def is_(self, owner: str) -> bool:
        """Whether it was `owner`."""
        return self.label == _label(owner)


def win(key: str, owner: str) -> bool:
    """Take `key` for good, without a lease; one call.

    False may also mean that this very call took it and its answer was lost; `holder` tells.

    Args:
        key: letters, digits, `_` and `-`, at most 1,000.
        owner: who asks.

    Raises:
        WarehouseBusyError: BigQuery does not answer; the key may be taken.
    """
    from google.api_core.exceptions import Conflict
    from google.cloud.bigquery import QueryJobConfig

    config = QueryJobConfig(labels={"owner": _label(owner)}, use_query_cache=False)
    try:
        insert(Query(sql="SELECT 1"), key, config)
    except Conflict:
        return False
    return True


def holder(key: str) -> Holder:
    """Who holds a key that was taken before.

    Raises:
        WarehouseBusyError: BigQuery does not answer, or does not know the key.
    """
    job = attach(key)
    return Holder(str(job.labels.get("owner", "")), job.created)


def _label(owner: str) -> str:
    """`owner` as a label value: lower-case letters and digits, at most 63 (BigQuery, "Labels")."""
    return hashlib.sha256(owner.encode()).hexdigest()[:40]
