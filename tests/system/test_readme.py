"""The API section of the README, run as it stands."""

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.world import PROJECT, World

_SHIM = """#!/bin/bash
exec {curl} --write-out '%{{stderr}}%{{http_code}}\\n' "$@" 2>>"{statuses}"
"""
_SECONDS = 120
"""For one paragraph, on the slowest machine."""


def paragraphs() -> list[str]:
    """The parts of the section's code that stand between blank lines."""
    section = Path("README.md").read_text(encoding="utf-8").partition("\n## The API\n")[2]
    found = re.search(r"^```bash\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert found, "the README has no section `The API` with shell code"
    return found[1].strip().split("\n\n")


def expected(paragraph: str) -> list[str]:
    """The statuses that its commands are held to."""
    return re.findall(r"# (\d{3})$", paragraph, re.MULTILINE)


class Shell:
    """A bash that is given one paragraph after the other, as a reader would."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self._statuses = directory / "statuses"
        self._statuses.touch()
        curl = directory / "curl"
        curl.write_text(_SHIM.format(curl=shutil.which("curl"), statuses=self._statuses))
        curl.chmod(0o755)
        self._process = subprocess.Popen(
            ["bash", "-eu", "-o", "pipefail"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment, "PATH": f"{directory}:{os.environ['PATH']}"},
        )

    def run(self, paragraph: str) -> list[str]:
        """The statuses of its requests; of equal ones in a row, as a loop gets, one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = len(self._statuses.read_text().split())
        self._process.stdin.write(f"{paragraph}\necho; echo END-OF-PARAGRAPH\n")
        self._process.stdin.flush()
        watchdog = threading.Timer(_SECONDS, self._process.kill)
        watchdog.start()
        output = []
        for line in self._process.stdout:
            if line.strip() == "END-OF-PARAGRAPH":
                break
            output.append(line)
        else:
            raise AssertionError(f"{paragraph}\n\nended the shell:\n{''.join(output)}")
        watchdog.cancel()
        return self._statuses.read_text().split()[before:]

    def close(self) -> None:
        """End the shell."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def shell(world: World, tmp_path: Path) -> Iterator[Shell]:
    opened = Shell(
        tmp_path,
        {"CONVERGENCE_URL": world.stack.urls["gateway"], "TENANT_ID": "readme_corp"},
    )
    yield opened
    opened.close()


@contextmanager
def held(world: World, *, hold: bool) -> Iterator[None]:
    """Let no step of Google Cloud begin meanwhile: a run is then surely not over when cancelled."""
    if not hold:
        yield
        return
    group = world.stack.function_processes()["step-gcp"]
    os.killpg(group, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(group, signal.SIGCONT)


def test_every_command_is_answered_as_the_readme_says(world: World, shell: Shell) -> None:
    for paragraph in paragraphs():
        with held(world, hold="/cancel" in paragraph):
            statuses = shell.run(paragraph)
        assert _without_repetitions(statuses) == _without_repetitions(expected(paragraph)), (
            paragraph
        )

    # And it was the whole life: the tenant is gone, its mails came, what happened is on record.
    datasets = {dataset.dataset_id for dataset in world.bigquery.list_datasets(PROJECT)}
    assert not {name for name in datasets if name.startswith("readme_corp")}
    subjects = " ".join(mail["subject"] for mail in world.mails("admin@acmecorp.com"))
    assert "Welcome to Convergence - tenant readme_corp" in subjects
    assert "Cost billing failed - readme_corp - 2025-11-13" in subjects
    actions = world.query(
        "SELECT DISTINCT action FROM tenants.audit_log"
        " WHERE tenant_id = 'readme_corp' AND outcome = 'ALLOWED'"
    )
    assert {row.action for row in actions} == {
        "tenant.onboard",
        "credential.create",
        "credential.queue",
        "schedule.create",
        "pipeline.run",
        "pipeline.cancel",
        "pipeline.retry",
        "api_key.rotate",
        "tenant.update",
        "tenant.suspend",
        "tenant.resume",
        "tenant.offboard",
    }


def _without_repetitions(statuses: list[str]) -> list[str]:
    before = ["", *statuses]
    return [one for one, previous in zip(statuses, before, strict=False) if one != previous]
