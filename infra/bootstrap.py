"""`python -m infra.bootstrap`: create or upgrade the central dataset `tenants`.

May be run again at any time: what is there is compared with `schemas/tenants/`, what is missing is
added. It prints its plan first. Additions only: other differences are an error that names the
columns, and nothing is changed. `--check` changes nothing and exits 1 if anything differs.

`--tenants` upgrades the datasets of all tenants to `schemas/tenant/` likewise; interrupted, it says
how to go on.
"""

import argparse
import os
import sys

from infra import tenant_tables, topology
from shared.errors import ConvergenceError
from shared.warehouse import tables
from shared.warehouse.drift import DriftError
from shared.warehouse.schemas import load_folder
from shared.warehouse.tables import Action, Change

DATASET = "tenants"
_DECLARED = topology.load().datasets[DATASET]  # Terraform makes the dataset from the same lines
LABELS = _DECLARED.labels
_DESCRIPTION = _DECLARED.description


def plan() -> list[Change]:
    """What `apply` would do: the dataset first, then its tables and views in creation order.

    Raises:
        DriftError: something differs in ways that are not additions.
        Retryable: BigQuery does not answer.
    """
    dataset = tables.plan_dataset(DATASET, labels=LABELS)
    return [dataset, *tables.plan(DATASET, load_folder(DATASET))]


def apply() -> list[Change]:
    """Create or complete the dataset; may be repeated, also after a failure half-way.

    Raises:
        DriftError: something differs in ways that are not additions.
        Retryable: BigQuery does not answer.
    """
    dataset = tables.ensure_dataset(DATASET, labels=LABELS, description=_DESCRIPTION)
    return [dataset, *tables.ensure(DATASET, load_folder(DATASET))]


def main(arguments: list[str] | None = None) -> int:
    """Plan, print, and unless `--check` is given, apply."""
    options = _parser().parse_args(arguments)
    for name, value in (
        ("GCP_PROJECT_ID", options.project),
        ("BIGQUERY_LOCATION", options.location),
    ):
        if value:
            os.environ[name] = value
    try:
        if options.tenants:
            return tenant_tables.run(after=options.after, check=options.check)
        changes = plan()
        _print(changes)
        if options.check:
            return 1 if _open(changes) else 0
        if _open(changes):
            done = _open(apply())
            print(f"{len(done)} of {len(changes)} done.")
        else:
            print("Nothing to do.")
    except DriftError as error:
        for problem in error.problems:
            sys.stderr.write(f"drift: {problem}\n")
        sys.stderr.write("Nothing was changed: only nullable columns are added by themselves.\n")
        return 1
    except ConvergenceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _open(changes: list[Change]) -> list[Change]:
    return [change for change in changes if change.action is not Action.UNCHANGED]


def _print(changes: list[Change]) -> None:
    for change in changes:
        details = f": {', '.join(change.details)}" if change.details else ""
        print(f"  {change.action:<12} {change.name}{details}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m infra.bootstrap", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 on differences")
    parser.add_argument("--tenants", action="store_true", help="the datasets of all tenants")
    parser.add_argument("--after", default="", help="with --tenants: only IDs behind this one")
    parser.add_argument("--project", help="instead of GCP_PROJECT_ID")
    parser.add_argument("--location", help="instead of BIGQUERY_LOCATION (US)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
