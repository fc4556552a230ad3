"""Onboarding: once, completely, and repeatable wherever it stopped."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import Mock

import pytest

from shared.clients import bigquery_client
from shared.engine import tenant_states
from shared.engine.onboarding import NewTenant, Onboarded, onboard
from shared.errors import ConflictError, ConvergenceError, InvalidInputError, Retryable
from shared.tenancy import api_keys, tenants
from shared.tenancy.tenants import TenantStatus
from shared.warehouse import rows, tables
from shared.warehouse.queries import query
from shared.warehouse.schemas import load_folder
from tests.component.conftest import PROJECT, Cloud
from tests.component.shared.post import Post

pytestmark = pytest.mark.usefixtures("central")
METADATA = ("x_meta_pipeline_runs", "x_meta_step_logs", "x_meta_dq_results")


@pytest.fixture
def new_id(fresh: Callable[[], str]) -> str:
    """A tenant ID that nobody has."""
    return fresh()


@pytest.fixture
def letters(new_id: str, _environment: None) -> Iterator[Post]:
    """What the onboarding of the new tenant publishes."""
    opened = Post(PROJECT, new_id)
    yield opened
    opened.close()


def wanted(tenant_id: str, **changes: Any) -> NewTenant:
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "company_name": "ACME Corporation",
        "admin_email": f"{tenant_id}@acme.example",
        "subscription_plan": "PROFESSIONAL",
        "recorded_by": "test",
    }
    return NewTenant(**(values | changes))


def count(table: str, tenant_id: str) -> int:
    (row,) = rows.read(
        query(f"SELECT COUNT(*) AS n FROM `tenants.{table}` WHERE tenant_id = @t", t=tenant_id)
    )
    return int(row["n"])


def attempt(new: NewTenant) -> Onboarded | ConvergenceError:
    try:
        return onboard(new)
    except ConvergenceError as error:
        return error


def test_new_tenant_has_dataset_tables_plan_and_a_working_key(
    new_id: str, letters: Post, cloud: Cloud
) -> None:
    done = onboard(wanted(new_id))

    assert (done.tenant_id, done.dataset_created) == (new_id, True)
    assert done.tables_created == METADATA
    assert tables.dataset_labels(new_id) == {"tenant_id": new_id}
    for name in METADATA:
        assert bigquery_client().get_table(f"{new_id}.{name}").table_type == "VIEW"
    assert api_keys.verify(done.api_key).tenant_id == new_id
    profile = tenants.profile(new_id)
    assert (profile.status, profile.subscription_plan) == (TenantStatus.ACTIVE, "PROFESSIONAL")
    (plan,) = rows.read(
        query("SELECT * FROM `tenants.tenant_subscriptions` WHERE tenant_id = @t", t=new_id)
    )
    assert (plan["daily_limit"], plan["monthly_limit"], plan["concurrent_limit"]) == (25, 750, 5)


def test_onboarding_is_a_run_of_its_template_and_welcomes_the_administrator(
    new_id: str, letters: Post, cloud: Cloud
) -> None:
    done = onboard(wanted(new_id))
    letters.deliver_all(copies=2)

    (run,) = rows.read(query(f"SELECT * FROM `{new_id}.x_meta_pipeline_runs`"))
    assert run["pipeline_logging_id"] == done.pipeline_logging_id
    assert (run["status"], run["trigger_type"]) == ("COMPLETED", "onboarding")
    (mail,) = cloud.mails(f"{new_id}@acme.example")
    assert new_id in mail["subject"]
    assert done.api_key not in str(mail)


def test_existing_tenant_is_refused_and_nothing_is_changed(new_id: str, letters: Post) -> None:
    done = onboard(wanted(new_id))
    letters.deliver_all()
    before = (tenants.find(new_id), count("tenant_api_keys_log", new_id))

    with pytest.raises(ConflictError, match=r"exists already\. Nothing was changed"):
        onboard(wanted(new_id, subscription_plan="SCALE", company_name="Impostor"))

    assert (tenants.find(new_id), count("tenant_api_keys_log", new_id)) == before
    assert letters.received() == []
    assert api_keys.verify(done.api_key).tenant_id == new_id


def test_two_at_once_make_one_tenant(new_id: str, letters: Post) -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, [wanted(new_id)] * 8))

    done = [outcome for outcome in outcomes if isinstance(outcome, Onboarded)]
    others = [outcome for outcome in outcomes if not isinstance(outcome, Onboarded)]
    assert len(done) == 1
    assert all(isinstance(other, ConflictError) for other in others)
    assert count("tenant_api_keys", new_id) == 1
    assert api_keys.verify(done[0].api_key).tenant_id == new_id


@pytest.mark.parametrize(
    ("method", "status", "reason"),
    [
        ("datasets.insert", 403, "quotaExceeded"),
        ("tables.insert", 403, "quotaExceeded"),
        ("tables.get", 403, "quotaExceeded"),
        ("tables.insert", 400, "invalid"),
    ],
)
def test_onboarding_that_failed_half_way_is_completed_by_asking_again(
    method: str, status: int, reason: str, new_id: str, letters: Post, cloud: Cloud
) -> None:
    cloud.fail(method, status=status, reason=reason, message="half-way")
    with pytest.raises(ConvergenceError, match="half-way"):
        onboard(wanted(new_id))
    profile = tenants.find(new_id)
    assert profile is not None
    assert profile.status is TenantStatus.FAILED

    done = onboard(wanted(new_id))

    assert done.tables_created == METADATA
    found = tenants.find(new_id)
    assert found is not None
    assert (found.status, found.onboarding_attempt) == (TenantStatus.ACTIVE, 2)
    assert found.created_at == profile.created_at
    assert api_keys.verify(done.api_key).tenant_id == new_id


@pytest.mark.parametrize("broken", ["mint", "subscribe", "advance"])
def test_crash_after_the_tables_were_made_is_completed_by_asking_again(
    broken: str, new_id: str, letters: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {
        "mint": "shared.tenancy.api_keys.mint",
        "subscribe": "shared.tenancy.tenants.subscribe",
        "advance": "shared.engine.onboarding.advance",
    }

    def away(*_: Any, **__: Any) -> None:
        raise Retryable("away")

    with monkeypatch.context() as patch:
        patch.setattr(places[broken], away)
        with pytest.raises(Retryable, match="away"):
            onboard(wanted(new_id))

    done = onboard(wanted(new_id))

    assert not done.dataset_created
    assert tenants.profile(new_id).status is TenantStatus.ACTIVE
    assert api_keys.verify(done.api_key).tenant_id == new_id


def test_onboarding_that_died_can_be_repeated_when_its_lease_is_over(
    new_id: str, letters: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("shared.engine.onboarding._complete", killed)
        with pytest.raises(SystemExit):
            onboard(wanted(new_id))
    with pytest.raises(ConflictError, match="being onboarded by another request") as caught:
        onboard(wanted(new_id))
    assert 0 < (caught.value.retry_after_seconds or 0) <= 60

    found = tenants.find(new_id)
    assert found is not None
    assert found.recorded_at is not None
    monkeypatch.setattr(
        "shared.engine.onboarding._LEASE", type(found.recorded_at - found.recorded_at)(0)
    )

    assert onboard(wanted(new_id)).tenant_id == new_id


def test_dataset_of_somebody_else_is_not_taken_over(new_id: str, letters: Post) -> None:
    tables.ensure_dataset(new_id, labels={})

    with pytest.raises(ConvergenceError, match=f"{new_id} exists"):
        onboard(wanted(new_id))

    assert tables.dataset_labels(new_id) == {}


def test_billing_account_of_another_tenant_is_refused_before_anything_is_made(
    new_id: str, letters: Post, fresh: Callable[[], str]
) -> None:
    account = f"{new_id[2:8].upper()}-000000-000000"
    onboard(wanted(new_id, billing_account_ids=(account,)))
    second = fresh()

    with pytest.raises(InvalidInputError) as caught:
        onboard(wanted(second, billing_account_ids=(account,)))

    assert caught.value.problems[0].pointer == "/billing_account_ids"
    assert tenants.find(second) is None
    assert tables.dataset_labels(second) is None


@pytest.mark.parametrize("broken", ["step", "key"])
def test_onboarding_that_fails_leaves_a_failed_run_and_tells_the_administrator(
    broken: str, new_id: str, letters: Post, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step fails where an earlier attempt has left its tables; or what comes after it fails."""
    if broken == "step":
        tables.ensure_dataset(new_id, labels={"tenant_id": new_id})
        tables.ensure(new_id, load_folder("tenant"))
        cloud.fail("tables.get", status=403, reason="accessDenied", message="no longer ours")
        expected = "no longer ours"
    else:
        monkeypatch.setattr(api_keys, "mint", Mock(side_effect=Retryable("KMS is away")))
        expected = "KMS is away"

    with pytest.raises(ConvergenceError, match=expected):
        onboard(wanted(new_id))
    letters.deliver_all()

    (run,) = rows.read(query(f"SELECT * FROM `{new_id}.x_meta_pipeline_runs`"))
    assert (run["status"], run["failed_step"]) == ("FAILED", "create_infrastructure")
    assert expected in run["error"]
    (mail,) = cloud.mails(f"{new_id}@acme.example")
    assert "Onboarding failed" in mail["subject"]
    found = tenants.find(new_id)
    assert found is not None
    assert found.status is TenantStatus.FAILED
    assert expected in (found.status_reason or "")


