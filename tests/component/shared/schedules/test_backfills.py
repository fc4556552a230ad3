"""Backfills against BigQuery: what waits, what begins, what is seen of it, what a crash leaves."""

import datetime as dt
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.engine import outcomes
from shared.engine.cancel import cancel as cancel_run
from shared.engine.executions import Wanted, executions
from shared.engine.idempotency import KeyReusedError
from shared.engine.status import find_run
from shared.errors import InvalidInputError, NotFoundError
from shared.schedules import backfill_progress, backfills, compaction, dispatch, waiting
from shared.schedules.backfill_progress import BackfillWithRuns
from shared.schedules.backfill_requests import BackfillFields
from shared.schedules.backfills import TooManyWaitingError
from shared.schedules.requests import RunRequestMessage, backfill_run_id
from shared.tenancy.tenants import TenantProfile
from shared.warehouse import rows
from shared.warehouse.queries import query
from tests.api_processes import one_day, subscribe
from tests.component.conftest import PROJECT, Cloud
from tests.component.shared.engine.templates import CHAIN, templates
from tests.component.shared.post import Post
from tests.component.shared.schedules.overdue import PLENTY, onboarded
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("central")
ROOT = Path(__file__).resolve().parents[4]
FIRST = dt.date(2025, 10, 1)
DAY = dt.timedelta(days=1)


@pytest.fixture(autouse=True)
def _templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    one_day(seconds=10)
    with templates(tmp_path / "configs", monkeypatch, chain=CHAIN):
        yield


@pytest.fixture
def profile(tenant: str) -> TenantProfile:
    return onboarded(tenant)


def a_backfill(days: int = 5, **changes: Any) -> BackfillFields:
    values: dict[str, Any] = {
        "provider": "GCP",
        "domain": "TEST",
        "pipeline_template": "chain",
        "start_date": FIRST,
        "end_date": FIRST + (days - 1) * DAY,
    }
    return BackfillFields(**(values | changes))


def create(
    tenant: TenantProfile, wanted: BackfillFields | None = None, key: str | None = None
) -> str:
    return backfills.create(tenant, wanted or a_backfill(), created_by="alice", idempotency_key=key)


def states(found: BackfillWithRuns) -> list[str]:
    return [run.state for run in found.runs]


def queue_log(tenant_id: str) -> list[dict[str, Any]]:
    return rows.read(
        query(
            "SELECT * FROM `tenants.pipeline_execution_queue_log` WHERE tenant_id = @tenant_id"
            " ORDER BY enqueued_at, recorded_at",
            tenant_id=tenant_id,
        )
    )


class Requests:
    """The dispatcher's subscription, for one tenant."""

    def __init__(self, tenant_id: str) -> None:
        self._tenant_id = tenant_id
        self._post = Post(PROJECT, tenant_id, topics=("run-requests",))

    def close(self) -> None:
        self._post.close()

    def arrived(self) -> list[RunRequestMessage]:
        return [RunRequestMessage.model_validate_json(m.data) for m in self._post.received()]


@pytest.fixture
def requests(profile: TenantProfile) -> Iterator[Requests]:
    made = Requests(profile.tenant_id)
    yield made
    made.close()


def test_each_date_waits_as_a_run_of_its_own(profile: TenantProfile) -> None:
    backfill_id = create(profile, a_backfill(3, parameters={"wanted": 2}, max_concurrency=2))

    found = backfill_progress.get(profile.tenant_id, backfill_id)
    assert states(found) == ["waiting"] * 3
    assert [run.date for run in found.runs] == [FIRST, FIRST + DAY, FIRST + 2 * DAY]
    ids = [backfill_run_id(backfill_id, run.date) for run in found.runs]
    assert [run.pipeline_logging_id for run in found.runs] == ids
    assert (found.runs_total, found.max_concurrency, found.is_finished) == (3, 2, False)
    assert (found.provider, found.domain, found.pipeline_template) == ("gcp", "test", "chain")
    assert (found.parameters, found.created_by) == ({"wanted": 2}, "alice")
    (listed,) = backfill_progress.listed(profile.tenant_id).backfills
    assert listed.model_dump() == found.model_dump(exclude={"runs"})
    entries = queue_log(profile.tenant_id)
    assert [row["priority"] for row in entries] == [0, 0, 0]
    assert [row["request"]["date"] for row in entries] == [str(run.date) for run in found.runs]
    run = find_run(profile.tenant_id, ids[0])
    assert (run.status, run.trigger_type, run.date) == ("QUEUED", "backfill", FIRST)
    assert len(executions(profile.tenant_id, Wanted(status="QUEUED")).runs) == 3


