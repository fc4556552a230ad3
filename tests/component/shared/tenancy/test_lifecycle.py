"""A tenant's states against BigQuery: changes never undo each other, and only its own data goes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from shared.clients import bigquery_client
from shared.errors import ConflictError, InvalidInputError, NotFoundError
from shared.tenancy import lifecycle, quota, tenants
from shared.tenancy.lifecycle import WrongStateError
from shared.tenancy.quota import NoSubscriptionError
from shared.tenancy.tenants import TenantProfile, TenantStatus
from shared.warehouse import pages, tables

pytestmark = pytest.mark.usefixtures("central")
SUSPENDED = lifecycle.move(TenantStatus.SUSPENDED, possible=[TenantStatus.ACTIVE], reason="unpaid")


@pytest.fixture
def tenant_id(fresh: Callable[[], str]) -> str:
    """An active tenant on PROFESSIONAL."""
    return _made(fresh())


def _made(name: str, status: TenantStatus = TenantStatus.ACTIVE) -> str:
    state = TenantProfile(
        tenant_id=name,
        company_name="Before",
        admin_email="a@example.com",
        status=status,
        subscription_plan="PROFESSIONAL",
        created_at=datetime.now(UTC),
    )
    tenants.record(state, recorded_by="test")
    tenants.subscribe(name, "PROFESSIONAL", recorded_by="test")
    return name


def test_change_keeps_what_it_does_not_touch(tenant_id: str) -> None:
    lifecycle.change(
        tenant_id, lambda s: s.model_copy(update={"company_name": "After"}), changed_by="bob"
    )

    found = lifecycle.current(tenant_id)
    assert (found.company_name, found.admin_email) == ("After", "a@example.com")
    assert found.status is TenantStatus.ACTIVE


def test_change_to_the_same_writes_nothing(tenant_id: str) -> None:
    before = lifecycle.current(tenant_id)

    lifecycle.change(tenant_id, lambda state: state, changed_by="bob")

    assert lifecycle.current(tenant_id) == before


def test_changes_at_once_never_undo_each_other(tenant_id: str) -> None:
    """Both or one and a conflict; never a rename that un-suspends."""

    def rename(number: int) -> bool:
        def step(state: TenantProfile) -> TenantProfile:
            return state.model_copy(update={"company_name": f"Name {number}"})

        return _happened(lambda: lifecycle.change(tenant_id, step, changed_by="bob"))

    def suspend(_: int) -> bool:
        return _happened(lambda: lifecycle.change(tenant_id, SUSPENDED, changed_by="admin"))

    with ThreadPoolExecutor(10) as pool:
        renames = [pool.submit(rename, n) for n in range(9)]
        suspension = pool.submit(suspend, 0)
    renamed = [future.result() for future in renames]

    found = lifecycle.current(tenant_id)
    assert any(renamed) or suspension.result()
    assert (found.status is TenantStatus.SUSPENDED) == suspension.result()
    assert (found.company_name == "Before") == (not any(renamed))


def _happened(change: Callable[[], object]) -> bool:
    try:
        change()
    except ConflictError:
        return False
    return True


def test_move_from_the_wrong_state_is_refused(tenant_id: str) -> None:
    lifecycle.change(
        tenant_id,
        lifecycle.move(TenantStatus.OFFBOARDED, possible=[TenantStatus.ACTIVE]),
        changed_by="admin",
    )

    with pytest.raises(WrongStateError, match="OFFBOARDED"):
        lifecycle.change(tenant_id, SUSPENDED, changed_by="admin")


def test_nobody_is_not_found(fresh: Callable[[], str]) -> None:
    with pytest.raises(NotFoundError):
        lifecycle.current(fresh())


def test_suspended_subscription_shuts_admission_and_keeps_its_limits(tenant_id: str) -> None:
    before = lifecycle.subscription(tenant_id)
    lifecycle.set_subscription_status(tenant_id, "SUSPENDED", recorded_by="admin")

    with pytest.raises(NoSubscriptionError):
        quota.read(tenant_id)
    looked = quota.look(tenant_id)
    assert (looked.status, looked.limits.plan_name) == ("SUSPENDED", "PROFESSIONAL")

    lifecycle.set_subscription_status(tenant_id, "ACTIVE", recorded_by="admin")
    assert lifecycle.subscription(tenant_id) == before
    assert quota.read(tenant_id).limits.plan_name == "PROFESSIONAL"


def test_upgrade_holds_at_once_and_stays_suspended_where_it_was(tenant_id: str) -> None:
    def upgraded(state: TenantProfile) -> TenantProfile:
        return state.model_copy(update={"subscription_plan": "SCALE"})

    profile = lifecycle.change(tenant_id, upgraded, changed_by="admin")
    lifecycle.align_subscription(profile, recorded_by="admin")

    assert quota.read(tenant_id).limits.daily == 100
    lifecycle.set_subscription_status(tenant_id, "SUSPENDED", recorded_by="admin")
    smaller = profile.model_copy(update={"subscription_plan": "STARTER"})
    lifecycle.align_subscription(smaller, recorded_by="admin")
    found = lifecycle.subscription(tenant_id)
    assert found is not None
    assert (found.plan_name, found.status, found.daily_limit) == ("STARTER", "SUSPENDED", 6)


def test_only_datasets_of_the_label_are_deleted(tenant_id: str) -> None:
    other = f"{tenant_id}_gcp_silver_other"
    for dataset, owner in (
        (tenant_id, tenant_id),
        (f"{tenant_id}_gcp_silver_cost", tenant_id),
        (other, f"{tenant_id}_x"),
    ):
        tables.ensure_dataset(dataset, labels={tables.OWNER_LABEL: owner})
    unlabelled = bigquery_client().create_dataset(f"{tenant_id}_gcp_gold_mine")
    bigquery_client().query_and_wait(
        f"CREATE TABLE `{tenant_id}_gcp_silver_cost.filled` AS SELECT 1 AS n"
    )

    assert lifecycle.delete_datasets(tenant_id) == [tenant_id, f"{tenant_id}_gcp_silver_cost"]
    assert lifecycle.delete_datasets(tenant_id) == []

    assert tables.dataset_labels(tenant_id) is None
    assert tables.dataset_labels(other) is not None
    assert tables.dataset_labels(unlabelled.dataset_id) is not None


def test_tenants_are_listed_by_id_and_status(fresh: Callable[[], str]) -> None:
    prefix = fresh()
    names = [_made(f"{prefix}_{letter}") for letter in "abc"]
    _made(f"{prefix}_d", TenantStatus.FAILED)
    start = pages.cursor_of([prefix])

    first = lifecycle.listed(status=None, limit=2, cursor=start)
    rest = lifecycle.listed(
        status=TenantStatus.ACTIVE, limit=1, cursor=pages.cursor_of([first[-1].tenant_id])
    )
    failed = lifecycle.listed(status=TenantStatus.FAILED, limit=1, cursor=start)

    assert [state.tenant_id for state in [*first, *rest]] == names
    assert [state.tenant_id for state in failed] == [f"{prefix}_d"]


def test_list_takes_only_its_own_cursors() -> None:
    with pytest.raises(InvalidInputError):
        lifecycle.listed(status=None, limit=1, cursor=pages.cursor_of(["a", "b"]))


def test_standing_of_a_stranger_is_none(fresh: Callable[[], str]) -> None:
    assert tenants.standing(fresh()) is None
