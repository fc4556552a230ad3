"""What a cold start may not load: structure, not seconds. Seconds are in benchmarks/."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra import topology

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = (
    "boto3",
    "botocore",
    "cryptography",
    "google.cloud.bigquery",
    "google.cloud.kms_v1",
    "google.cloud.pubsub_v1",
    "google.cloud.secretmanager_v1",
    "grpc",
    "pyarrow",
    "requests",
    "yaml",
)
ENTRY_POINTS = (
    "functions.api.main",
    "functions.credential_worker.main",
    "functions.dead_letter.main",
    "functions.dispatcher.main",
    "functions.scheduler.main",
    "functions.step_executor.main",
)
TOPOLOGY = topology.load()
MINIMAL = {"PATH": os.environ["PATH"], "SMTP_HOST": "smtp.example.com"}
for _name in TOPOLOGY.functions:
    MINIMAL |= TOPOLOGY.function_environment(_name, "convergence-unit")


def loaded_by(statement: str) -> set[str]:
    """Top of the modules that are there after `statement` in a fresh process."""
    script = f"{statement}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=MINIMAL,
    )
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stdout))


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_start_loads_no_client_of_google_and_nothing_else_that_is_heavy(entry_point: str) -> None:
    framework = loaded_by("import functions_framework")

    loaded = loaded_by(f"import {entry_point}") - framework

    assert sorted(loaded.intersection(FORBIDDEN)) == []


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_start_loads_no_processor(entry_point: str) -> None:
    loaded = loaded_by(f"import {entry_point}")
    families = (
        "shared.processors.aws.",
        "shared.processors.azure.",
        "shared.processors.gcp.",
        "shared.processors.shared.",
        "shared.processors.customer.",
    )

    assert [name for name in sorted(loaded) if name.startswith(families)] == []


def test_missing_variable_ends_the_start_with_its_name() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "import functions.api.main"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
    )

    assert ran.returncode != 0
    assert "GCP_PROJECT_ID is not set." in ran.stderr.splitlines()[-1]
