"""The local BigQuery through Google's client, beside bare round trips of the same client.

    python benchmarks/local_bigquery.py [--state]

- A point SELECT, `client.query(...).result()`: at most 4 times a `get_dataset`. The client makes
  two calls for it (2.5 times, against a server that takes no time at all), and a third when the
  rows are read (3.7 times), which is shown without a limit.
- `insertAll` of one row: at most 3 times.
- With 10,000 datasets of 4 tables instead of 10: neither takes more than 30 % longer, and the
  server stays under 2 GB.

Two servers as processes of their own, one with few datasets and one with many; every round measures
each call on both, so that a busy machine slows all alike. Medians. Exits 1 over a limit.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "convergence-local"
FEW, MANY, TABLES = 10, 10_000, 4
ROUNDS = 400
WARM_UP = 60
MOST_OF_SELECT, MOST_OF_INSERT, MOST_GROWTH, MOST_MEGABYTES = 4.0, 3.0, 1.3, 2_000
SCHEMA = [
    {"name": "id", "type": "INTEGER", "mode": "REQUIRED"},
    {"name": "tenant", "type": "STRING"},
    {"name": "cost", "type": "NUMERIC"},
    {"name": "at", "type": "TIMESTAMP"},
]
POINT = f"SELECT id, tenant, cost, at FROM `{PROJECT}.tenant_00005.t0` WHERE id = 77"
ROUND_TRIP, SELECT, INSERT = "get_dataset", "point SELECT", "insertAll of one row"
READ = "point SELECT, rows read"


class Server:
    """A server process and a client of it."""

    def __init__(self, state: Path | None) -> None:
        where = ["--ephemeral"] if state is None else ["--state", str(state)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "infra.local", "bigquery", "--port", "0", *where],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        self.url = f"http://{self.process.stdout.readline().split()[-1]}"
        self.client = bigquery.Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": self.url},
        )
        self.row = 0

    def fill(self, datasets: int) -> float:
        """Create datasets with their tables and some rows; the seconds it took."""
        began = time.monotonic()
        path = f"{self.url}/bigquery/v2/projects/{PROJECT}/datasets"
        with httpx.Client(timeout=60) as http, ThreadPoolExecutor(4) as pool:

            def create(number: int) -> None:
                name = f"tenant_{number:05}"
                body = {"datasetReference": {"datasetId": name}, "labels": {"tenant_id": name}}
                http.post(path, json=body).raise_for_status()
                for table in range(TABLES):
                    reference = {"tableReference": {"tableId": f"t{table}"}}
                    http.post(
                        f"{path}/{name}/tables", json={**reference, "schema": {"fields": SCHEMA}}
                    ).raise_for_status()

            list(pool.map(create, range(datasets)))
        self.client.insert_rows_json(f"{PROJECT}.tenant_00005.t0", [_row(n) for n in range(500)])
        return time.monotonic() - began

    def round_trip(self) -> None:
        self.client.get_dataset("tenant_00005")

    def select(self) -> None:
        assert self.client.query(POINT).result().total_rows == 1

    def read(self) -> None:
        assert len(list(self.client.query(POINT).result())) == 1

    def insert(self) -> None:
        self.row += 1
        assert not self.client.insert_rows_json(f"{PROJECT}.tenant_00005.t1", [_row(self.row)])

    def megabytes(self) -> float:
        """Resident memory of the process."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("the server has ended")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)


def _row(number: int) -> dict[str, object]:
    return {"id": number, "tenant": "acme", "cost": "1.25", "at": "2025-11-15T00:00:00Z"}


def _milliseconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def measure(servers: dict[str, Server]) -> dict[tuple[str, str], float]:
    """Median milliseconds by server and call."""
    calls = {
        (size, name): call
        for size, server in servers.items()
        for name, call in (
            (ROUND_TRIP, server.round_trip),
            (SELECT, server.select),
            (READ, server.read),
            (INSERT, server.insert),
        )
    }
    samples: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for number in range(WARM_UP + ROUNDS):
        for key, call in calls.items():
            taken = _milliseconds(call)
            if number >= WARM_UP:
                samples[key].append(taken)
    return {key: statistics.median(taken) for key, taken in samples.items()}


def report(medians: dict[tuple[str, str], float], megabytes: float) -> bool:
    """Print every figure with its limit; whether all hold."""
    trip = medians["few", ROUND_TRIP]
    lines = [
        (f"{SELECT} / {ROUND_TRIP}", medians["few", SELECT] / trip, MOST_OF_SELECT),
        (f"{INSERT} / {ROUND_TRIP}", medians["few", INSERT] / trip, MOST_OF_INSERT),
        *(
            (
                f"{name}, {MANY:,} datasets / {FEW}",
                medians["many", name] / medians["few", name],
                MOST_GROWTH,
            )
            for name in (SELECT, INSERT)
        ),
    ]
    print(f"{'':42}{'few':>9}{'many':>9}   median ms")
    for name in (ROUND_TRIP, SELECT, READ, INSERT):
        print(f"{name:42}{medians['few', name]:9.2f}{medians['many', name]:9.2f}")
    print()
    for name, ratio, limit in lines:
        print(f"{name:42}{ratio:9.2f}   limit {limit:g}{'' if ratio <= limit else '  OVER'}")
    over = "" if megabytes <= MOST_MEGABYTES else "  OVER"
    print(f"{READ} / {ROUND_TRIP:18}{medians['few', READ] / trip:9.2f}")
    label = f"memory with {MANY:,} datasets, MB"
    print(f"{label:42}{megabytes:9.0f}   limit {MOST_MEGABYTES:,}{over}")
    return not over and all(ratio <= limit for _, ratio, limit in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state", action="store_true", help="servers with files, not in memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        servers = {
            size: Server(Path(directory) / size if options.state else None)
            for size in ("few", "many")
        }
        try:
            servers["few"].fill(FEW)
            seconds = servers["many"].fill(MANY)
            print(f"{MANY:,} datasets of {TABLES} tables created in {seconds:.0f} s\n")
            medians = measure(servers)
            held = report(medians, servers["many"].megabytes())
        finally:
            for server in servers.values():
                server.stop()
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
