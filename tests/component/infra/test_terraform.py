"""The Terraform configuration, planned by Terraform itself, is the topology: no less, no more.

Terraform evaluates it against the schema of the Google provider's version that `versions.tf` asks
for. Without `terraform` on the machine, tests/unit/infra/test_terraform_files.py is what holds.
"""

import shutil
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from infra import topology
from infra.local.gateway.routing import RoutingTable
from infra.topology import DEFAULT_PATH, Function
from tests.terraform import workspace
from tests.terraform.workspace import HASH, TerraformError, Workspace

pytestmark = pytest.mark.skipif(
    shutil.which("terraform") is None,
    reason="terraform is not installed; tests/unit/infra/test_terraform_files.py reads the files",
)

TOPOLOGY = topology.load()
PROJECT = "example-convergence-dev"
AGENT = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
Values = dict[str, Any]


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return workspace.make(tmp_path_factory.mktemp("terraform"), DEFAULT_PATH, TOPOLOGY)


@pytest.fixture(scope="module")
def plan(terraform: Workspace) -> dict[str, Values]:
    """What would be made in dev, with the names that the cloud will give."""
    return terraform.plan(resolved=True)


def of(plan: dict[str, Values], kind: str, module: str = "") -> list[Values]:
    """The planned resources of a type, of one module."""
    return [
        values
        for address, values in plan.items()
        if address.split("[")[0].startswith(f"module.{module}" if module else "")
        and f".{kind}." in f".{address}"
    ]


def by(resources: Iterable[Values], *keys: str) -> Counter[Any]:
    """How often each combination of values comes."""
    return Counter(tuple(r[k] for k in keys) if len(keys) > 1 else r[keys[0]] for r in resources)


def member(account: str) -> str:
    return f"serviceAccount:{TOPOLOGY.email(account, PROJECT)}"


def custom(role: str) -> str:
    return role if role.startswith("roles/") else f"projects/{PROJECT}/roles/convergence_{role}"


def test_the_configuration_is_valid(terraform: Workspace) -> None:
    assert "Success" in terraform.run("validate", "-no-color")


@pytest.fixture(scope="module")
def first_plans(terraform: Workspace) -> dict[str, dict[str, Values]]:
    """What would be made of each environment before anything of it is there."""
    return {environment: terraform.plan(environment) for environment in ("dev", "stage", "prod")}


def test_each_environment_is_a_project_of_its_own(
    first_plans: dict[str, dict[str, Values]],
) -> None:
    for environment, planned in first_plans.items():
        projects = {values["project"] for values in planned.values() if values.get("project")}
        assert projects == {f"example-convergence-{environment}"}


@pytest.mark.parametrize("name", sorted(TOPOLOGY.functions))
def test_each_function_is_as_the_topology_says(plan: dict[str, Values], name: str) -> None:
    function: Function = TOPOLOGY.functions[name]
    (made,) = (f for f in of(plan, "google_cloudfunctions2_function") if f["name"] == name)
    (build,), (service,) = made["build_config"], made["service_config"]
    assert made["description"] == function.description
    assert (build["entry_point"], build["runtime"]) == (function.entry_point, TOPOLOGY.runtime)
    source = build["source"][0]["storage_source"][0]
    assert source["object"] == f"{function.folder}-{HASH}.zip"
    assert service["available_cpu"] == function.cpu
    assert service["available_memory"] == function.memory
    assert service["timeout_seconds"] == function.timeout_seconds
    assert service["max_instance_request_concurrency"] == function.concurrency
    assert service["max_instance_count"] == min(function.max_instances, 5)
    assert service["min_instance_count"] == 0
    assert service["service_account_email"] == TOPOLOGY.email(function.service_account, PROJECT)
    routed = name in {route.function for route in TOPOLOGY.routes}
    assert service["ingress_settings"] == f"ALLOW_INTERNAL_{'AND_GCLB' if routed else 'ONLY'}"


