"""Thousands of requests made from the API's own description, good and bad, by schemathesis."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from infra.local import running
from tests.credential_samples import aws_role
from tests.system.world import ADMIN_KEY

# A stack of its own: it suspends and offboards whom it meets. A group of its own: it takes a minute
# that the other worker spends on the shared stack.
pytestmark = pytest.mark.xdist_group("fuzz")

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
"""All but those that do not fit.

`positive_data_acceptance`: a well-formed body may be wrong by what only the server knows, such as
the names of templates and time zones. `negative_data_rejection`: counts headers that we ignore
where they are unfit (`X-Request-ID`, `traceparent`). `missing_required_header`: none is required
but the keys, and `ignored_auth` leaves those out. `use_after_free`, `ensure_resource_availability`
and `object_level_authorization`: follow links between operations, which the document does not have;
tests/system/test_control_plane.py does what they would.
"""
CASES = 2_000
EXAMPLES_AN_OPERATION = 5
_SECONDS = 900
"""For the slowest machine; on an idle one it takes less than a minute."""
TENANT = "acme_corp"
"""The tenant of the document's examples."""
LUCKY = {
    "POST /api/v1/customers/onboard",
    "POST /api/v1/pipelines/runs/{run_id}/cancel",
    "POST /api/v1/tenants/onboard",
    "PUT /api/v1/tenants/{tenant_id}/credentials/{credential_id}",
}
"""Operations that succeed only with a name that is free, or at the right moment."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A stack without rate limits, which would answer nearly everything."""
    content = yaml.safe_load(Path("infra/topology.yaml").read_text(encoding="utf-8"))
    limits = ("RATE_LIMIT_RUNS", "RATE_LIMIT_ENDPOINT", "RATE_LIMIT_GLOBAL")
    content["functions"]["api"]["local"]["environment"] |= dict.fromkeys(limits, "off")
    topology = tmp_path_factory.mktemp("topology") / "topology.yaml"
    topology.write_text(yaml.safe_dump(content), encoding="utf-8")
    with running.running(topology=topology) as stack:
        yield stack.urls["gateway"]


def test_every_answer_is_a_documented_one(gateway: str, tmp_path: Path) -> None:
    with httpx.Client(base_url=gateway, timeout=60) as http:
        document = http.get("/openapi.json").json()
        key = onboard(http, TENANT, subscription_plan="SCALE")
        existing = what_exists(http, {"X-API-Key": key})
        states = [f"fuzz_{number}" for number in range(3)]
        for tenant_id in states:
            onboard(http, tenant_id)
    operators, tenants = divided(document)

    # The operator comes second: of what he does some ends the tenant.
    by_tenant = fuzz(gateway, tmp_path / "tenant", tenants, {"X-API-Key": key}, existing)
    by_operator = fuzz(
        gateway,
        tmp_path / "operator",
        operators,
        {"X-Admin-Key": ADMIN_KEY},
        {"path.tenant_id": states, "query.confirm": states},
    )

    assert by_tenant.tested == len(tenants)
    assert by_operator.tested == len(operators)
    assert by_tenant.cases + by_operator.cases >= CASES
    # It got behind the doors: of every operation some request was a good one.
    successful = by_tenant.successful | by_operator.successful
    assert {*operators, *tenants} - successful <= LUCKY


def test_a_path_that_the_framework_does_not_route_is_answered_by_the_api(gateway: str) -> None:
    """functions-framework's own pattern ends at a newline; its answer would be a page."""
    answers = [
        httpx.get(f"{gateway}/api/v1/pipelines/runs/a%0Ab"),
        httpx.post(f"{gateway}/api/v1/tenants/a%0Ab/suspend"),
        httpx.get(f"{gateway}/api/v1/nothing"),
    ]
    for answer in answers:
        assert answer.headers["Content-Type"] == "application/problem+json", answer.text
        assert answer.headers["X-Request-ID"]
    assert [answer.status_code for answer in answers] == [401, 401, 404]


