"""Ten thousand tenants due at once: the trigger beside a bare loop, then every run to its end.

    make bench-fanout TENANTS=10000 [LIMITS=1]

A local stack of its own; tenants made alike in bulk; all schedules due in the same minute. The
trigger is called through the local Cloud Scheduler. First the trigger alone, its messages kept from
the dispatcher: how its time grows, and what it is beside a loop that computes the same occurrences
with croniter and publishes the same messages with Google's client. Then the fan-out itself, through
a pipeline of two steps, to the last COMPLETED. With LIMITS=1, BigQuery's published rates and delays
hold while it runs. Exits with 1 when something that must hold does not.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, pubsub_v1
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from benchmarks._fanout_measures import (
    Calls,
    History,
    history,
    peak_megabytes,
    peaks,
    percentiles,
    processor_seconds,
)
from benchmarks._fanout_tenants import (
    PROJECT,
    TEMPLATE,
    Tenants,
    bench_topology,
    tenant_ids,
)
from infra.local.running import RunningStack, running
from tests.waiting import wait_until

MOST_RATIO = 2.0
MOST_MEGABYTES = 400
MOST_GROWTH = 1.5
"""Time of a schedule at N beside one at the size before: linear is 1, fixed costs make it less."""
LEAST_FOR_RATIOS = 1_000
"""Below, what a call costs at all outweighs what its schedules cost."""
SIZES = (100, 1_000, 10_000)
ROUNDS = 3
_STALLED_SECONDS = 300.0
_TOPIC = f"projects/{PROJECT}/topics/run-requests"
_SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/run-requests"
_KEPT = f"projects/{PROJECT}/subscriptions/kept-from-the-dispatcher"


@dataclass
class Verdicts:
    """What must hold, and whether it did."""

    broken: list[str] = field(default_factory=list)

    def hold(self, *, true: bool, text: str) -> None:
        print(f"  {'✓' if true else '✗'} {text}")
        if not true:
            self.broken.append(text)


@dataclass
class Bench:
    """A stack with tenants, and who speaks to it."""

    stack: RunningStack
    tenants: Tenants
    ids: list[str]
    calls: Calls
    verdicts: Verdicts
    console: Console
    trigger_busy: list[float] = field(default_factory=list)
    """Processor seconds of each trigger of all tenants."""

    def trigger(self) -> dict[str, Any]:
        """The scheduler's answer to Cloud Scheduler."""
        url = self.stack.urls["cloud-scheduler"]
        job = httpx.post(f"{url}/jobs/trigger:run", timeout=600).json()
        if job["status"]["code"]:
            raise SystemExit(f"the trigger failed: {job['status']} {job['lastAttempt']['body']}")
        answer: dict[str, Any] = json.loads(job["lastAttempt"]["body"])
        return answer

    def progress(self) -> Progress:
        columns = (
            TextColumn("{task.description:32}"),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        return Progress(*columns, console=self.console)


def main() -> int:
    options = _options()
    os.nice(options.nice)
    console = Console(force_terminal=sys.stdout.isatty() or None)
    with ExitStack() as cleanup:
        directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="fanout-")))
        topology = bench_topology(directory)
        with console.status("starting a local stack"):
            stack = cleanup.enter_context(running(topology=topology, state=directory / "state"))
            os.environ.update(stack.environment())
        bench = _bench(stack, tenant_ids(options.tenants), console)
        _seed(bench, without_datasets=options.trigger_only)
        _trigger_alone(bench)
        if not options.trigger_only:
            _fan_out(bench, limits=options.limits)
        broken = bench.verdicts.broken
    print(f"\n{len(broken)} broken: {'; '.join(broken)}" if broken else "\neverything holds")
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--limits", action="store_true", help="hold BigQuery's published rates")
    parser.add_argument("--trigger-only", action="store_true", help="without the runs themselves")
    parser.add_argument("--nice", type=int, default=0, help="leave the machine to others")
    return parser.parse_args()