@pytest.mark.parametrize("name", sorted(TOPOLOGY.functions))
def test_each_function_gets_the_environment_that_it_gets_on_a_laptop(
    plan: dict[str, Values], name: str
) -> None:
    function = TOPOLOGY.functions[name]
    (made,) = (f for f in of(plan, "google_cloudfunctions2_function") if f["name"] == name)
    environment = made["service_config"][0]["environment_variables"]
    expected = TOPOLOGY.function_environment(name, PROJECT)
    assert environment.pop("THREADS") == str(function.concurrency)
    deployed = {key: environment.pop(key) for key in environment.keys() - expected.keys()}
    assert environment == expected
    everybodys = TOPOLOGY.deployment_environment
    assert deployed.keys() <= {*everybodys, *function.deployment_environment}


def test_prod_keeps_instances_warm_and_lets_traffic_be_shifted(
    first_plans: dict[str, dict[str, Values]],
) -> None:
    for made in of(first_plans["prod"], "google_cloudfunctions2_function"):
        (service,) = made["service_config"]
        function = TOPOLOGY.functions[made["name"]]
        assert service["min_instance_count"] == function.min_instances
        assert service["max_instance_count"] == function.max_instances
        assert service["all_traffic_on_latest_revision"] is False


def test_accounts_and_their_roles(plan: dict[str, Values]) -> None:
    accounts = of(plan, "google_service_account", "service_accounts")
    assert by(accounts, "account_id", "description") == Counter(
        (name, account.description) for name, account in TOPOLOGY.service_accounts.items()
    )
    granted = by(of(plan, "google_project_iam_member", "service_accounts"), "role", "member")
    assert granted == Counter(
        (custom(role), member(name))
        for name, account in TOPOLOGY.service_accounts.items()
        for role in account.roles
    )
    roles = {
        role["role_id"]: sorted(role["permissions"])
        for role in of(plan, "google_project_iam_custom_role")
    }
    assert roles == {
        f"convergence_{name}": sorted(role.permissions)
        for name, role in TOPOLOGY.custom_roles.items()
    }


def test_keys_and_who_may_use_them_for_what(plan: dict[str, Values]) -> None:
    (ring,) = of(plan, "google_kms_key_ring")
    assert (ring["name"], ring["location"]) == (TOPOLOGY.kms.key_ring, TOPOLOGY.kms.location)
    keys = of(plan, "google_kms_crypto_key")
    assert by(keys, "name", "rotation_period") == Counter(
        (name, f"{key.rotation_days * 86400}s") for name, key in TOPOLOGY.kms.keys.items()
    )
    grants = of(plan, "google_kms_crypto_key_iam_member")
    assert by(grants, "crypto_key_id", "role", "member") == Counter(
        (
            TOPOLOGY.key_name(key, PROJECT),
            f"roles/cloudkms.cryptoKey{use.capitalize()}er",
            member(function.service_account),
        )
        for function in TOPOLOGY.functions.values()
        for key in set(function.keys.values())
        for use in function.key_use
    )


def test_secrets_and_who_may_read_them(plan: dict[str, Values]) -> None:
    assert by(of(plan, "google_secret_manager_secret"), "secret_id") == Counter([*TOPOLOGY.secrets])
    readers = of(plan, "google_secret_manager_secret_iam_member")
    assert {r["role"] for r in readers} == {"roles/secretmanager.secretAccessor"}
    assert by(readers, "secret_id", "member") == Counter(
        (secret, member(function.service_account))
        for function in TOPOLOGY.functions.values()
        for secret in set(function.secrets.values())
    )
    (tenants,) = of(plan, "google_project_iam_member", "secrets")
    assert (tenants["role"], tenants["member"]) == (
        "roles/secretmanager.secretAccessor",
        member("step-shared"),
    )
    (condition,) = tenants["condition"]
    assert condition["expression"] == (
        'resource.type == "secretmanager.googleapis.com/SecretVersion" &&'
        ' resource.name.extract("/secrets/{name}/").startsWith("tenant--")'
    )


def test_datasets_and_who_may_use_them(plan: dict[str, Values]) -> None:
    datasets = {d["dataset_id"]: d for d in of(plan, "google_bigquery_dataset")}
    assert datasets.keys() == TOPOLOGY.datasets.keys()
    for name, dataset in TOPOLOGY.datasets.items():
        assert datasets[name]["labels"] == dataset.labels
        assert datasets[name]["description"] == dataset.description
        assert datasets[name]["location"] == TOPOLOGY.bigquery_location
        assert datasets[name]["delete_contents_on_destroy"] is False
    grants = of(plan, "google_bigquery_dataset_iam_member")
    assert by(grants, "dataset_id", "role", "member") == Counter(
        (dataset, custom(role), member(name))
        for name, account in TOPOLOGY.service_accounts.items()
        for dataset, roles in account.datasets.items()
        for role in roles
    )