def divided(document: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The operations that only the operator may ask for, and those of tenants."""
    operators, tenants = [], []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            opened_by = {name for option in operation["security"] for name in option}
            is_operators = "AdminKey" in opened_by and "ApiKey" not in opened_by
            (operators if is_operators else tenants).append(f"{method.upper()} {path}")
    return operators, tenants


def onboard(http: httpx.Client, tenant_id: str, **body: str) -> str:
    answer = http.post("/api/v1/tenants/onboard", json={"tenant_id": tenant_id, **body})
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["api_key"]
    return key


def what_exists(http: httpx.Client, headers: Mapping[str, str]) -> dict[str, list[str]]:
    """Path parameters with which something is found."""

    def made(path: str, name: str, *bodies: Any) -> list[str]:
        answers = [http.post(path, json=body, headers=headers) for body in bodies]
        assert all(answer.is_success for answer in answers), [a.text for a in answers]
        return [answer.json()[name] for answer in answers]

    tenant = f"/api/v1/tenants/{TENANT}"
    schedule = {"pipeline_config": "gcp/cost/dryrun", "schedule": "0 2 * * *"}
    credential = {"provider": "AWS", "credentials": aws_role(TENANT)}
    credentials = [{**credential, "name": name} for name in "abc"]
    run = f"/api/v1/pipelines/run/{TENANT}/gcp/cost/dryrun"
    found = {
        "tenant_id": [TENANT],
        "provider": ["gcp"],
        "domain": ["cost"],
        "template": ["dryrun"],
        "run_id": made(run, "pipeline_logging_id", {}, {}, {}),
        "key_id": made(f"{tenant}/api-keys", "api_key_id", *[{"name": "spare"}] * 3),
        "credential_id": made(f"{tenant}/credentials", "credential_id", *credentials),
        "request_id": made(f"{tenant}/credentials/queue", "request_id", credential),
        "config_id": made("/api/v1/scheduler/configs", "config_id", *[schedule] * 3),
    }
    return {f"path.{name}": values for name, values in found.items()}


@dataclass(frozen=True)
class Report:
    """What schemathesis did."""

    tested: int
    cases: int
    successful: set[str]


def fuzz(
    gateway: str,
    directory: Path,
    operations: Sequence[str],
    headers: Mapping[str, str],
    existing: Mapping[str, Sequence[str]],
) -> Report:
    """Let schemathesis try `operations`; most parameters have a value of something that exists."""
    directory.mkdir()
    configuration = directory / "schemathesis.toml"
    configuration.write_text(_configuration(headers, existing), encoding="utf-8")
    report, events = directory / "report.json", directory / "events.ndjson"
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("st")),
            *("--config-file", str(configuration), "run", f"{gateway}/openapi.json"),
            *(word for name in operations for word in ("--include-name", name)),
            *("--checks", ",".join(CHECKS)),
            *("--phases", "examples,coverage,fuzzing"),
            *("--max-examples", str(EXAMPLES_AN_OPERATION)),
            "--generation-deterministic",
            *("--request-timeout", "120"),  # ten seconds are too few on a busy machine
            *("--report", "json,ndjson", "--report-json-path", str(report)),
            *("--report-ndjson-path", str(events)),
            "--no-color",
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    content = json.loads(report.read_text(encoding="utf-8"))
    assert (content["failures"], content["errors"]) == ([], [])
    return Report(
        content["operations"]["tested"], content["test_cases"]["generated"], _successful(events)
    )


def _configuration(headers: Mapping[str, str], existing: Mapping[str, Sequence[str]]) -> str:
    lines = [f"headers = {_table(headers)}"]
    lines += ["[generation]", "with-security-parameters = false"]  # the keys are in `headers`
    for name, values in existing.items():
        lines += [f"[dictionaries.{json.dumps(name)}]", f"values = {json.dumps(values)}"]
    lines += ["[parameters]"]
    lines += [f'"{name}" = {_table({"dictionary": name, "probability": 0.8})}' for name in existing]
    return "\n".join(lines) + "\n"


def _table(content: Mapping[str, Any]) -> str:
    """An inline table of TOML."""
    return f"{{{', '.join(f'{name} = {json.dumps(value)}' for name, value in content.items())}}}"


def _successful(events: Path) -> set[str]:
    """Operations that answered some request with success."""
    found = set()
    for line in events.read_text(encoding="utf-8").splitlines():
        scenario = json.loads(line).get("ScenarioFinished")
        if scenario is None:
            continue
        recorder = scenario["recorder"]
        for interaction in recorder.get("interactions", {}).values():
            request, response = interaction["request"], interaction.get("response")
            asked = recorder["label"].startswith(f"{request['method']} ")  # not another method
            if asked and response and response["status_code"] < 300:
                found.add(recorder["label"])
    return found
