"""Cancel, retry, explain and list, against BigQuery and Pub/Sub."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import NotFound

from shared.clients import bigquery_client
from shared.engine import cancel, explain, retry, tenant_states
from shared.engine.cancel import RunOverError
from shared.engine.executions import Wanted, executions
from shared.engine.expiry import OverdueRun, expire
from shared.engine.launch import launch
from shared.engine.prepare import RunRequest, TemplatePath, prepare
from shared.engine.retry import NotRetryableError, Resumption, RetryRequest
from shared.errors import NotFoundError
from shared.processors.contract import RunIdentity
from shared.tenancy import quota, tenants
from shared.tenancy.tenants import TenantProfile, TenantStatus
from shared.warehouse import jobs
from shared.warehouse.failures import WarehouseBusyError, WarehouseError
from shared.warehouse.jobs import JobSpec
from shared.warehouse.queries import Query
from tests.component.conftest import PROJECT, Cloud
from tests.component.shared.engine.logs import run_rows, status, steps
from tests.component.shared.engine.templates import CHAIN, templates
from tests.component.shared.post import Post, deliver
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("central")
SLOW = (
    "SELECT COUNT(*) AS n FROM UNNEST(GENERATE_ARRAY(1, 200000)) AS a,"
    " UNNEST(GENERATE_ARRAY(1, 200000)) AS b WHERE MOD(a * b, 7) = 3"
)
REQUEST = RunRequest(TemplatePath("gcp", "test", "chain"), date=date(2025, 11, 15))


@pytest.fixture(autouse=True)
def _templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    slow = CHAIN.replace("SELECT n FROM UNNEST(GENERATE_ARRAY(1, {wanted})) AS n", SLOW)
    with templates(tmp_path / "configs", monkeypatch, chain=CHAIN, slow=slow):
        yield


@pytest.fixture
def profile(tenant: str) -> TenantProfile:
    """An active tenant with a dataset, on SCALE."""
    state = TenantProfile(
        tenant_id=tenant,
        admin_email=f"{tenant}@acme.example",
        status=TenantStatus.ACTIVE,
        subscription_plan="SCALE",
        created_at=datetime.now(UTC),
    )
    tenants.record(state, recorded_by="test")
    tenants.subscribe(tenant, "SCALE", recorded_by="test")
    return state


@pytest.fixture
def post(profile: TenantProfile) -> Iterator[Post]:
    made = Post(PROJECT, profile.tenant_id)
    yield made
    made.close()


def started(profile: TenantProfile, request: RunRequest = REQUEST) -> RunIdentity:
    pipeline, run = prepare(request, profile)
    launch(pipeline, run)
    return run


def failed(profile: TenantProfile, post: Post) -> RunIdentity:
    """A run whose second step failed: its source does not exist."""
    missing = {"source": f"{PROJECT}.{profile.tenant_id}.missing"}
    run = started(profile, replace(REQUEST, variables=missing))
    post.deliver_all()
    assert status(run) == "FAILED"
    return run


def again(profile: TenantProfile, run: RunIdentity, key: str | None = None) -> Resumption:
    request = RetryRequest(run_id=run.pipeline_logging_id, idempotency_key=key)
    resumed = retry.resumption(profile, request)
    retry.launch(resumed)
    return resumed


def rows_of(tenant_id: str, table: str) -> list[dict[str, Any]]:
    found = bigquery_client().query_and_wait(f"SELECT * FROM `{tenant_id}.{table}`")
    return [dict(row.items()) for row in found]


def exists(dataset: str, table: str) -> bool:
    return table in {t.table_id for t in bigquery_client().list_tables(dataset)}


# --- cancel --------------------------------------------------------------------------------------


def test_cancelled_run_does_not_begin_its_next_step(profile: TenantProfile, post: Post) -> None:
    run = started(profile)
    (first,) = post.steps()
    deliver(first)

    answer = cancel.cancel(profile.tenant_id, run.pipeline_logging_id, cancelled_by="alice")
    post.deliver_all()

    assert (answer.status, answer.error) == ("CANCELLED", "cancelled by alice")
    assert answer.failed_step is None
    assert status(run) == "CANCELLED"
    assert steps(run) == [("first", 1, "COMPLETED")]
    assert not exists(profile.tenant_id, "counts")


def test_cancelled_run_gives_its_slot_back(profile: TenantProfile) -> None:
    run = started(profile)
    assert quota.read(profile.tenant_id).running == 1

    cancel.cancel(profile.tenant_id, run.pipeline_logging_id, cancelled_by="alice")

    assert quota.read(profile.tenant_id).running == 0
    assert quota.read(profile.tenant_id).run_today == 1


def test_running_job_is_stopped_and_nobody_is_told_of_a_failure(
    profile: TenantProfile, post: Post, cloud: Cloud
) -> None:
    run = started(profile, replace(REQUEST, template=TemplatePath("gcp", "test", "slow")))
    (first,) = post.steps()
    job_id = f"{run.pipeline_logging_id}--first--write--1--20251115--1"

    def runs() -> bool:
        try:
            return bool(bigquery_client().get_job(job_id).state != "DONE")
        except NotFound:
            return False

    with ThreadPoolExecutor(1) as pool:
        delivery = pool.submit(deliver, first)
        wait_until(runs, message="the job")
        cancel.cancel(profile.tenant_id, run.pipeline_logging_id, cancelled_by="alice")
        delivery.result(timeout=30)
    post.deliver_all()

    job = bigquery_client().get_job(job_id)
    assert job.state == "DONE"
    assert job.error_result["reason"] == "stopped"
    assert status(run) == "CANCELLED"
    assert steps(run) == [("first", 1, "FAILED")]
    assert rows_of(profile.tenant_id, "numbers") == []
    assert cloud.mails(str(profile.admin_email)) == []


def test_ended_run_cannot_be_cancelled(profile: TenantProfile, post: Post) -> None:
    run = started(profile)
    post.deliver_all()

    with pytest.raises(RunOverError, match="COMPLETED"):
        cancel.cancel(profile.tenant_id, run.pipeline_logging_id, cancelled_by="alice")
    assert status(run) == "COMPLETED"


def test_run_of_another_tenant_is_not_found(
    profile: TenantProfile, fresh: Callable[[], str]
) -> None:
    run = started(profile)

    with pytest.raises(NotFoundError):
        cancel.cancel(fresh(), run.pipeline_logging_id, cancelled_by="eve")
    assert status(run) == "PENDING"


def test_cancelling_work_that_has_not_begun_keeps_it_from_beginning(
    fresh: Callable[[], str],
) -> None:
    work = fresh()
    deadline = datetime.fromtimestamp(datetime.now(UTC).timestamp() + 20, UTC)

    assert jobs.cancel(work) is False

    with pytest.raises(WarehouseError, match="cancelled"):
        jobs.run(JobSpec(work_id=work, query=Query(sql="SELECT 1")), deadline)


def test_cancelling_finished_work_changes_nothing(fresh: Callable[[], str]) -> None:
    spec = JobSpec(work_id=fresh(), query=Query(sql="SELECT 1"))
    deadline = datetime.fromtimestamp(datetime.now(UTC).timestamp() + 20, UTC)
    done = jobs.run(spec, deadline)

    assert jobs.cancel(spec.work_id) is False

    assert jobs.run(spec, deadline) == done


def test_work_is_stopped_or_done_but_never_both_missed(fresh: Callable[[], str]) -> None:
    """Inserting and cancelling at the same moment: the job fails, or it ran before."""
    for _ in range(10):
        spec = JobSpec(work_id=fresh(), query=Query(sql=SLOW))
        barrier = threading.Barrier(2)

        def work(spec: JobSpec = spec, barrier: threading.Barrier = barrier) -> str:
            barrier.wait()
            try:
                jobs.run(spec, datetime.now(UTC) + timedelta(seconds=30))
            except WarehouseBusyError as error:
                return f"not stopped: {error}"
            except WarehouseError:
                return "stopped"
            return "done"

        with ThreadPoolExecutor(1) as pool:
            outcome = pool.submit(work)
            barrier.wait()
            jobs.cancel(spec.work_id)
            assert outcome.result(timeout=40) == "stopped"


# --- retry ---------------------------------------------------------------------------------------


def test_retry_goes_on_at_the_failed_step_with_what_earlier_ones_left(
    profile: TenantProfile, post: Post
) -> None:
    run = failed(profile, post)
    assert steps(run)[:2] == [("first", 1, "COMPLETED"), ("second", 1, "FAILED")]
    bigquery_client().query_and_wait(
        f"CREATE TABLE `{profile.tenant_id}.missing` AS SELECT 1 AS x UNION ALL SELECT 2"
    )

    resumed = again(profile, run)
    post.deliver_all()

    assert status(resumed.run) == "COMPLETED"
    assert steps(resumed.run) == [("second", 1, "COMPLETED"), ("third", 1, "COMPLETED")]
    assert rows_of(profile.tenant_id, "counts") == [{"counted": 3, "n": 2}]
    assert len(rows_of(profile.tenant_id, "numbers")) == 3
    (row,) = run_rows(resumed.run)
    assert row["parent_run_id"] == run.pipeline_logging_id
    assert (row["trigger_type"], row["date"]) == ("retry", date(2025, 11, 15))
    assert row["parameters"] == run.parameters
    assert status(run) == "FAILED"


def test_retry_of_a_retry_knows_what_the_first_run_left(profile: TenantProfile, post: Post) -> None:
    run = failed(profile, post)
    second = again(profile, run).run
    post.deliver_all()
    assert status(second) == "FAILED"
    bigquery_client().query_and_wait(f"CREATE TABLE `{profile.tenant_id}.missing` AS SELECT 1 AS x")

    third = again(profile, second)
    post.deliver_all()

    assert third.outputs["first"]["rows_processed"] == 3
    assert status(third.run) == "COMPLETED"
    assert rows_of(profile.tenant_id, "counts") == [{"counted": 3, "n": 1}]


def test_two_retries_at_one_moment_are_one_run(profile: TenantProfile, post: Post) -> None:
    run = failed(profile, post)
    request = RetryRequest(run_id=run.pipeline_logging_id)

    one, other = (retry.resumption(profile, request) for _ in range(2))
    retry.launch(one)
    retry.launch(other)
    post.deliver_all()

    assert one.run.pipeline_logging_id == other.run.pipeline_logging_id
    assert steps(one.run)[0] == ("second", 1, "FAILED")
    retries = executions(profile.tenant_id, Wanted(parent_run_id=run.pipeline_logging_id))
    assert len(retries.runs) == 1


def test_same_key_names_the_same_retry_and_another_key_another(
    profile: TenantProfile, post: Post
) -> None:
    run = failed(profile, post)
    first = again(profile, run, "a").run
    assert again(profile, run, "a").run.pipeline_logging_id == first.pipeline_logging_id

    with pytest.raises(NotRetryableError, match=first.pipeline_logging_id):
        again(profile, run, "b")
    post.deliver_all()

    other = again(profile, run, "b").run
    assert other.pipeline_logging_id != first.pipeline_logging_id


def test_runs_that_have_not_ended_early_are_not_retried(profile: TenantProfile, post: Post) -> None:
    run = started(profile)
    for expected in ("PENDING", "COMPLETED"):
        assert status(run) == expected
        with pytest.raises(NotRetryableError, match=expected):
            again(profile, run)
        post.deliver_all()


@pytest.mark.parametrize("done", [0, 1, 2])
def test_retry_of_a_run_that_timed_out_goes_on_with_what_was_not_done(
    done: int, profile: TenantProfile, post: Post
) -> None:
    run = started(profile)
    for _ in range(done):
        (message,) = post.steps()
        deliver(message)
    late = post.steps()
    deadline = datetime.now(UTC)
    own = quota.read(profile.tenant_id, [run.pipeline_logging_id]).own[run.pipeline_logging_id]
    slots = ((own.slot, own.usage_date),)
    entry = OverdueRun(profile.tenant_id, run.pipeline_logging_id, deadline, slots)
    assert expire(profile.tenant_id, profile, [entry]).ended == 1
    post.deliver_all()
    assert status(run) == "TIMED_OUT"

    resumed = again(profile, run)
    for message in late:
        deliver(message)
    post.deliver_all()

    assert status(resumed.run) == "COMPLETED"
    names = ["first", "second", "third"]
    assert resumed.position == done
    assert sorted(resumed.outputs) == sorted(names[:done])
    assert steps(resumed.run) == [(name, 1, "COMPLETED") for name in names[done:]]
    assert [row["counted"] for row in rows_of(profile.tenant_id, "counts")] == [3]
    assert status(run) == "TIMED_OUT"
    with pytest.raises(NotRetryableError, match=resumed.run.pipeline_logging_id):
        again(profile, run)


def test_retry_without_its_step_says_so(
    profile: TenantProfile, post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = failed(profile, post)
    changed = CHAIN.replace('"second"', '"other"')

    with (
        templates(tmp_path / "new", monkeypatch, chain=changed),
        pytest.raises(NotRetryableError, match="second"),
    ):
        again(profile, run)


def test_retry_counts_as_a_run(profile: TenantProfile, post: Post) -> None:
    run = failed(profile, post)

    again(profile, run)

    assert quota.read(profile.tenant_id).run_today == 2


# --- explain -------------------------------------------------------------------------------------


def test_explained_sql_is_that_of_the_jobs_of_a_run(profile: TenantProfile, post: Post) -> None:
    found = explain.explain(REQUEST, profile)
    run = started(profile)
    post.deliver_all()

    for name in ("first", "second", "third"):
        job = bigquery_client().get_job(f"{run.pipeline_logging_id}--{name}--write--1--20251115--1")
        explained = next(s for s in found.steps if s.step.step_id == name)
        assert explained.sql == job.query
        assert [p["name"] for p in explained.parameters] == [p.name for p in job.query_parameters]


def test_explaining_leaves_no_trace(profile: TenantProfile, cloud: Cloud) -> None:
    before = cloud.calls()

    found = explain.explain(REQUEST, profile)

    after = cloud.calls()
    changed = {name for name in after if after[name] != before.get(name, 0)}
    assert not {name for name in changed if "insertAll" in name or "create" in name.lower()}
    assert executions(profile.tenant_id, Wanted()).runs == []
    assert not exists(profile.tenant_id, "numbers")
    first = found.steps[0].foresight
    assert first.tables_written == (f"{PROJECT}.{profile.tenant_id}.numbers",)
    assert quota.read(profile.tenant_id).run_today == 0


def test_explained_values_say_where_they_come_from(profile: TenantProfile) -> None:
    found = explain.explain(replace(REQUEST, variables={"wanted": 7}), profile)

    origins = {value.name: (value.value, value.origin) for value in found.variables}
    assert origins["wanted"] == (7, "body")
    assert origins["date"] == ("2025-11-15", "body")
    assert origins["tenant_id"] == (profile.tenant_id, "built-in")
    assert origins["source"][1] == "template"
    assert "pipeline_logging_id" not in origins


def test_explanation_tells_what_a_run_would_be_refused_for(
    profile: TenantProfile, fresh: Callable[[], str]
) -> None:
    foreign = {"source": f"{PROJECT}.tenants.tenant_api_keys_log"}

    found = explain.explain(replace(REQUEST, variables=foreign), profile)

    refusals = [step.foresight.refusal for step in found.steps]
    assert refusals[0] is None
    assert refusals[1] is not None
    assert refusals[1].code == "foreign-table"


# --- list ----------------------------------------------------------------------------------------


def test_pages_hold_every_run_once_also_while_new_ones_come(profile: TenantProfile) -> None:
    old = [started(profile).pipeline_logging_id for _ in range(5)]
    first = executions(profile.tenant_id, Wanted(limit=2))
    started(profile)
    found = [run.pipeline_logging_id for run in first.runs]
    cursor = first.next_cursor
    while cursor:
        page = executions(profile.tenant_id, Wanted(limit=2, cursor=cursor))
        found += [run.pipeline_logging_id for run in page.runs]
        cursor = page.next_cursor

    assert found == list(reversed(old))


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Wanted(status="PENDING"), 2),
        (Wanted(status="FAILED"), 0),
        (Wanted(pipeline="gcp/test/chain"), 2),
        (Wanted(pipeline="gcp/test/other"), 0),
        (Wanted(first_day=datetime.now(UTC).date()), 2),
        (Wanted(last_day=date(2025, 1, 1)), 0),
        (Wanted(pipeline="' OR '1'='1"), 0),
    ],
)
def test_filters_narrow_the_list_down(wanted: Wanted, count: int, profile: TenantProfile) -> None:
    for _ in range(2):
        started(profile)

    assert len(executions(profile.tenant_id, wanted).runs) == count


def test_runs_are_found_by_their_pipeline_id(profile: TenantProfile) -> None:
    run = started(profile)

    found = executions(profile.tenant_id, Wanted(pipeline=run.pipeline_id))

    assert [r.pipeline_logging_id for r in found.runs] == [run.pipeline_logging_id]


# --- states of the tenant ------------------------------------------------------------------------


def test_suspension_ends_runs_and_shuts_the_door(profile: TenantProfile, post: Post) -> None:
    run = started(profile)

    tenant_states.suspend(profile.tenant_id, reason="unpaid", changed_by="admin")
    post.deliver_all()

    assert status(run) == "CANCELLED"
    assert steps(run) == []
    with pytest.raises(quota.NoSubscriptionError):
        started(profile)
    tenant_states.resume(profile.tenant_id, changed_by="admin")
    assert status(started(profile)) == "PENDING"


def test_run_that_slipped_through_stops_before_its_next_step(
    profile: TenantProfile, post: Post
) -> None:
    run = started(profile)
    suspended = profile.model_copy(update={"status": TenantStatus.SUSPENDED})
    tenants.record(suspended, recorded_by="test")

    post.deliver_all()

    assert status(run) == "CANCELLED"
    assert steps(run) == []


def test_messages_of_an_offboarded_tenant_are_dropped(profile: TenantProfile, post: Post) -> None:
    started(profile)

    done = tenant_states.offboard(profile.tenant_id, changed_by="admin")

    assert done.datasets_deleted == [profile.tenant_id]
    assert done.runs_cancelled == 1
    assert post.deliver_all() == 1
    again = tenant_states.offboard(profile.tenant_id, changed_by="admin")
    assert (again.datasets_deleted, again.runs_cancelled) == ([], 0)
