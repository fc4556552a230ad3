import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local.gateway.routing import RoutingTable
from infra.topology import DEFAULT_PATH, TopologyError, load

CONTENT: dict[str, Any] = yaml.safe_load(DEFAULT_PATH.read_text(encoding="utf-8"))


def problems_of(tmp_path: Path, content: Any) -> list[str]:
    file = tmp_path / "topology.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(TopologyError) as refused:
        load(file)
    return [line.removeprefix(f"{file}: ") for line in str(refused.value).splitlines()]


def changed(**parts: Any) -> dict[str, Any]:
    """The topology with other values at dotted paths, dots written as `__`."""
    content = copy.deepcopy(CONTENT)
    for path, value in parts.items():
        *parents, last = path.replace("_dash_", "-").split("__")
        place = content
        for parent in parents:
            place = place[parent]
        place[last] = value
    return content


def test_the_topology_of_the_product_is_valid() -> None:
    topology = load()
    assert set(topology.functions) >= {"api", "step-gcp", "step-customer", "step-shared"}
    for name, subscription in topology.subscriptions.items():
        assert subscription.ack_deadline_seconds == 600
        if name != "dead-letter":
            assert subscription.dead_letter_topic == "dead-letter"
            assert subscription.max_delivery_attempts == 20


def test_every_step_family_reads_its_topic_with_one_source() -> None:
    topology = load()
    executors = {n: f for n, f in topology.functions.items() if n.startswith("step-")}
    assert {f.source for f in executors.values()} == {"functions.step_executor.main"}
    for name, function in executors.items():
        assert function.environment["STEP_FAMILY"] == name.removeprefix("step-")
        assert topology.subscriptions[name].function == name
        assert topology.subscriptions[name].topic == name


def test_only_the_shared_executor_reads_the_mail_password() -> None:
    readers = [n for n, f in load().functions.items() if "smtp-password" in f.secrets.values()]
    assert readers == ["step-shared"]


def test_a_function_is_given_resource_names() -> None:
    environment = load().function_environment("api", "my-project")
    assert environment["GCP_PROJECT_ID"] == "my-project"
    assert environment["KMS_KEY_NAME"] == (
        "projects/my-project/locations/us/keyRings/convergence/cryptoKeys/tenant-secrets"
    )
    assert environment["ADMIN_API_KEY_SECRET"] == (
        "projects/my-project/secrets/admin-api-key/versions/latest"
    )
    assert environment["STEP_TOPIC_PREFIX"] == "step-"