def _bench(stack: RunningStack, ids: list[str], console: Console) -> Bench:
    client = bigquery.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": stack.environment()["BIGQUERY_EMULATOR_HOST"]},
    )
    http = httpx.Client(base_url=stack.urls["gateway"], timeout=120)
    calls = Calls(stack.urls["bigquery"])
    return Bench(stack, Tenants(stack, client, http), ids, calls, Verdicts(), console)


def _seed(bench: Bench, *, without_datasets: bool) -> None:
    with bench.progress() as progress:
        task = progress.add_task("onboarding", total=len(bench.ids) + 1)
        bench.tenants.onboard_model()
        progress.advance(task)
        if without_datasets:
            bench.tenants.enter(bench.ids)
            progress.update(task, completed=len(bench.ids) + 1)
        else:
            bench.tenants.make(bench.ids, lambda: progress.advance(task))


# --- the trigger alone


def _trigger_alone(bench: Bench) -> None:
    """Grow, then compare at the full number; what is published reaches nobody."""
    print(f"\nTrigger alone, {len(bench.ids):,} tenants")
    seconds: dict[int, float] = {}
    sizes = sorted({*(size for size in SIZES if size < len(bench.ids)), len(bench.ids)})
    with _messages_kept():
        _triggered(bench, min(sizes))  # the first call of a process pays for its imports
        made: dict[int, dict[str, int]] = {}
        for size in sizes[:-1]:
            rounds = [_triggered(bench, size) for _ in range(ROUNDS)]
            seconds[size] = statistics.median(taken for taken, _ in rounds)
            made[size] = rounds[-1][1]
        ours, bare, busy = [], [], []
        for _ in range(ROUNDS):
            taken, made[sizes[-1]] = _triggered(bench, sizes[-1])
            ours.append(taken)
            before = _processor_seconds(bench)
            bare.append(_bare_loop(bench.ids))
            busy.append(_processor_seconds(bench) - before)
        seconds[sizes[-1]] = statistics.median(ours)
    for size in sizes:
        rate = size / seconds[size]
        calls = ", ".join(f"{count} {name}" for name, count in sorted(made[size].items()))
        print(f"  {size:6,} due   {seconds[size]:7.2f} s   {rate:8,.0f} messages/s   {calls}")
    ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
    middle = statistics.median(bare)
    print(f"  bare loop    {middle:7.2f} s   {len(bench.ids) / middle:8,.0f} messages/s")
    print(
        f"  processor time of all processes: {statistics.median(bench.trigger_busy):.2f} s,"
        f" of the bare loop {statistics.median(busy):.2f} s"
    )
    _warn_if_busy()
    memory = peak_megabytes(bench.stack.function_processes()["scheduler"])
    verdicts = bench.verdicts
    verdicts.hold(
        true=ratio <= MOST_RATIO or sizes[-1] < LEAST_FOR_RATIOS,
        text=f"the trigger takes {ratio:.2f} times the bare loop (limit {MOST_RATIO}"
        f" from {LEAST_FOR_RATIOS:,} on)",
    )
    verdicts.hold(
        true=memory < MOST_MEGABYTES,
        text=f"the scheduler's peak memory is {memory:.0f} MB (limit {MOST_MEGABYTES})",
    )
    if len(sizes) > 1 and sizes[-1] >= LEAST_FOR_RATIOS:
        before, last = sizes[-2:]
        growth = (seconds[last] / last) / (seconds[before] / before)
        verdicts.hold(
            true=growth <= MOST_GROWTH,
            text=f"a schedule costs {growth:.2f} times as much among {last:,} as among {before:,}"
            f" (limit {MOST_GROWTH})",
        )
    _hold_calls(bench, made)


def _processor_seconds(bench: Bench) -> float:
    """Of this process and of the whole stack."""
    return time.process_time() + sum(processor_seconds(bench.stack).values())


def _warn_if_busy() -> None:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores:
        print(
            f"  the machine is busy (load {load:.0f} on {cores} cores): the trigger is a chain of"
            " processes, which wait for each other's turns, the bare loop is one"
        )