def test_topics_and_who_may_publish(plan: dict[str, Values]) -> None:
    assert by(of(plan, "google_pubsub_topic"), "name") == Counter(TOPOLOGY.topics)
    publishers = of(plan, "google_pubsub_topic_iam_member")
    assert {p["role"] for p in publishers} == {"roles/pubsub.publisher"}
    dead_letters = {s.dead_letter_topic for s in TOPOLOGY.subscriptions.values()} - {None}
    assert by(publishers, "topic", "member") == Counter(
        (topic, member(function.service_account))
        for function in TOPOLOGY.functions.values()
        for topic in function.publishes
    ) + Counter((topic, AGENT) for topic in dead_letters)


def test_subscriptions(plan: dict[str, Values]) -> None:
    made = {s["name"]: s for s in of(plan, "google_pubsub_subscription")}
    assert made.keys() == TOPOLOGY.subscriptions.keys()
    for name, subscription in TOPOLOGY.subscriptions.items():
        found = made[name]
        assert found["topic"] == f"projects/{PROJECT}/topics/{subscription.topic}"
        assert found["ack_deadline_seconds"] == subscription.ack_deadline_seconds
        assert found["filter"] == subscription.filter
        assert found["enable_message_ordering"] == subscription.enable_message_ordering
        assert found["expiration_policy"][0]["ttl"] == ""
        push, retry = found["push_config"][0], found["retry_policy"][0]
        assert push["push_endpoint"] == f"https://{subscription.function}.run.app"
        assert push["oidc_token"] == [
            {
                "audience": push["push_endpoint"],
                "service_account_email": TOPOLOGY.email(TOPOLOGY.push_service_account, PROJECT),
            }
        ]
        assert retry["minimum_backoff"] == f"{subscription.minimum_backoff_seconds:g}s"
        assert retry["maximum_backoff"] == f"{subscription.maximum_backoff_seconds:g}s"
        policy = subscription.dead_letter_topic and {
            "dead_letter_topic": f"projects/{PROJECT}/topics/{subscription.dead_letter_topic}",
            "max_delivery_attempts": subscription.max_delivery_attempts or 5,
        }
        assert found["dead_letter_policy"] == ([policy] if policy else [])


def test_pubsub_may_forward_what_it_gives_up_and_sign_its_pushes(plan: dict[str, Values]) -> None:
    takes = of(plan, "google_pubsub_subscription_iam_member")
    assert {(t["role"], t["member"]) for t in takes} == {("roles/pubsub.subscriber", AGENT)}
    with_dead_letters = [n for n, s in TOPOLOGY.subscriptions.items() if s.dead_letter_topic]
    assert by(takes, "subscription") == Counter(with_dead_letters)
    (signs,) = of(plan, "google_service_account_iam_member")
    account = f"projects/{PROJECT}/serviceAccounts/{TOPOLOGY.push_service_account}"
    assert (signs["service_account_id"], signs["member"]) == (account, AGENT)


def test_scheduler_jobs(plan: dict[str, Values]) -> None:
    made = {j["name"]: j for j in of(plan, "google_cloud_scheduler_job")}
    assert made.keys() == TOPOLOGY.scheduler_jobs.keys()
    for name, job in TOPOLOGY.scheduler_jobs.items():
        found = made[name]
        target, retry = found["http_target"][0], found["retry_config"][0]
        assert (found["schedule"], found["time_zone"]) == (job.schedule, job.time_zone)
        assert found["attempt_deadline"] == f"{job.attempt_deadline_seconds}s"
        assert found["paused"] is False
        assert target["uri"] == f"https://{job.function}.run.app{job.path}"
        assert target["http_method"] == job.method
        email = TOPOLOGY.email(job.service_account, PROJECT)
        assert target["oidc_token"] == [{"audience": job.audience, "service_account_email": email}]
        assert retry["retry_count"] == job.retry.count
        assert retry["min_backoff_duration"] == f"{job.retry.minimum_backoff_seconds:g}s"
        assert retry["max_backoff_duration"] == f"{job.retry.maximum_backoff_seconds:g}s"
        assert retry["max_doublings"] == job.retry.maximum_doublings


