"""What may happen to a fan-out of any size: twice at once, kills, outages; each proves its end."""

import contextlib
import random
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from benchmarks._fanout_tenants import ADMIN, COST, TEMPLATE, yesterday
from shared.schedules.requests import RunRequestMessage
from tests.fanout import SCHEDULER, Fanout, minute, pause
from tests.waiting import wait_until

WORKERS = ("dispatcher", "step-gcp", "step-shared")
_SLACK = timedelta(minutes=1)
_MINUTE = timedelta(minutes=1)


def check_each_ran_once(fanout: Fanout, ids: Sequence[str], moments: Sequence[datetime]) -> None:
    """Each occurrence of each tenant has one run, COMPLETED, and the rows are right.

    Every tenant has one schedule a moment, and nothing has run before the first of them.
    """
    began = min(moments)
    history = fanout.ended(ids, moments)
    occurrences = Counter((run.tenant_id, run.scheduled_time) for run in history)
    assert sorted(occurrences) == sorted((one, moment) for one in ids for moment in moments)
    assert set(occurrences.values()) == {1}
    assert Counter(run.state for run in history) == {"COMPLETED": len(history)}
    check_runs(fanout, {run.pipeline_logging_id for run in history}, ids, began)


def check_runs(fanout: Fanout, wanted: set[str], ids: Sequence[str], since: datetime) -> None:
    """These are all runs of the tenants since; each ended well, once, and gave its slot back."""
    runs = fanout.run_log(ids, since)
    assert Counter(run.status for run in runs) == {"COMPLETED": len(wanted)}
    assert {run.pipeline_logging_id for run in runs} == wanted
    costs = fanout.costs(ids)
    assert {row.cost for row in costs} == {COST}
    assert len(costs) == len(wanted)  # each run has a day of its own
    assert {row.tenant_id for row in costs} == set(ids)
    assert not set(fanout.live_runs()) & set(ids)
    assert not [letter for letter in fanout.dead_letters() if letter.tenant_id in set(ids)]


def two_triggers_at_once(fanout: Fanout, ids: Sequence[str]) -> None:
    """All due in one minute; the calls of two triggers at once are as many as those for a few."""
    few, many = ids[:5], ids[5:]
    moment = minute()
    with fanout.stopped("dispatcher"):
        fanout.tenants.arm(list(few), moment)
        fanout.forget_calls()
        assert fanout.done("trigger")["triggered_count"] == len(few)
        for_few = fanout.calls()
        fanout.tenants.arm(list(many), moment)
        fanout.forget_calls()
        with ThreadPoolExecutor(2) as callers:
            answers = [callers.submit(fanout.done, "trigger") for _ in range(2)]
            triggered = [answer.result()["triggered_count"] for answer in answers]
        for_many = fanout.calls()
    assert len(many) <= sum(triggered) <= 2 * len(many)
    assert set(for_many) <= {"jobs.query", "tabledata.insertAll"}, for_many
    assert all(count <= 2 * for_few[method] for method, count in for_many.items()), for_many
    check_each_ran_once(fanout, ids, [moment])
    assert fanout.central_dml() == {}


def triggers_killed(
    fanout: Fanout, ids: Sequence[str], kills: int, dice: random.Random, workers: int = 0
) -> None:
    """The scheduler dies at a random moment of a trigger and is asked again, `kills` times.

    With `workers`, so many random kills of dispatcher and executors follow each.
    """
    now = minute()
    moments = [now - number * _MINUTE for number in range(kills)]
    for number, moment in enumerate(moments):
        group = list(ids[number::kills])
        fanout.tenants.arm(group, moment)
        with _in_the_background(fanout, "trigger"):
            pause(dice.uniform(0, 0.4))
            fanout.kill("scheduler")
        fanout.done("trigger")
        for _ in range(workers):
            pause(dice.uniform(0.2, 1.5))
            fanout.kill(dice.choice(WORKERS))
    for number, moment in enumerate(moments):
        check_each_ran_once(fanout, ids[number::kills], [moment])


