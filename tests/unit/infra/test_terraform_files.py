"""The Terraform files, read without Terraform: what they name is in the provider's schema, and the
topology's names stand in the topology only.

With Terraform on the machine, tests/component/infra/test_terraform.py plans the whole of it.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from infra import topology
from tests.terraform import hcl
from tests.terraform.hcl import TERRAFORM, Block

TOPOLOGY = topology.load()
SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "data" / "terraform" / "google.json").read_text(encoding="utf-8")
)
FILES = sorted(path.relative_to(TERRAFORM).as_posix() for path in TERRAFORM.rglob("*.tf"))
RESOURCES = [*hcl.blocks("resource"), *hcl.blocks("data")]


def _problems(place: str, body: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """Settings that the schema does not know, or that it wants and are not there."""
    attributes, nested = schema["attributes"], schema["blocks"]
    for name, value in body.items():
        if hcl.is_block(value):
            if name not in nested:
                yield f"{place}.{name}: there is no such block"
                continue
            if len(value) > nested[name].get("max_items", len(value)):
                yield f"{place}.{name}: at most {nested[name]['max_items']} of them"
            for inner in value:
                yield from _problems(f"{place}.{name}", hcl.settings(inner), nested[name]["block"])
        elif name not in attributes:
            yield f"{place}.{name}: there is no such attribute"
        elif not attributes[name].keys() & {"required", "optional"}:
            yield f"{place}.{name}: the cloud sets it"
    wanted = [name for name, attribute in attributes.items() if attribute.get("required")]
    wanted += [name for name, block in nested.items() if block.get("min_items")]
    for name in wanted:
        if name not in body:
            yield f"{place}.{name}: is required"


@pytest.mark.parametrize("block", RESOURCES, ids=lambda block: block.place)
def test_a_resource_sets_what_the_provider_knows_and_wants(block: Block) -> None:
    schema = SCHEMA[block.kind].get(block.labels[0])
    assert schema, f"record the schema of {block.labels[0]}: tests/terraform/record.py says how"
    assert list(_problems(block.labels[0], block.settings, schema)) == []


def test_the_check_finds_what_is_wrong() -> None:
    schema = SCHEMA["resource"]["google_pubsub_subscription"]
    body = {
        "name": '"x"',
        "topik": '"y"',
        "effective_labels": {},
        "retry_policy": [{"__is_block__": True}, {"__is_block__": True}],
        "push_config": [{"__is_block__": True, "endpoint": '"z"'}],
    }
    assert sorted(_problems("s", body, schema)) == [
        "s.effective_labels: the cloud sets it",
        "s.push_config.endpoint: there is no such attribute",
        "s.push_config.push_endpoint: is required",
        "s.retry_policy: at most 1 of them",
        "s.topic: is required",
        "s.topik: there is no such attribute",
    ]


def test_the_schema_is_of_the_version_that_is_asked_for() -> None:
    (terraform,) = hcl.blocks("terraform")
    (providers,) = terraform.body["required_providers"]
    constraint = hcl.text(providers["google"]["version"])
    major, minor = SCHEMA["version"].split(".")[:2]
    assert constraint == f"~> {major}.{minor}"
    assert [name for name in providers if not name.startswith("__")] == ["google"]


def test_every_section_of_the_topology_is_used() -> None:
    text = "".join((TERRAFORM / name).read_text(encoding="utf-8") for name in FILES)
    used = set(re.findall(r"local\.topology\.(\w+)", text))
    assert used == set(type(TOPOLOGY).model_fields) - {"local"}


@cache
def _names() -> frozenset[str]:
    """What only the topology may say. Words that mean something else here too are left out."""
    named: set[str] = {
        *(TOPOLOGY.functions | TOPOLOGY.subscriptions | TOPOLOGY.scheduler_jobs),
        *(TOPOLOGY.secrets | TOPOLOGY.service_accounts | TOPOLOGY.kms.keys),
        *(TOPOLOGY.custom_roles | TOPOLOGY.datasets | TOPOLOGY.log_metrics),
        *TOPOLOGY.topics,
        *(role for account in TOPOLOGY.service_accounts.values() for role in account.roles),
        *(route.path for route in TOPOLOGY.routes),
    }
    return frozenset(named)


@pytest.mark.parametrize("file", FILES)
def test_no_name_of_the_topology_is_written_twice(file: str) -> None:
    text = re.sub(r"#.*", "", (TERRAFORM / file).read_text(encoding="utf-8"))
    assert set(re.findall(r'"([^"$\n]+)"', text)) & _names() == set()


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_small_and_has_no_tabs(file: str) -> None:
    text = (TERRAFORM / file).read_text(encoding="utf-8")
    assert "\t" not in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert [line for line in text.splitlines() if line != line.rstrip()] == []
    assert text.count("\n") < 300


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
def test_files_are_in_terraforms_own_format() -> None:
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", "-recursive", str(TERRAFORM)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("kind", ["variable", "output"])
def test_variables_and_outputs_are_described(kind: str) -> None:
    found = hcl.blocks(kind)
    assert [
        b.place for b in found if not hcl.text(b.body.get("description", "")).endswith(".")
    ] == []
    assert [b.place for b in found if kind == "variable" and "type" not in b.body] == []


def test_data_cannot_be_destroyed_by_a_slip() -> None:
    kept = {
        "google_bigquery_dataset",
        "google_kms_crypto_key",
        "google_kms_key_ring",
        "google_secret_manager_secret",
    }
    guarded = {
        block.labels[0]
        for block in hcl.blocks("resource")
        if any(life.get("prevent_destroy") is True for life in block.body.get("lifecycle", ()))
    }
    assert guarded == kept


def test_roles_on_one_resource_leave_others_members_alone() -> None:
    """`_iam_policy` and `_iam_binding` remove whoever is not named here."""
    assert [t for t in hcl.types("resource") if t.endswith(("_iam_policy", "_iam_binding"))] == []


def test_no_secret_has_a_value_here() -> None:
    assert "google_secret_manager_secret_version" not in hcl.types("resource")
    assert "google_service_account_key" not in hcl.types("resource")


def test_every_alert_is_measured_and_every_measure_alerts() -> None:
    (conditions,) = (
        body["conditions"]
        for block in hcl.blocks("locals")
        for body in [block.body]
        if "conditions" in body
    )
    assert {name for name in conditions if not name.startswith("__")} == set(TOPOLOGY.alerts)


def test_the_dashboard_shows_metrics_that_exist() -> None:
    file = TERRAFORM / "modules" / "monitoring" / "dashboard.json"
    text = json.dumps(json.loads(file.read_text(encoding="utf-8")))
    counters = set(re.findall(r"logging\.googleapis\.com/user/convergence/(\w+)", text))
    assert counters
    assert counters <= set(TOPOLOGY.log_metrics)


@pytest.mark.parametrize("environment", ["dev", "stage", "prod"])
def test_each_environment_has_its_values_and_its_own_state(environment: str) -> None:
    folder = TERRAFORM / "environments" / environment
    declared = {
        block.labels[0] for block in hcl.blocks("variable") if block.file.parent == TERRAFORM
    }
    values = hcl.values(folder / "terraform.tfvars")
    assert values.keys() <= declared
    assert hcl.text(values["environment"]) == environment
    backend = hcl.values(folder / "backend.hcl")
    assert environment in hcl.text(backend["bucket"])
    listed = {v for f in TOPOLOGY.functions.values() for v in f.deployment_environment}
    listed |= {*TOPOLOGY.deployment_environment}
    assert {name.strip('"') for name in values["deployment_environment"]} <= listed


def test_the_example_sets_every_variable_that_has_no_default() -> None:
    required = {
        block.labels[0]
        for block in hcl.blocks("variable")
        if block.file.parent == TERRAFORM and "default" not in block.body
    }
    assert required <= hcl.values(TERRAFORM / "terraform.tfvars.example").keys()


def test_one_account_a_function() -> None:
    accounts = [function.service_account for function in TOPOLOGY.functions.values()]
    assert len(accounts) == len(set(accounts))
    others = {TOPOLOGY.push_service_account} | {
        job.service_account for job in TOPOLOGY.scheduler_jobs.values()
    }
    assert set(accounts) | others == set(TOPOLOGY.service_accounts)
    assert not set(accounts) & others


@pytest.mark.parametrize("name", sorted(TOPOLOGY.log_metrics))
def test_each_counter_counts_a_line_that_the_product_logs(name: str) -> None:
    metric = TOPOLOGY.log_metrics[name]
    source = "".join(
        path.read_text(encoding="utf-8")
        for path in sorted((TERRAFORM.parents[1] / "shared").rglob("*.py"))
    )
    calls = re.findall(rf'log\(\s*logging\.\w+,\s*"{re.escape(metric.message)}"(.*)', source)
    assert calls, f"nothing logs {metric.message!r}"
    for label in metric.labels:
        assert all(f"{label}=" in call for call in calls)