def test_only_pushes_jobs_and_callers_of_routes_may_invoke(plan: dict[str, Values]) -> None:
    invokers = of(plan, "google_cloud_run_v2_service_iam_member")
    assert {i["role"] for i in invokers} == {"roles/run.invoker"}
    pushed = {s.function for s in TOPOLOGY.subscriptions.values()}
    called = {(j.function, member(j.service_account)) for j in TOPOLOGY.scheduler_jobs.values()}
    routed = {route.function for route in TOPOLOGY.routes}
    assert set(by(invokers, "name", "member")) == (
        {(function, member(TOPOLOGY.push_service_account)) for function in pushed}
        | called
        | {(function, "allUsers") for function in routed}
    )


def test_every_request_reaches_the_function_that_it_reaches_on_a_laptop(
    plan: dict[str, Values],
) -> None:
    (routes,) = (m for m in of(plan, "google_compute_url_map") if m["path_matcher"])
    rules = sorted(routes["path_matcher"][0]["route_rules"], key=lambda rule: rule["priority"])
    table = RoutingTable(TOPOLOGY.routes)
    asked = 0
    for route in TOPOLOGY.routes:
        for path in _examples(route.path):
            for method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS"):
                local = table.match(method, path)
                if local and local.function:
                    assert _routed(rules, method, path) == local.function, (method, path)
                    asked += 1
    assert asked > 3 * len(TOPOLOGY.routes)


def _examples(path: str) -> list[str]:
    plain = path.replace("/**", "").replace("*", "anything") or "/"
    return [plain, f"{plain}/below", f"{plain}/below/it"]


def _routed(rules: list[Values], method: str, path: str) -> str | None:
    """The function behind the first rule that matches, as a URL map picks it."""
    for rule in rules:
        for match in rule["match_rules"]:
            methods = [header["exact_match"] for header in match["header_matches"]]
            full, prefix = match["full_path_match"], match["prefix_match"]
            assert (full is None) != (prefix is None), "add templates to this test"
            hit = path == full if full is not None else path.startswith(prefix)
            if hit and (not methods or method in methods):
                return str(rule["service"]).rpartition("/")[2]
    return None


def test_everything_public_is_behind_cloud_armors_rate_limit(plan: dict[str, Values]) -> None:
    (policy,) = of(plan, "google_compute_security_policy")
    (limit,) = (rule for rule in policy["rule"] if rule["action"] == "throttle")
    (options,) = limit["rate_limit_options"]
    assert (options["enforce_on_key"], options["exceed_action"]) == ("IP", "deny(429)")
    assert options["rate_limit_threshold"] == [{"count": 1200, "interval_sec": 60}]
    backends = of(plan, "google_compute_backend_service")
    assert backends
    assert all(backend["security_policy"] for backend in backends)


def test_reads_of_keys_and_secrets_are_logged(plan: dict[str, Values]) -> None:
    logged = {
        audited["service"]: {one["log_type"] for one in audited["audit_log_config"]}
        for audited in of(plan, "google_project_iam_audit_config")
    }
    both = {"DATA_READ", "DATA_WRITE"}
    assert logged == {"cloudkms.googleapis.com": both, "secretmanager.googleapis.com": both}


def test_alerts_and_counters(plan: dict[str, Values]) -> None:
    alerts = {a["display_name"]: a for a in of(plan, "google_monitoring_alert_policy")}
    assert len(alerts) == len(TOPOLOGY.alerts)
    for name, alert in TOPOLOGY.alerts.items():
        found = alerts[f"Convergence: {name.replace('_', ' ')}"]
        (condition,) = found["conditions"]
        (threshold,) = condition["condition_threshold"]
        assert (found["severity"], condition["display_name"]) == (alert.severity, alert.summary)
        assert threshold["duration"] == f"{alert.lasting_seconds}s"
        assert threshold["aggregations"][0]["alignment_period"] == f"{alert.window_seconds}s"
        scale = 2**40 / 6.25 if name == "cost" else 1
        assert threshold["threshold_value"] == pytest.approx(alert.threshold * scale)
        assert f"#{name.replace('_', '-')}" in found["documentation"][0]["content"]
    counters = of(plan, "google_logging_metric")
    assert by(counters, "name") == Counter(f"convergence/{name}" for name in TOPOLOGY.log_metrics)


