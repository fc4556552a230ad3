"""Runs that nobody ends any more: ended once, told once, their slots given back."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
from google.api_core.exceptions import NotFound

from infra.local.pubsub.faults_client import faults
from shared.clients import bigquery_client
from shared.engine import outcomes, tenant_states
from shared.engine.dead_letters import bury
from shared.engine.execute import advance
from shared.engine.outcomes import StepOutcome
from shared.schedules import orphans
from shared.tenancy import admission, quota
from shared.tenancy.tenants import TenantProfile
from shared.warehouse import rows
from tests.api_processes import one_day
from tests.component.conftest import Cloud
from tests.component.shared.engine.logs import run_rows, status, step_rows, steps
from tests.component.shared.engine.templates import CHAIN, templates
from tests.component.shared.post import Post, deliver
from tests.component.shared.schedules.overdue import (
    admitted_row,
    ledger,
    logged,
    onboarded,
    overdue_run,
    released,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("central")
ROOT = Path(__file__).resolve().parents[4]
SLOW = (
    "SELECT COUNT(*) AS n FROM UNNEST(GENERATE_ARRAY(1, 200000)) AS a,"
    " UNNEST(GENERATE_ARRAY(1, 200000)) AS b WHERE MOD(a * b, 7) = 3"
)
ALWAYS = """
  - step_id: "tidy"
    ps_type: "shared.email_notification"
    trigger: "always"
    to_emails: ["{admin_email}"]
    subject: "Tidied up"
    message: "after {steps.first.rows_processed} rows"
"""


@pytest.fixture(autouse=True)
def _templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    slow = CHAIN.replace("SELECT n FROM UNNEST(GENERATE_ARRAY(1, {wanted})) AS n", SLOW)
    tidy = CHAIN.replace('\n  - step_id: "alert"', f'{ALWAYS}\n  - step_id: "alert"')
    with templates(tmp_path / "configs", monkeypatch, chain=CHAIN, slow=slow, tidy=tidy):
        yield


@pytest.fixture(autouse=True)
def _nothing_is_overdue(central: None, _templates: None) -> None:
    one_day(seconds=10)
    orphans.clean_up()


@pytest.fixture
def profile(tenant: str) -> TenantProfile:
    return onboarded(tenant)


def slots_held(tenant_id: str) -> set[int]:
    """The slots of the tenant that nobody has given back."""
    entries = ledger([tenant_id])
    given_back = {row["slot"] for row in entries if row["event"] != "ADMITTED"}
    return {row["slot"] for row in entries} - given_back


def subjects(cloud: Cloud, tenant: TenantProfile) -> list[str]:
    return sorted(mail["subject"] for mail in cloud.mails(str(tenant.admin_email)))


def test_overdue_run_is_ended_told_and_gives_its_slot_back(
    profile: TenantProfile, post: Post, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = overdue_run(profile, monkeypatch)
    late = post.steps()

    done = orphans.clean_up()
    post.deliver_all(copies=2)

    assert (done.cleaned, done.remaining) == (1, 0)
    (row,) = run_rows(run)
    assert (row["status"], row["error_code"]) == ("TIMED_OUT", "timed-out")
    assert row["error"].startswith("The run passed its deadline, ")
    (entry,) = released(run)
    assert (entry["status"], entry["reason"]) == ("TIMED_OUT", row["error"])
    usage = quota.read(profile.tenant_id)
    assert (usage.running, usage.run_today) == (0, 1)
    (mail,) = cloud.mails(str(profile.admin_email))
    assert (mail["subject"], mail["text"].strip()) == ("Run failed", row["error"])

    for message in late:  # what was under way comes to nothing
        deliver(message)
    assert post.steps() == []
    assert steps(run) == [("alert", 1, "COMPLETED")]
    assert orphans.clean_up().cleaned == 0
    assert post.steps() == []


def test_late_dead_letter_of_an_overdue_run_changes_nothing(
    profile: TenantProfile, post: Post, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = overdue_run(profile, monkeypatch)
    (late,) = post.steps()
    orphans.clean_up()
    post.deliver_all()

    bury(late, "20")
    post.deliver_all()

    assert status(run) == "TIMED_OUT"
    assert steps(run) == [("alert", 1, "COMPLETED")]
    assert len(cloud.mails(str(profile.admin_email))) == 1


def test_failure_that_was_published_at_the_same_moment_is_told_once(
    profile: TenantProfile, post: Post, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The executor found its run alive, then the cleanup ended it, then the executor went on."""
    run = overdue_run(profile, monkeypatch)
    (first,) = post.steps()
    orphans.clean_up()
    failed = StepOutcome("FAILED", 1, error="no such table", error_code="warehouse-refused")

    advance(first, failed)

    assert post.deliver_all() == 2
    assert status(run) == "TIMED_OUT"
    assert steps(run) == [("alert", 1, "COMPLETED")]
    assert subjects(cloud, profile) == ["Run failed"]


