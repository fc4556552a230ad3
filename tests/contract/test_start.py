"""No function starts with a variable of its topology missing or malformed; it says which."""

import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import bundle, topology
from shared.processors import registry
from shared.settings import settings
from shared.telemetry import logger

ROOT = Path(__file__).resolve().parents[2]
TOPOLOGY = topology.load()
PROJECT = "convergence-unit"
DEFAULTED = {"BIGQUERY_LOCATION", "LOG_LEVEL", "STEP_TOPIC_PREFIX"}
"""Given by the topology, and the same as what holds without."""
OPTIONAL = {
    *("CORS_ORIGINS", "OIDC_CERTS_URL", "OPEN_ONBOARDING", "OPERATOR_EMAIL"),
    *("RATE_LIMIT_ENDPOINT", "RATE_LIMIT_GLOBAL", "RATE_LIMIT_RUNS", "RATE_LIMIT_STORAGE"),
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_METRICS_EXPORTER", "OTEL_TRACES_EXPORTER"),
    *("SMTP_FROM", "SMTP_PORT", "SMTP_STARTTLS", "SMTP_USERNAME"),
}
"""Of a deployment, which may do without."""
MALFORMED = "two words\nand: a line"
"""No variable takes it: each is a name, an address, a number, a list or a yes or no."""


def given(name: str) -> dict[str, str]:
    """What a function's environment holds, with the variables of a deployment that it needs."""
    deployed = {"SMTP_HOST": "smtp.example.com"} if name == "step-shared" else {}
    return {**TOPOLOGY.function_environment(name, PROJECT), **deployed}


def variables(name: str) -> list[str]:
    function = TOPOLOGY.functions[name]
    deployed = (*TOPOLOGY.deployment_environment, *function.deployment_environment)
    return sorted({*given(name), *deployed})


EVERY = [(name, variable) for name in TOPOLOGY.functions for variable in variables(name)]
NEEDED = [(n, v) for n, v in EVERY if v not in DEFAULTED | OPTIONAL]


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    yield
    settings.cache_clear()
    logger.handlers.clear()
    logger.propagate = True


def start(
    name: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Run the function's module as a new process would; what it defines."""
    for variable in {*os.environ} - {"PATH", "HOME"}:
        monkeypatch.delenv(variable)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    settings.cache_clear()
    return runpy.run_path(str(ROOT / f"{TOPOLOGY.functions[name].source.replace('.', '/')}.py"))


@pytest.mark.parametrize("name", sorted(TOPOLOGY.functions))
def test_what_the_topology_gives_is_enough(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start(name, given(name), monkeypatch)


@pytest.mark.parametrize(("name", "variable"), NEEDED)
def test_a_missing_variable_is_one_line_that_names_it(
    name: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = given(name)
    environment.pop(variable)

    with pytest.raises(SystemExit) as ended:
        start(name, environment, monkeypatch)

    text = str(ended.value)
    assert text.startswith(f"not started: {variable} is not set. ")
    assert len(text.splitlines()) == 1
    assert text.count("_") == variable.count("_"), "names another variable too"


@pytest.mark.parametrize(("name", "variable"), EVERY)
def test_a_malformed_variable_is_one_line_that_names_it_and_says_what_to_write(
    name: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as ended:
        start(name, {**given(name), variable: MALFORMED}, monkeypatch)

    text = str(ended.value)
    assert text.startswith(f"not started: {variable} is ")
    assert ": write " in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("name", sorted(TOPOLOGY.functions))
def test_authentication_cannot_be_switched_off_on_cloud_run(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**given(name), "DISABLE_AUTH": "true", "K_SERVICE": name}

    with pytest.raises(SystemExit, match=r"^not started: DISABLE_AUTH is refused on Cloud Run"):
        start(name, environment, monkeypatch)


def test_all_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**given("api"), "KMS_KEY_NAME": "tenant-secrets", "RATE_LIMIT_RUNS": "many"}
    environment.pop("ADMIN_API_KEY_SECRET")

    with pytest.raises(SystemExit) as ended:
        start("api", environment, monkeypatch)

    for variable in ("KMS_KEY_NAME", "RATE_LIMIT_RUNS", "ADMIN_API_KEY_SECRET"):
        assert variable in str(ended.value)


@pytest.mark.parametrize(
    ("variable", "secret"),
    [
        ("ADMIN_API_KEY_SECRET", "s3cret-itself"),
        ("API_KEY_CHECKSUM_SECRET", "s3cret-itself"),
        ("RATE_LIMIT_STORAGE", "redis:/:s3cret-itself@10.0.0.3:6379/0"),
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(
    variable: str, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as ended:
        start("api", {**given("api"), variable: secret}, monkeypatch)

    assert "s3cret" not in str(ended.value)
    assert variable in str(ended.value)


def test_an_executor_of_no_family_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"STEP_FAMILY is 'gpc': write one of aws, azure"):
        start("step-gcp", {**given("step-gcp"), "STEP_FAMILY": "gpc"}, monkeypatch)


def test_every_family_that_is_deployed_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    main = start("step-gcp", given("step-gcp"), monkeypatch)

    assert set(main["NEEDED"]) == set(registry.DEPLOYED)


@pytest.mark.parametrize("name", ["api", "step-shared", "dispatcher"])
def test_a_process_ends_before_it_listens(name: str, tmp_path: Path) -> None:
    """One of each kind (HTTP, steps, messages), as Cloud Run starts it."""
    function = TOPOLOGY.functions[name]
    folder = bundle.extract(bundle.build(name, TOPOLOGY, tmp_path), tmp_path)
    missing = "GCP_PROJECT_ID" if name == "dispatcher" else min(function.secrets)
    environment = given(name)
    environment.pop(missing)
    ran = subprocess.run(
        [
            str(Path(sys.executable).with_name("functions-framework")),
            *("--target", function.entry_point, "--signature-type", "http", "--port", "0"),
        ],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ran.returncode != 0
    (line,) = (ran.stdout + ran.stderr).splitlines()
    assert line.startswith(f"not started: {missing} is not set. ")
