"""`python -m infra.local.sample_data`: load the sample export into a BigQuery.

Speaks to the BigQuery that BIGQUERY_EMULATOR_HOST names, to Google's without it.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import date
from typing import TYPE_CHECKING, TypeAlias

from infra.local.sample_data.generate import Shape
from infra.local.sample_data.load import DATASET, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.cloud.bigquery import Client

OnPartition: TypeAlias = Callable[[date, int], None]


def main(arguments: list[str] | None = None) -> int:
    """Load, and say in one line what was done."""
    options = _parser().parse_args(arguments)
    try:
        shape = Shape(rows=options.rows, days=options.days, end=options.end)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    began = time.monotonic()
    shown = options.progress or sys.stderr.isatty()
    display: AbstractContextManager[OnPartition | None]
    display = _progress(shape) if shown else nullcontext()
    with display as on_partition:
        loaded = write(
            _client(options.project, options.location),
            options.dataset,
            shape=shape,
            detailed=options.detailed,
            force=options.force,
            on_partition=on_partition,
        )
    seconds = time.monotonic() - began
    done = f"loaded in {loaded.partitions} partitions, {seconds:.1f} s"
    print(f"{loaded.table}: {loaded.rows:,} rows {done if loaded.partitions else 'already there'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m infra.local.sample_data", description=__doc__)
    shape = Shape()
    parser.add_argument("--project", default=os.environ.get("GCP_PROJECT_ID", "convergence-local"))
    parser.add_argument("--location", default="US")
    parser.add_argument("--dataset", default=DATASET)
    parser.add_argument("--rows", type=int, default=shape.rows)
    parser.add_argument("--days", type=int, default=shape.days)
    parser.add_argument("--end", type=date.fromisoformat, default=shape.end, help="YYYY-MM-DD")
    parser.add_argument(
        "--detailed", action="store_true", help="the export that says what was used"
    )
    parser.add_argument("--force", action="store_true", help="load again what is there already")
    parser.add_argument("--progress", action="store_true", help="show it even without a terminal")
    return parser


def _client(project: str, location: str) -> "Client":
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    local = os.environ.get("BIGQUERY_EMULATOR_HOST")
    credentials = AnonymousCredentials() if local else None  # type: ignore[no-untyped-call]
    return bigquery.Client(project=project, location=location, credentials=credentials)


@contextmanager
def _progress(shape: Shape) -> "Iterator[OnPartition]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as progress:
        task = progress.add_task("billing export", total=shape.rows)
        yield lambda _, count: progress.advance(task, count)


if __name__ == "__main__":
    sys.exit(main())
