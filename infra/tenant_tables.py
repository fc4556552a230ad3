"""Upgrades the tables and views of every tenant's dataset to `schemas/tenant/`.

Additions only, like `infra/bootstrap.py`, so functions of the version before go on working. A
tenant that cannot be upgraded is told and left; the others are. Nothing is remembered: a tenant
that is up to date costs reads only, so a repetition is how an interrupted upgrade goes on, from
any tenant on.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from shared.errors import ConvergenceError
from shared.tenancy import tenants
from shared.tenancy.tenants import TenantStatus
from shared.warehouse import rows, tables
from shared.warehouse.drift import DriftError
from shared.warehouse.queries import query
from shared.warehouse.schemas import load_folder
from shared.warehouse.tables import OWNER_LABEL, Action, Change

_FOLDER = "tenant"
_AT_ONCE = 8
"""Tenants in hand: a tenant is a handful of reads, BigQuery takes 100 of one method a second."""
_TOLD_EVERY = 100


@dataclass(frozen=True)
class Upgraded:
    """What was done, or would be, in a tenant's dataset, or why it could not."""

    tenant_id: str
    changes: tuple[Change, ...] = ()
    problem: str | None = None


def wanted(after: str) -> list[str]:
    """The tenants with data whose ID comes behind `after`, in order.

    Raises:
        Retryable: BigQuery does not answer.
    """
    with_data = [str(TenantStatus.ACTIVE), str(TenantStatus.SUSPENDED)]
    found = rows.read(
        query(
            f"SELECT tenant_id FROM `{tenants.PROFILES}`"  # noqa: S608 - own names
            " WHERE tenant_id > @after AND status IN UNNEST(@with_data) ORDER BY tenant_id",
            after=after,
            with_data=with_data,
        )
    )
    return [str(row["tenant_id"]) for row in found]


def upgrade(tenant_ids: list[str], *, check: bool) -> Iterator[Upgraded]:
    """Bring each tenant's dataset up to date, in the order given; with `check` only compare.

    A few are worked on at once. Whoever stops asking stops it after those in hand.
    """
    waiting = iter(tenant_ids)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while in_hand := list(islice(waiting, _AT_ONCE)):
            yield from pool.map(lambda tenant_id: _upgrade(tenant_id, check=check), in_hand)


def _upgrade(tenant_id: str, *, check: bool) -> Upgraded:
    try:
        dataset = tables.plan_dataset(tenant_id, labels={OWNER_LABEL: tenant_id})
        if dataset.action is Action.CREATE:
            return Upgraded(tenant_id, problem="its dataset is missing")
        do = tables.plan if check else tables.ensure
        changes = do(tenant_id, load_folder(_FOLDER))
    except DriftError as error:
        return Upgraded(tenant_id, problem="; ".join(str(problem) for problem in error.problems))
    except ConvergenceError as error:
        return Upgraded(tenant_id, problem=str(error))
    return Upgraded(tenant_id, tuple(c for c in changes if c.action is not Action.UNCHANGED))


def run(*, after: str, check: bool) -> int:
    """The command; prints what it does as it goes. 0, or 1 where something differs or failed.

    Raises:
        Retryable: BigQuery does not answer for the list of tenants.
    """
    tenant_ids = wanted(after)
    changed = failed = 0
    last = after
    try:
        for number, done in enumerate(upgrade(tenant_ids, check=check), 1):
            last = done.tenant_id
            changed += bool(done.changes)
            failed += bool(done.problem)
            _tell(done)
            if number % _TOLD_EVERY == 0:
                print(f"{number} of {len(tenant_ids)} tenants, up to {last}", flush=True)
    except KeyboardInterrupt:
        print(f"Stopped. To go on: --tenants --after {last}{' --check' if check else ''}")
        return 1
    verb = "differ" if check else "upgraded"
    print(f"{len(tenant_ids)} tenants: {changed} {verb}, {failed} failed.")
    return 1 if failed or (check and changed) else 0


def _tell(done: Upgraded) -> None:
    for change in done.changes:
        details = f": {', '.join(change.details)}" if change.details else ""
        print(f"  {change.action:<12} {change.name}{details}", flush=True)
    if done.problem:
        print(f"  failed       {done.tenant_id}: {done.problem}", flush=True)