def test_nothing_is_made_that_no_test_here_knows(plan: dict[str, Values]) -> None:
    """A new kind of resource needs a test that compares it, or a line here that says what it is."""
    compared = {
        *("bigquery_dataset", "bigquery_dataset_iam_member", "cloud_run_v2_service_iam_member"),
        *("cloud_scheduler_job", "cloudfunctions2_function", "compute_url_map", "kms_crypto_key"),
        *("kms_crypto_key_iam_member", "kms_key_ring", "logging_metric", "monitoring_alert_policy"),
        *("project_iam_custom_role", "project_iam_member", "pubsub_subscription"),
        *("pubsub_subscription_iam_member", "pubsub_topic", "pubsub_topic_iam_member"),
        *("secret_manager_secret", "secret_manager_secret_iam_member", "service_account"),
        "service_account_iam_member",
    }
    the_way_in = {
        *("compute_backend_service", "compute_global_address", "compute_global_forwarding_rule"),
        *("compute_managed_ssl_certificate", "compute_region_network_endpoint_group"),
        *("compute_security_policy", "compute_ssl_policy", "compute_target_http_proxy"),
        "compute_target_https_proxy",
    }
    the_build = {
        *("artifact_registry_repository", "artifact_registry_repository_iam_member"),
        *("storage_bucket", "storage_bucket_iam_member", "storage_bucket_object"),
    }
    the_project = {
        *("monitoring_dashboard", "monitoring_notification_channel"),
        *("project_iam_audit_config", "project_service"),
    }
    kinds = {next(p for p in a.split(".") if p.startswith("google_")) for a in plan}
    known = compared | the_way_in | the_build | the_project
    assert {kind.removeprefix("google_") for kind in kinds} <= known
    backends = {route.function for route in TOPOLOGY.routes}
    assert set(by(of(plan, "google_compute_backend_service"), "name")) == backends


def test_wrong_variables_are_refused_with_what_to_write(terraform: Workspace) -> None:
    wrong: dict[str, tuple[Any, str]] = {
        "project_id": ("Bad", "6 to 30 lower-case letters"),
        "environment": ("test", "Write dev, stage or prod"),
        "domains": (["*.example.com"], "Write 1 to 100 lower-case host names"),
        "region": ("US", "Write a region such as us-central1"),
        "deployment_environment": (
            {"DISABLE_AUTH": "true", "OTEL_TRACES_EXPORTER": "otlp"},
            "DISABLE_AUTH is refused",
        ),
        "api_invokers": (["everybody"], "Write IAM members"),
        "max_instances": (0, "whole number from 1 to 1000"),
        "message_retention_days": (32, "up to 31 days"),
        "requests_per_ip_per_minute": (0, "number from 1 to 1000000"),
        "notification_emails": (["oncall"], "Write mail addresses"),
        "notification_channels": (["oncall"], "Write names such as projects/"),
        "runbook_url": ("http://x", "https URL"),
        "bigquery_usd_per_tib": (0, "price above zero"),
    }
    with pytest.raises(TerraformError) as refused:
        terraform.plan(**{name: value for name, (value, _) in wrong.items()})
    told = " ".join(str(refused.value).split())
    assert [text for _, text in wrong.values() if text not in told] == []
    for name in ("SMTP_HOST", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        assert f"Write {name}: " in told


def test_a_function_has_exactly_one_bundle(terraform: Workspace) -> None:
    bundle = terraform.bundles / f"api-{HASH}.zip"
    stale = terraform.bundles / "api-ba9876543210.zip"
    for files, found in (({bundle, stale}, 2), (set(), 0)):
        for file in (bundle, stale):
            file.touch() if file in files else file.unlink(missing_ok=True)
        with pytest.raises(TerraformError) as refused:
            terraform.plan()
        told = " ".join(str(refused.value).split())
        assert f"exactly one bundle of api, not {found}: empty it and run `make bundle`" in told
    stale.unlink(missing_ok=True)
    bundle.touch()