def test_local_values_stay_out_of_the_deployed_environment() -> None:
    assert "OPEN_ONBOARDING" not in load().function_environment("api", "p")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            changed(functions__api__service_account="nobody"),
            "functions.api.service_account: no service account is called 'nobody'",
        ),
        (
            changed(functions__api__secrets={"X": "none"}),
            "functions.api.secrets.X: no secret is called 'none'",
        ),
        (
            changed(functions__api__keys={"X": "none"}),
            "functions.api.keys.X: no key is called 'none'; there are: tenant-secrets",
        ),
        (
            changed(functions__api__service_accounts={"X": "nobody"}),
            "functions.api.service_accounts.X: no service account is called 'nobody'",
        ),
        (
            changed(scheduler_jobs__trigger__service_account="nobody"),
            "scheduler_jobs.trigger.service_account: no service account is called 'nobody'",
        ),
        (
            changed(scheduler_jobs__trigger__schedule="hourly"),
            "scheduler_jobs.trigger.schedule: String should match pattern",
        ),
        (
            changed(functions__api__publishes=["step-mars"]),
            "functions.api.publishes: no topic is called 'step-mars'",
        ),
        (
            changed(subscriptions__step_dash_gcp__topic="none"),
            "subscriptions.step-gcp.topic: no topic is called 'none'; there are: credential-",
        ),
        (
            changed(subscriptions__step_dash_gcp__function="none"),
            "subscriptions.step-gcp.function: no function is called 'none'",
        ),
        (
            changed(subscriptions__step_dash_gcp__dead_letter_topic="none"),
            "subscriptions.step-gcp.dead_letter_topic: no topic is called 'none'",
        ),
        (
            changed(push_service_account="none"),
            "push_service_account: no service account is called 'none'",
        ),
        (
            changed(routes=[{"path": "/x", "function": "none"}]),
            "routes: /x: no function is called 'none'",
        ),
        (
            changed(routes=[{"path": "/x", "function": "api"}, {"path": "/x", "function": "api"}]),
            "routes: * /x is routed twice",
        ),
        (
            changed(functions__api__local={"port": 8092}),
            "functions: local port 8092 is used twice",
        ),
        (
            changed(functions__api__memroy="1Gi"),
            "functions.api.memroy: this key is not known here; remove it or correct its spelling",
        ),
        (
            changed(subscriptions__step_dash_gcp__ack_deadline_seconds=601),
            "subscriptions.step-gcp.ack_deadline_seconds: Input should be less than or equal to",
        ),
        (
            changed(functions__api__environment={"KMS_KEY_NAME": "x"}),
            "functions.api: variable KMS_KEY_NAME is given twice: keep one of them",
        ),
        (
            changed(functions__api__key_use=[]),
            "functions.api: keys and key_use belong together: say what the keys are used for",
        ),
        (
            changed(service_accounts__http_dash_api__roles=["bigquery_everything"]),
            "service_accounts.http-api.roles: no custom role is called 'bigquery_everything'",
        ),
        (
            changed(service_accounts__http_dash_api__datasets={"tenant": ["bigquery_data"]}),
            "service_accounts.http-api.datasets: no dataset is called 'tenant'; there are: tenants",
        ),
        (
            changed(kms__keys__tenant_dash_secrets__rotation_days=365),
            "kms.keys.tenant-secrets.rotation_days: Input should be less than or equal to 90",
        ),
        (
            changed(functions__api__min_instances=30),
            "functions.api: min_instances 30 is above max_instances 20",
        ),
        (
            changed(secrets__smtp_dash_password__local={}),
            "secrets.smtp-password.local: give one of value and random_bytes",
        ),
        (
            changed(subscriptions__dead_dash_letter__max_delivery_attempts=5),
            "subscriptions.dead-letter: max_delivery_attempts needs a dead_letter_topic",
        ),
    ],
)
def test_each_problem_names_its_place_and_fix(
    tmp_path: Path, content: dict[str, Any], problem: str
) -> None:
    assert any(line.startswith(problem) for line in problems_of(tmp_path, content))


def test_all_dangling_names_are_told_at_once(tmp_path: Path) -> None:
    content = changed(
        push_service_account="none",
        functions__api__publishes=["a", "b"],
        routes=[{"path": "/x", "function": "none"}],
    )
    assert len(problems_of(tmp_path, content)) == 4


@pytest.mark.parametrize("path", ["x", "/x/", "/x/**/y", "/x*", "/{tenant}", "/x?y"])
def test_malformed_route_paths_are_refused(tmp_path: Path, path: str) -> None:
    content = changed(routes=[{"path": path, "function": "api"}])
    assert problems_of(tmp_path, content)[0].startswith("routes.0.path: ")


def test_bad_yaml_and_a_missing_file_are_one_line(tmp_path: Path) -> None:
    assert len(problems_of(tmp_path, "functions: [")) == 1
    with pytest.raises(TopologyError, match="No such file"):
        load(tmp_path / "none.yaml")


def test_jobs_call_what_their_function_answers_with_the_token_that_it_expects() -> None:
    product = load()
    routes = RoutingTable(product.routes)
    for job in product.scheduler_jobs.values():
        match = routes.match(job.method, job.path)
        assert match
        assert match.function == job.function
        given = product.function_environment(job.function, "some-project")
        assert given["SCHEDULER_AUDIENCE"] == job.audience
        email = product.email(job.service_account, "some-project")
        assert given["SCHEDULER_SERVICE_ACCOUNT"] == email


def test_schedules_of_tenants_stay_with_the_api() -> None:
    routes = RoutingTable(load().routes)
    for path in ("configs", "customer/acme/pipelines", "customer/acme/pipelines/1/runs"):
        match = routes.match("GET", f"/api/v1/scheduler/{path}")
        assert match
        assert match.function == "api"