def test_of_two_at_once_with_one_billing_account_one_gets_it(fresh: Callable[[], str]) -> None:
    ids = [fresh() for _ in range(4)]
    account = f"{ids[0][2:8].upper()}-000000-000000"

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(
            pool.map(attempt, [wanted(one, billing_account_ids=(account,)) for one in ids])
        )

    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, Onboarded)]
    others = [outcome for outcome in outcomes if not isinstance(outcome, Onboarded)]
    assert all(isinstance(other, ConflictError | InvalidInputError) for other in others)
    assert tenants.owners_of_billing_accounts((account,)) == {account: winner.tenant_id}
    assert [one for one in ids if tenants.find(one)] == [winner.tenant_id]


def test_billing_account_is_free_again_once_its_tenant_was_offboarded(
    fresh: Callable[[], str],
) -> None:
    first, second = fresh(), fresh()
    account = f"{first[2:8].upper()}-000000-000000"
    onboard(wanted(first, billing_account_ids=(account,)))
    tenant_states.offboard(first, changed_by="admin")

    onboard(wanted(second, billing_account_ids=(account,)))

    assert tenants.owners_of_billing_accounts((account,)) == {account: second}


@pytest.mark.parametrize(
    "changes",
    [{"tenant_id": "Acme"}, {"tenant_id": "tenants"}, {"subscription_plan": "GOLD"}],
    ids=str,
)
def test_bad_values_leave_no_trace(changes: dict[str, Any], new_id: str) -> None:
    with pytest.raises(InvalidInputError):
        onboard(wanted(new_id, **changes) if "tenant_id" not in changes else wanted(**changes))

    assert tenants.find(new_id) is None


def test_missing_address_that_the_template_needs_leaves_no_trace(new_id: str) -> None:
    with pytest.raises(InvalidInputError, match="admin_email"):
        onboard(wanted(new_id, admin_email=None))

    assert tenants.find(new_id) is None


def test_forced_recreation_clears_what_a_failed_attempt_left_but_never_an_active_tenant(
    new_id: str, letters: Post
) -> None:
    tables.ensure_dataset(new_id, labels={"tenant_id": new_id})
    bigquery_client().query_and_wait(f"CREATE TABLE `{new_id}.leftover` AS SELECT 1 AS x")

    done = onboard(wanted(new_id, force_recreate_dataset=True))

    assert done.dataset_created
    names = {table.table_id for table in bigquery_client().list_tables(new_id)}
    assert "leftover" not in names
    assert names >= set(METADATA)
    with pytest.raises(ConflictError):
        onboard(wanted(new_id, force_recreate_dataset=True))
    assert {table.table_id for table in bigquery_client().list_tables(new_id)} == names