def workers_killed(fanout: Fanout, ids: Sequence[str], dice: random.Random, kills: int) -> None:
    """The dispatcher and two executors die again and again while all are due at once."""
    moment = minute()
    fanout.tenants.arm(list(ids), moment)
    fanout.done("trigger")
    for _ in range(kills):
        pause(dice.uniform(0.5, 3))
        fanout.kill(dice.choice(WORKERS))
    check_each_ran_once(fanout, ids, [moment])


def queues_killed(
    fanout: Fanout, ids: Sequence[str], days: int, kills: int, dice: random.Random
) -> None:
    """The scheduler dies while it takes backfills and while it processes the queue."""
    began = datetime.now(UTC) - _SLACK
    last = began.date() - timedelta(days=3)
    dates = [last - timedelta(days=number) for number in range(days)]
    fanout.tenants.spend(ids, dates)
    backfills: dict[str, str] = {}
    for number, tenant_id in enumerate(ids):
        with ThreadPoolExecutor(1) as caller:
            first = caller.submit(_backfill, fanout, tenant_id, dates)
            if number < kills:
                pause(dice.uniform(0, 0.5))
                fanout.kill("scheduler")
            first.result()
        backfills[tenant_id] = _accepted(fanout, tenant_id, dates)
    for _ in range(kills):
        with _in_the_background(fanout, "process-queue"):
            pause(dice.uniform(0, 0.4))
            fanout.kill("scheduler")
        fanout.done("process-queue")
    found = {one: _finished(fanout, one, known) for one, known in backfills.items()}
    runs: set[str] = set()
    for backfill in found.values():
        assert [run["date"] for run in backfill["runs"]] == sorted(str(day) for day in dates)
        assert backfill["progress"]["completed"] == days
        runs |= {run["pipeline_logging_id"] for run in backfill["runs"]}
    assert len(runs) == days * len(ids)
    check_runs(fanout, runs, ids, began)


def _backfill(fanout: Fanout, tenant_id: str, dates: Sequence[Any]) -> httpx.Response | None:
    """The answer; None where the scheduler died."""
    body = {
        "tenant_id": tenant_id,
        "provider": TEMPLATE[0],
        "domain": TEMPLATE[1],
        "pipeline_template": TEMPLATE[2],
        "start_date": str(min(dates)),
        "end_date": str(max(dates)),
        "max_concurrency": 10,
    }
    headers = {**ADMIN, "Idempotency-Key": f"all-of-{tenant_id}"}
    try:
        answer = fanout.http.post(f"{SCHEDULER}/backfill", json=body, headers=headers)
    except httpx.TransportError:
        return None
    assert answer.is_success or answer.status_code >= 500, answer.text
    return answer if answer.is_success else None


def _accepted(fanout: Fanout, tenant_id: str, dates: Sequence[Any]) -> str:
    answer = wait_until(
        lambda: _backfill(fanout, tenant_id, dates), timeout=240, every=0.3, message="a backfill"
    )
    assert answer is not None
    backfill_id: str = answer.json()["backfill_id"]
    return backfill_id


def _finished(fanout: Fanout, tenant_id: str, backfill_id: str) -> dict[str, Any]:
    path = f"{SCHEDULER}/backfills/{backfill_id}"

    def finished() -> dict[str, Any] | None:
        fanout.done("process-queue")
        answer = fanout.http.get(path, params={"tenant_id": tenant_id}, headers=ADMIN)
        found: dict[str, Any] = answer.json() if answer.is_success else {}
        return found if found.get("is_finished") else None

    found = wait_until(finished, timeout=900, every=0.5, message=f"the backfill of {tenant_id}")
    assert found is not None
    return found


def outage(fanout: Fanout, ids: Sequence[str], late: Sequence[str], seconds: float) -> None:
    """BigQuery refuses every call for a while: as unavailable first, then as asked too much.

    The runs of `ids` are under way when it begins; those of `late` are triggered during it.
    """
    moment, earlier = minute(), minute() - _MINUTE
    fanout.tenants.arm(list(ids), moment)
    fanout.done("trigger")
    wait_until(
        lambda: any(run.admitted_at for run in fanout.runs(ids, [moment])),
        timeout=120,
        message="the first run",
    )
    fanout.tenants.arm(list(late), earlier)
    fanout.fail(method="*", status=503, seconds=seconds / 2)
    fanout.fail(
        method="*",
        status=403,
        reason="rateLimitExceeded",
        message="Exceeded rate limits: too many api requests per user per method.",
        seconds=seconds,
    )
    fanout.done("trigger")
    check_each_ran_once(fanout, ids, [moment])
    check_each_ran_once(fanout, late, [earlier])