def test_oldest_date_begins_first_and_no_more_at_once_than_asked_for(
    profile: TenantProfile, requests: Requests, post: Post
) -> None:
    backfill_id = create(profile, a_backfill(3, parameters={"wanted": 2}))
    begun = []
    for _ in range(3):
        waiting.process_queue()
        waiting.process_queue()
        (request,) = requests.arrived()
        dispatch.handle(request)
        waiting.process_queue()
        assert requests.arrived() == []
        begun.append(request.date)
        assert states(backfill_progress.get(profile.tenant_id, backfill_id)).count("running") == 1
        post.deliver_all()

    found = backfill_progress.get(profile.tenant_id, backfill_id)
    assert begun == [FIRST, FIRST + DAY, FIRST + 2 * DAY]
    assert states(found) == ["completed"] * 3
    assert found.is_finished
    assert found.progress.completed == 3
    run = find_run(profile.tenant_id, found.runs[0].pipeline_logging_id)
    assert (run.status, run.parameters, run.rows_processed) == ("COMPLETED", {"wanted": 2}, 4)


def test_failed_dates_say_why(profile: TenantProfile, requests: Requests, post: Post) -> None:
    missing = {"source": f"{PROJECT}.{profile.tenant_id}.missing"}
    backfill_id = create(profile, a_backfill(2, parameters=missing, max_concurrency=2))
    waiting.process_queue()
    for request in requests.arrived():
        dispatch.handle(request)
    post.deliver_all()

    found = backfill_progress.get(profile.tenant_id, backfill_id)

    assert states(found) == ["failed", "failed"]
    assert all("missing" in str(run.error) for run in found.runs)
    assert found.is_finished


@contextmanager
def _no_memory() -> Iterator[None]:
    """What another day's compaction was is not remembered by this one."""
    compaction._since.forget("")
    yield
    compaction._since.forget("")


def test_dates_beyond_the_quota_wait_for_better_days(
    profile: TenantProfile, requests: Requests, post: Post
) -> None:
    subscribe(profile.tenant_id, 2, PLENTY, PLENTY)
    backfill_id = create(profile, a_backfill(3, max_concurrency=3))
    waiting.process_queue()
    for request in requests.arrived():
        dispatch.handle(request)
    post.deliver_all()
    waiting.process_queue()
    assert requests.arrived() == []
    assert states(backfill_progress.get(profile.tenant_id, backfill_id)) == [
        "completed",
        "completed",
        "waiting",
    ]

    tomorrow = dt.datetime.now(dt.UTC) + DAY
    compaction.compact_schedules(tomorrow)
    with _no_memory():
        waiting.process_queue(tomorrow + dt.timedelta(hours=2))

    (request,) = requests.arrived()
    assert request.date == FIRST + 2 * DAY


def test_cancelled_backfill_leaves_the_queue_and_what_runs_goes_on(
    profile: TenantProfile, requests: Requests, post: Post
) -> None:
    backfill_id = create(profile)
    waiting.process_queue()
    (first,) = requests.arrived()
    dispatch.handle(first)
    post.received()

    assert backfills.cancel(profile.tenant_id, backfill_id, cancelled_by="alice") == 4
    assert backfills.cancel(profile.tenant_id, backfill_id, cancelled_by="alice") == 0

    found = backfill_progress.get(profile.tenant_id, backfill_id)
    assert states(found) == ["running", *["cancelled"] * 4]
    assert {run.error for run in found.runs[1:]} == {"backfill cancelled by alice"}
    waiting.process_queue()
    assert requests.arrived() == []
    run = find_run(profile.tenant_id, found.runs[1].pipeline_logging_id)
    assert (run.status, run.error) == ("CANCELLED", "backfill cancelled by alice")


def test_run_that_is_on_its_way_when_its_backfill_is_cancelled_does_not_begin(
    profile: TenantProfile, requests: Requests, post: Post
) -> None:
    backfill_id = create(profile, a_backfill(1))
    waiting.process_queue()
    (request,) = requests.arrived()

    backfills.cancel(profile.tenant_id, backfill_id, cancelled_by="alice")
    dispatch.handle(request)

    assert states(backfill_progress.get(profile.tenant_id, backfill_id)) == ["cancelled"]
    assert post.steps() == []


def test_one_waiting_date_can_be_cancelled_by_itself(profile: TenantProfile) -> None:
    backfill_id = create(profile, a_backfill(2))
    run_id = backfill_run_id(backfill_id, FIRST)

    cancel_run(profile.tenant_id, run_id, cancelled_by="alice")

    found = backfill_progress.get(profile.tenant_id, backfill_id)
    assert states(found) == ["cancelled", "waiting"]