def _hold_calls(bench: Bench, made: dict[int, dict[str, int]]) -> None:
    """Appends are batches at the API's limit; everything else is the same for any number."""
    from shared.warehouse.rows import AT_THE_LIMIT

    others = {
        tuple(sorted((name, n) for name, n in calls.items() if name != "tabledata.insertAll"))
        for calls in made.values()
    }
    most = max(made)
    batches = made[most].get("tabledata.insertAll", 0)
    allowed = 2 * -(-most // AT_THE_LIMIT) + 4
    bench.verdicts.hold(
        true=len(others) == 1 and batches <= allowed,
        text=f"BigQuery's calls do not grow but for {batches} append batches (limit {allowed})",
    )


def _triggered(bench: Bench, size: int) -> tuple[float, dict[str, int]]:
    """Seconds of one trigger of so many schedules, as it says itself, and its calls."""
    bench.tenants.disarm()
    bench.tenants.arm(bench.ids[:size], _minute(datetime.now(UTC)))
    bench.calls.clear()
    before = _processor_seconds(bench)
    answer = bench.trigger()
    if size == len(bench.ids):
        bench.trigger_busy.append(_processor_seconds(bench) - before)
    made, _ = bench.calls.read()
    if (answer["triggered_count"], answer["queued_count"]) != (size, size):
        raise SystemExit(f"{size} schedules were due, triggered: {answer}")
    return answer["duration_ms"] / 1000, dict(made)


def _bare_loop(ids: list[str]) -> float:
    """The same occurrences by croniter, the same messages by Google's client, nothing else."""
    import uuid

    from croniter import croniter

    now = datetime.now(UTC)
    expression = f"{now.minute} {now.hour} * * *"
    batches = pubsub_v1.types.BatchSettings(max_messages=1000, max_bytes=5_000_000)
    publisher = pubsub_v1.PublisherClient(batch_settings=batches)
    began = time.perf_counter()
    futures = []
    for tenant_id in ids:
        following = croniter(expression, now).get_next(datetime)
        run_id = str(uuid.uuid4())
        message = {
            "tenant_id": tenant_id,
            "pipeline_logging_id": run_id,
            "provider": TEMPLATE[0],
            "domain": TEMPLATE[1],
            "pipeline_template": TEMPLATE[2],
            "date": now.date().isoformat(),
            "trigger_type": "scheduled",
            "trigger_by": f"schedule/{run_id}",
            "priority": 5,
            "config_id": run_id,
            "scheduled_time": following.isoformat(),
            "requested_at": now.isoformat(),
            "parameters": {},
        }
        data = json.dumps(message).encode()
        futures.append(
            publisher.publish(
                _TOPIC, data, tenant_id=tenant_id, pipeline_logging_id=run_id, traceparent=""
            )
        )
    for future in futures:
        future.result(60)
    taken = time.perf_counter() - began
    publisher.stop()
    return taken


@contextmanager
def _messages_kept() -> Iterator[None]:
    """Run requests are stored as ever, for a subscription that nobody reads."""
    with pubsub_v1.SubscriberClient() as subscriber:
        pushing = subscriber.get_subscription(subscription=_SUBSCRIPTION)
        subscriber.delete_subscription(subscription=_SUBSCRIPTION)
        subscriber.create_subscription(name=_KEPT, topic=_TOPIC)
        try:
            yield
        finally:
            subscriber.delete_subscription(subscription=_KEPT)
            subscriber.create_subscription(request=pushing)


# --- the whole fan-out


def _fan_out(bench: Bench, *, limits: bool) -> None:
    print(f"\nFan-out, {len(bench.ids):,} tenants{', with published limits' if limits else ''}")
    bench.tenants.disarm()
    moment = _minute(datetime.now(UTC) + timedelta(seconds=75))
    bench.tenants.arm(bench.ids, moment)
    with bench.console.status(f"due at {moment:%H:%M:%S}"):
        wait_until(lambda: datetime.now(UTC) >= moment, timeout=180, message="the minute")
    _enforce(bench, on=limits)
    bench.calls.clear()
    used = processor_seconds(bench.stack)
    began = time.time()
    answer = bench.trigger()
    polls = _await_ends(bench, moment)
    _enforce(bench, on=False)
    made, statements = bench.calls.read()
    made["jobs.query"] -= polls
    busy = {name: t - used.get(name, 0) for name, t in processor_seconds(bench.stack).items()}
    runs = history(bench.tenants.client, moment.isoformat())
    _report(bench, answer, runs, began)
    _report_calls(bench, made, statements)
    _report_processes(bench, busy, runs.ended_at - began)


def _enforce(bench: Bench, *, on: bool) -> None:
    httpx.post(f"{bench.stack.urls['bigquery']}/_local/limits", json={"enforced": on})


def _await_ends(bench: Bench, moment: datetime) -> int:
    """Show the runs that have ended until all have, or none does any more; the number of polls."""
    sql = (
        "SELECT COUNT(DISTINCT pipeline_logging_id) AS ended FROM `tenants.usage_ledger`"
        f" WHERE event = 'RELEASED' AND recorded_at >= TIMESTAMP '{moment.isoformat()}'"
    )
    polls, ended, moved = 0, 0, time.monotonic()
    with bench.progress() as progress:
        task = progress.add_task("runs to their end", total=len(bench.ids))
        while ended < len(bench.ids) and time.monotonic() < moved + _STALLED_SECONDS:
            polls += 1
            now = next(iter(bench.tenants.client.query_and_wait(sql))).ended
            if now > ended:
                ended, moved = now, time.monotonic()
                progress.update(task, completed=ended)
            wait_until(_after(2.0), message="the next look")
    return polls


def _after(seconds: float) -> Any:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


def _report(bench: Bench, answer: dict[str, Any], runs: History, began: float) -> None:
    count, took = len(bench.ids), runs.ended_at - began
    trigger = answer["duration_ms"] / 1000
    print(f"  trigger              {trigger:8.2f} s   {count / trigger:8,.0f} messages/s")
    print(f"  all runs             {took:8.2f} s   {count / took:8.1f} runs/s")
    print(f"  scheduled to started {percentiles(runs.to_start)}")
    print(f"  started to ended     {percentiles(runs.to_end)}")
    bench.verdicts.hold(
        true=runs.states == {"COMPLETED": count},
        text=f"every run is COMPLETED: {dict(runs.states)} {dict(runs.reasons.most_common(3))}",
    )
    bench.verdicts.hold(true=not runs.repeated, text=f"{runs.repeated} tenants have two runs")


def _report_calls(bench: Bench, made: Any, statements: Any) -> None:
    count = len(bench.ids)
    print(f"  BigQuery calls a run {sum(made.values()) / count:8.1f}")
    for name, calls in made.most_common():
        print(f"    {name:24} {calls:9,}   {calls / count:8.2f} a run")
    central = {
        table: n for table, n in statements.items() if table.startswith(f"{PROJECT}.tenants.")
    }
    print(f"  mutating DML a run   {sum(statements.values()) / count:8.2f}")
    bench.verdicts.hold(
        true=not central, text=f"no mutating DML on a central table: {central or 'none'}"
    )


def _report_processes(bench: Bench, busy: dict[str, float], took: float) -> None:
    print("  process              peak memory    busy")
    for name, megabytes in sorted(peaks(bench.stack).items(), key=lambda entry: -entry[1]):
        print(f"    {name:18} {megabytes:8.0f} MB  {busy.get(name, 0) / took:6.0%} of a core")
    memory = peak_megabytes(bench.stack.function_processes()["scheduler"])
    bench.verdicts.hold(
        true=memory < MOST_MEGABYTES,
        text=f"the scheduler's peak memory is {memory:.0f} MB (limit {MOST_MEGABYTES})",
    )


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


if __name__ == "__main__":
    sys.exit(main())