def waiting_runs_end(
    fanout: Fanout, light: Sequence[str], heavy: str | None, many: int
) -> tuple[list[float], list[str]]:
    """One run of each `light` tenant waits, and `many` older ones of the heavy tenant.

    Returns:
        Seconds until each light tenant's run had ended, ascending, and the tenants in the order in
        which their runs were let in.
    """
    began = datetime.now(UTC)
    crowd = [heavy] * many if heavy else []
    fanout.let_wait([_waiting_run(one, began) for one in [*crowd, *light]])
    since = datetime.now(UTC)

    def ended() -> dict[str, datetime] | None:
        fanout.done("process-queue")
        found = fanout.released(light, since)
        lost = [letter for letter in fanout.dead_letters() if letter.tenant_id in set(light)]
        assert not lost, lost
        return found if len(found) == len(light) else None

    ends = wait_until(ended, timeout=900, every=3, message="the end of the light tenants' runs")
    assert ends is not None
    taken = sorted((end - since).total_seconds() for end in ends.values())
    return taken, fanout.admitted([*crowd[:1], *light], since)


def _waiting_run(tenant_id: str, now: datetime) -> RunRequestMessage:
    return RunRequestMessage(
        tenant_id=tenant_id,
        pipeline_logging_id=str(uuid.uuid4()),
        provider=TEMPLATE[0],
        domain=TEMPLATE[1],
        pipeline_template=TEMPLATE[2],
        date=yesterday(),
        trigger_by="schedule/test",
        config_id=str(uuid.uuid4()),
        scheduled_time=now,
        requested_at=now,
    )


def slots_come_back(
    fanout: Fanout, ids: Sequence[str], rounds: int, kills: int, dice: random.Random
) -> Counter[str]:
    """Runs die anywhere, with their messages; an hour later a cleanup dies, too, again and again.

    Returns:
        How the runs ended.
    """
    began = datetime.now(UTC) - _SLACK
    now = minute()
    for number in range(rounds):
        fanout.tenants.arm(list(ids), now - number * _MINUTE)
        since = datetime.now(UTC)
        fanout.done("trigger")
        over = dice.randint(len(ids) // 4, len(ids) * 3 // 4)
        wait_until(
            lambda since=since, over=over: len(fanout.released(ids, since)) >= over,  # type: ignore[misc]
            timeout=300,
            every=0.3,
            message=f"the end of {over} runs",
        )
        for function in dice.sample(WORKERS, len(WORKERS)):
            fanout.kill(function)
        fanout.lose_messages("run-requests", "step-gcp", "step-shared")
    wait_until(lambda: _quiet(fanout), timeout=120, every=1, message="the last deliveries' end")
    held = fanout.live_runs()
    assert sum(held.values()) > 0
    fanout.an_hour_passes(ids)
    for _ in range(kills):
        with _in_the_background(fanout, "cleanup-orphaned-pipelines"):
            pause(dice.uniform(0, 1.5))
            fanout.kill("scheduler")
    done = fanout.done("cleanup-orphaned-pipelines")
    assert fanout.done("cleanup-orphaned-pipelines")["cleaned_count"] == 0, done
    assert fanout.live_runs() == {}
    runs = fanout.run_log(ids, began)
    ends = Counter(run.status for run in runs)
    assert set(ends) <= {"COMPLETED", "TIMED_OUT"}, ends
    assert len({run.pipeline_logging_id for run in runs}) == len(runs) <= rounds * len(ids)
    return ends


def _quiet(fanout: Fanout) -> bool:
    """Whether no process of the product calls BigQuery any more."""
    fanout.forget_calls()
    pause(3)
    return not fanout.calls()


@contextlib.contextmanager
def _in_the_background(fanout: Fanout, path: str) -> Iterator[None]:
    """A call that nobody waits for before the block, and whose answer does not matter."""

    def call() -> None:
        with contextlib.suppress(httpx.TransportError):
            fanout.call(path)

    with ThreadPoolExecutor(1) as caller:
        caller.submit(call)
        yield