def test_same_key_names_the_same_backfill(profile: TenantProfile) -> None:
    first = create(profile, key="october")
    waiting.process_queue()
    backfills.cancel(profile.tenant_id, first, cancelled_by="alice")

    assert create(profile, key="october") == first

    assert states(backfill_progress.get(profile.tenant_id, first)) == ["cancelled"] * 5
    with pytest.raises(KeyReusedError):
        create(profile, a_backfill(6), key="october")
    assert create(profile) != create(profile)


def test_six_requests_with_one_key_at_once_are_one_backfill(profile: TenantProfile) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = set(pool.map(lambda _: create(profile, key="at-once"), range(6)))

    (backfill_id,) = found
    assert states(backfill_progress.get(profile.tenant_id, backfill_id)) == ["waiting"] * 5


@pytest.mark.parametrize(
    ("method", "number"),
    [("jobs.query", 1), ("jobs.query", 2), ("tabledata.insertAll", 1), ("tabledata.insertAll", 2)],
)
def test_killed_in_the_middle_and_asked_again_is_one_whole_backfill(
    method: str, number: int, profile: TenantProfile, cloud: Cloud
) -> None:
    before = cloud.calls().get(method, 0)
    if number > 1:
        cloud.fail(method, times=number - 1)
    cloud.fail(method, delay_seconds=5)
    program = (
        "import sys; from shared.schedules import backfills;"
        "from shared.schedules.backfill_requests import BackfillFields;"
        "from shared.tenancy.tenants import TenantProfile;"
        "backfills.create(TenantProfile.model_validate_json(sys.argv[1]),"
        " BackfillFields.model_validate_json(sys.argv[2]),"
        " created_by='alice', idempotency_key='october')"
    )
    arguments = [profile.model_dump_json(), a_backfill(50).model_dump_json()]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_until(
            lambda: cloud.calls().get(method, 0) - before >= number,
            timeout=60,
            message=f"call {number} of {method}",
        )
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=30) in {-signal.SIGKILL, 0}  # 0: it was faster than the kill

    backfill_id = create(profile, a_backfill(50), key="october")

    found = backfill_progress.get(profile.tenant_id, backfill_id)
    assert states(found) == ["waiting"] * 50
    assert len({run.pipeline_logging_id for run in found.runs}) == 50
    assert len(backfill_progress.listed(profile.tenant_id).backfills) == 1


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"start_date": FIRST, "end_date": FIRST - DAY}, "/end_date"),
        ({"end_date": dt.date(2099, 1, 1), "start_date": dt.date(2098, 12, 31)}, "/end_date"),
        ({"start_date": FIRST - 400 * DAY, "end_date": FIRST}, "/start_date"),
        ({"pipeline_template": "chian"}, "/pipeline_template"),
        ({"parameters": {"surprise": 1}}, "/parameters/surprise"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_waits(
    changes: dict[str, Any], pointer: str, profile: TenantProfile
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        create(profile, a_backfill(**changes))

    assert [problem.pointer for problem in refused.value.problems] == [pointer]
    assert queue_log(profile.tenant_id) == []


def test_a_tenants_share_of_the_queue_is_bounded(profile: TenantProfile) -> None:
    for _ in range(2):
        create(profile, a_backfill(400))

    with pytest.raises(TooManyWaitingError, match="800 waiting runs, and 400 more"):
        create(profile, a_backfill(400))
    assert len(queue_log(profile.tenant_id)) == 800


def test_backfills_are_listed_newest_first_and_page_by_page(profile: TenantProfile) -> None:
    own = [create(profile, a_backfill(1)) for _ in range(3)]
    first = backfill_progress.listed(profile.tenant_id, limit=2)
    second = backfill_progress.listed(profile.tenant_id, limit=2, cursor=first.next_cursor)

    assert [one.backfill_id for one in (*first.backfills, *second.backfills)] == own[::-1]
    assert second.next_cursor is None
    with pytest.raises(InvalidInputError):
        backfill_progress.listed(profile.tenant_id, cursor="rubbish")


def test_nobody_sees_the_backfill_of_another(profile: TenantProfile, fresh: Any) -> None:
    backfill_id = create(profile, a_backfill(1))
    with pytest.raises(NotFoundError):
        backfill_progress.get(profile.tenant_id, str(uuid.uuid4()))
    with pytest.raises(NotFoundError):
        backfill_progress.get(fresh(), backfill_id)
    assert backfills.cancel("somebody", backfill_id, cancelled_by="bob") == 0
    assert outcomes.FINAL_RUN_STATES.isdisjoint(
        {run.status for run in executions(profile.tenant_id, Wanted()).runs}
    )
