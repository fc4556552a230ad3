"""What a fan-out is measured by: processes' memory, BigQuery's calls, the history of the runs."""

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from google.cloud import bigquery

from infra.local.running import RunningStack


@dataclass
class Calls:
    """BigQuery's own count of calls, by method, and of mutating DML statements, by table."""

    url: str

    def clear(self) -> None:
        httpx.delete(f"{self.url}/_local/calls", timeout=30)

    def read(self) -> tuple[Counter[str], Counter[str]]:
        report = httpx.get(f"{self.url}/_local/calls", timeout=30).json()
        statements = Counter(report.pop("dml"))
        return Counter(report), statements


def peak_megabytes(group: int) -> float:
    """The highest VmHWM of a process group's processes: of the one that does the work."""
    return max((_peak(pid) for pid in _members(group)), default=0.0)


def peaks(stack: RunningStack) -> dict[str, float]:
    """Process → peak memory in MB, of functions and services."""
    processes = {**stack.function_processes(), **stack.service_processes()}
    return {name: peak_megabytes(pid) for name, pid in processes.items()}


def _members(group: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                text = (entry / "stat").read_text(encoding="utf-8")
            except OSError:
                continue
            if int(text.rpartition(")")[2].split()[2]) == group:
                found.append(int(entry.name))
    return found


def _peak(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def processor_seconds(stack: RunningStack) -> dict[str, float]:
    """Process → seconds of CPU it has used so far."""
    ticks = 100.0
    used = {}
    processes = {**stack.function_processes(), **stack.service_processes()}
    for name, group in processes.items():
        total = 0
        for pid in _members(group):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
            except OSError:
                continue
            total += sum(int(value) for value in fields.split()[11:13])
        used[name] = total / ticks
    return used


@dataclass(frozen=True)
class History:
    """What `scheduled_pipeline_runs` says of one occurrence of every schedule."""

    states: Counter[str]
    repeated: int
    """Tenants with more than one run."""
    reasons: Counter[str]
    to_start: list[float]
    """Seconds from the scheduled to the start time, ascending."""
    to_end: list[float]
    """Seconds from start to end, ascending."""
    ended_at: float
    """When the last one ended, seconds since 1970."""


def history(client: bigquery.Client, scheduled: str) -> History:
    sql = f"""
      SELECT tenant_id, state, reason, started_at, completed_at,
        TIMESTAMP_DIFF(started_at, scheduled_time, MILLISECOND) / 1000 AS to_start,
        TIMESTAMP_DIFF(completed_at, started_at, MILLISECOND) / 1000 AS to_end
      FROM `tenants.scheduled_pipeline_runs`
      WHERE scheduled_time = TIMESTAMP '{scheduled}'
    """
    found: list[Any] = list(client.query_and_wait(sql))
    tenants = Counter(row.tenant_id for row in found)
    ends = [row.completed_at.timestamp() for row in found if row.completed_at]
    return History(
        states=Counter(row.state for row in found),
        repeated=sum(1 for count in tenants.values() if count > 1),
        reasons=Counter(row.reason for row in found if row.reason),
        to_start=sorted(row.to_start for row in found if row.to_start is not None),
        to_end=sorted(row.to_end for row in found if row.to_end is not None),
        ended_at=max(ends, default=time.time()),
    )


def percentiles(values: Sequence[float]) -> str:
    """p50, p95 and p99 of ascending values, in seconds."""
    if len(values) < 2:
        return "no runs"
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return f"p50 {cuts[49]:8.2f} s   p95 {cuts[94]:8.2f} s   p99 {cuts[98]:8.2f} s"