def test_running_job_is_stopped_and_no_step_follows(
    profile: TenantProfile, post: Post, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = overdue_run(profile, monkeypatch, template="slow")
    (first,) = post.steps()
    job_id = f"{run.pipeline_logging_id}--first--write--1--{run.date:%Y%m%d}--1"

    def runs() -> bool:
        try:
            return bool(bigquery_client().get_job(job_id).state != "DONE")
        except NotFound:
            return False

    with ThreadPoolExecutor(1) as pool:
        delivery = pool.submit(deliver, first)
        wait_until(runs, message="the job", timeout=60)
        orphans.clean_up()
        delivery.result(timeout=60)
    post.deliver_all()

    assert bigquery_client().get_job(job_id).error_result["reason"] == "stopped"
    assert status(run) == "TIMED_OUT"
    (row,) = run_rows(run)
    assert row["failed_step"] == "first"
    assert steps(run) == [("first", 1, "FAILED"), ("alert", 1, "COMPLETED")]
    assert subjects(cloud, profile) == ["Run failed"]


def test_step_whose_executor_died_does_not_stay_running(
    profile: TenantProfile, post: Post, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = overdue_run(profile, monkeypatch, template="tidy")
    (first,) = post.steps()
    deliver(first)
    (second,) = post.steps()
    outcomes.record_step(second, "RUNNING", attempt=1, started=datetime.now(UTC))

    orphans.clean_up()
    post.deliver_all()

    assert steps(run) == [
        ("first", 1, "COMPLETED"),
        ("second", 1, "FAILED"),
        ("tidy", 1, "COMPLETED"),
        ("alert", 1, "COMPLETED"),
    ]
    broken_off = step_rows(run)[1]
    assert (broken_off["error_code"], broken_off["step_name"]) == ("timed-out", "second")
    assert run_rows(run)[0]["failed_step"] == "second"
    assert subjects(cloud, profile) == ["Run failed", "Tidied up"]
    tidied = next(m for m in cloud.mails(str(profile.admin_email)) if m["subject"] == "Tidied up")
    assert tidied["text"].strip() == "after 3 rows"


def test_run_that_ended_by_itself_keeps_its_end(
    profile: TenantProfile, post: Post, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its slot was not given back: the ledger's row was lost, or the process died before it."""
    run = overdue_run(profile, monkeypatch)
    post.received()
    outcomes.record_run(run, "COMPLETED")

    assert orphans.clean_up().cleaned == 0

    assert status(run) == "COMPLETED"
    assert [row["status"] for row in released(run)] == ["COMPLETED"]
    assert post.steps() == []
    assert cloud.mails(str(profile.admin_email)) == []


def test_run_that_never_got_a_row_gives_its_slot_back(profile: TenantProfile) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    admission.admit(profile.tenant_id, "11111111-1111-4111-8111-111111111111", deadline=past)

    assert orphans.clean_up().cleaned == 0

    assert [row["event"] for row in ledger([profile.tenant_id])] == ["ADMITTED", "RELEASED"]


def test_run_that_was_let_in_twice_gives_both_slots_back(
    profile: TenantProfile, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = overdue_run(profile, monkeypatch)
    past = datetime.now(UTC) - timedelta(seconds=1)
    rows.append(quota.LEDGER, [admitted_row(profile.tenant_id, 2, run.pipeline_logging_id, past)])

    assert orphans.clean_up().cleaned == 1

    assert {row["slot"] for row in released(run)} == {1, 2}
    assert len(post.steps()) == 2  # the first one, and the alert


def test_run_let_in_again_after_its_deadline_lives(
    profile: TenantProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = overdue_run(profile, monkeypatch)
    future = datetime.now(UTC) + timedelta(hours=1)
    admission.admit(profile.tenant_id, run.pipeline_logging_id, deadline=future)

    assert orphans.clean_up().cleaned == 0
    assert status(run) == "PENDING"
    assert released(run) == []


def test_tenants_that_are_gone_leave_nothing_behind(
    profile: TenantProfile, monkeypatch: pytest.MonkeyPatch, fresh: Callable[[], str]
) -> None:
    overdue_run(profile, monkeypatch)
    unknown = fresh()
    past = datetime.now(UTC) - timedelta(seconds=1)
    rows.append(quota.LEDGER, [admitted_row(unknown, 1, "a-run", past)])
    bigquery_client().delete_dataset(profile.tenant_id, delete_contents=True)

    assert orphans.clean_up().remaining == 0

    assert slots_held(unknown) == slots_held(profile.tenant_id) == set()
    tenant_states.offboard(profile.tenant_id, changed_by="test")
    rows.append(quota.LEDGER, [admitted_row(profile.tenant_id, 9, "another-run", past)])
    assert orphans.clean_up().remaining == 0
    assert slots_held(profile.tenant_id) == set()


def test_template_that_is_gone_costs_only_the_notification(
    profile: TenantProfile, post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = overdue_run(profile, monkeypatch)
    post.received()
    (tmp_path / "configs" / "gcp" / "test" / "chain.yml").unlink()
    from shared.engine import prepare

    prepare.library.cache_clear()

    assert orphans.clean_up().cleaned == 1

    assert status(run) == "TIMED_OUT"
    assert len(released(run)) == 1
    assert post.steps() == []


def test_failure_that_cannot_be_published_is_told_by_the_next_call(
    profile: TenantProfile, post: Post, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = overdue_run(profile, monkeypatch)
    post.received()
    with faults(cloud.environment["PUBSUB_EMULATOR_HOST"]) as pubsub:
        pubsub.set("Publish", code="PERMISSION_DENIED")

        first = orphans.clean_up()

    assert (first.cleaned, first.remaining) == (0, 1)
    assert status(run) == "TIMED_OUT"
    assert released(run) == []
    second = orphans.clean_up()
    post.deliver_all()
    assert (second.cleaned, second.remaining) == (1, 0)
    assert logged(run, "TIMED_OUT") == 1
    assert subjects(cloud, profile) == ["Run failed"]


def test_what_the_time_does_not_allow_is_left_to_the_next_call(
    profile: TenantProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = overdue_run(profile, monkeypatch)

    nothing = orphans.clean_up(budget_seconds=0)
    assert (nothing.cleaned, nothing.released) == (0, 0)
    assert nothing.remaining >= 1
    assert status(run) == "PENDING"
    everything = orphans.clean_up()
    assert (everything.cleaned, everything.remaining) == (1, 0)


def test_dead_slot_is_refunded_on_the_way(profile: TenantProfile) -> None:
    future = datetime.now(UTC) + timedelta(hours=1)
    entries = [admitted_row(profile.tenant_id, slot, f"run-{slot}", future) for slot in (1, 3)]
    rows.append(quota.LEDGER, entries)

    assert orphans.clean_up().refunded >= 1
    assert slots_held(profile.tenant_id) == {1, 3}
    assert [row["event"] for row in ledger([profile.tenant_id])] == [
        "ADMITTED",
        "REFUNDED",
        "ADMITTED",
    ]


def test_two_at_once_end_a_run_once(
    profile: TenantProfile, post: Post, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = [overdue_run(profile, monkeypatch) for _ in range(5)]
    post.received()
    together = Barrier(3)

    def clean_up() -> None:
        together.wait()
        orphans.clean_up()

    with ThreadPoolExecutor(3) as pool:
        for call in [pool.submit(clean_up) for _ in range(3)]:
            call.result(timeout=60)
    post.deliver_all()

    assert [status(run) for run in own] == ["TIMED_OUT"] * 5
    assert [logged(run, "TIMED_OUT") for run in own] == [1] * 5
    assert len(cloud.mails(str(profile.admin_email))) == 5
    assert quota.read(profile.tenant_id).running == 0


@pytest.mark.parametrize(
    ("method", "number"),
    [("tabledata.insertAll", 1), ("tabledata.insertAll", 2), ("jobs.query", 4), ("jobs.query", 6)],
    ids=["before the end is recorded", "before the slot is free", "reading", "reading again"],
)
def test_killed_in_the_middle_and_called_again_ends_a_run_once(
    method: str,
    number: int,
    profile: TenantProfile,
    post: Post,
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = overdue_run(profile, monkeypatch)
    post.received()
    before = cloud.calls().get(method, 0)
    if number > 1:
        cloud.fail(method, times=number - 1)
    cloud.fail(method, delay_seconds=5)
    command = "from shared.schedules import orphans; orphans.clean_up()"
    with subprocess.Popen(
        [sys.executable, "-c", command],
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

    orphans.clean_up()
    post.deliver_all()

    assert status(run) == "TIMED_OUT"
    assert logged(run, "TIMED_OUT") == 1
    assert {row["slot"] for row in released(run)} == {1}
    assert subjects(cloud, profile) == ["Run failed"]
    assert orphans.clean_up().remaining == 0
