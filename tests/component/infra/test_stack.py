"""What a running stack gives to functions and to those who talk to it."""

import os
import signal
import smtplib
import uuid

import grpc
import httpx
import pytest
from google.cloud import kms_v1, secretmanager_v1
from google.cloud.kms_v1.services.key_management_service.transports import (
    KeyManagementServiceGrpcTransport,
)
from google.cloud.pubsub_v1 import PublisherClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcTransport,
)

from infra.local.stack import RunningStack
from tests.waiting import wait_until

PROJECT = "projects/convergence-local"


def ask(stack: RunningStack, path: str) -> httpx.Response:
    return httpx.get(stack.urls["gateway"] + path, timeout=10)


def test_each_service_has_its_line_before_ready(stack: RunningStack) -> None:
    lines = stack.output().splitlines()
    told = {line.split()[2]: line for line in lines[: lines.index("ready")]}
    services = {"bigquery", "pubsub", "kms", "secrets", "mailbox", "smtp", "gateway"}
    services |= {"aws", "azure", "azure-blob", "cloud-scheduler", "identity"}
    assert services | {"echo", "inbox", "provision"} == set(told)
    for name, port in stack.ports.items():
        assert f":{port}" in told[name]


def test_a_function_runs_from_its_compiled_bundle(stack: RunningStack) -> None:
    seen = ask(stack, "/echo/x").json()
    assert "/bundles/unpacked/echo-" in seen["directory"]
    assert seen["compiled"] is True
    assert seen["environment"]["THREADS"] == "8"
    assert seen["environment"]["CLOUD_RUN_TIMEOUT_SECONDS"] == "2"


def test_a_function_is_told_where_everything_is(stack: RunningStack) -> None:
    environment = ask(stack, "/echo/x").json()["environment"]
    shared = stack.environment()
    bigquery = shared.pop("BIGQUERY_EMULATOR_HOST").removeprefix("http://")
    assert environment["BIGQUERY_EMULATOR_HOST"] == f"http://tester:@{bigquery}"
    assert shared.items() <= environment.items()
    assert environment["GCP_PROJECT_ID"] == "convergence-local"
    assert environment["OPEN_ONBOARDING"] == "true"
    assert environment["KMS_KEY_NAME"].endswith("/cryptoKeys/tenant-secrets")
    assert environment["ADMIN_API_KEY_SECRET"] == f"{PROJECT}/secrets/admin-api-key/versions/latest"
    assert environment["SMTP_PORT"] == str(stack.ports["smtp"])
    # Deployed, it would have no value of its own; and nobody's shell leaks into a function.
    assert "SMTP_USERNAME" not in environment
    assert "PYTEST_CURRENT_TEST" not in environment
    assert "SMTP_HOST" not in httpx.get(stack.urls["inbox"]).text


def test_a_function_takes_only_what_it_declares_from_the_topology(stack: RunningStack) -> None:
    assert "K_SERVICE" not in ask(stack, "/echo/x").json()["environment"]


def test_a_published_message_is_pushed_to_its_function(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", stack.environment()["PUBSUB_EMULATOR_HOST"])
    marker = uuid.uuid4().hex
    with PublisherClient() as publisher:
        publisher.publish(f"{PROJECT}/topics/letters", b"hello", marker=marker).result(10)

    def delivered() -> list[dict]:
        found = ask(stack, "/inbox").json()
        return [d for d in found if d["message"]["attributes"].get("marker") == marker]

    (delivery,) = wait_until(delivered, message="the delivery")
    assert delivery["subscription"] == f"{PROJECT}/subscriptions/letters"
    assert delivery["deliveryAttempt"] == 1


def test_the_key_encrypts(stack: RunningStack) -> None:
    channel = grpc.insecure_channel(stack.environment()["KMS_EMULATOR_HOST"])
    with kms_v1.KeyManagementServiceClient(
        transport=KeyManagementServiceGrpcTransport(channel=channel)
    ) as kms:
        name = ask(stack, "/echo/x").json()["environment"]["KMS_KEY_NAME"]
        ciphertext = kms.encrypt(name=name, plaintext=b"x").ciphertext
        assert kms.decrypt(name=name, ciphertext=ciphertext).plaintext == b"x"


def test_the_secrets_have_their_local_values(stack: RunningStack) -> None:
    channel = grpc.insecure_channel(stack.environment()["SECRET_MANAGER_EMULATOR_HOST"])
    with secretmanager_v1.SecretManagerServiceClient(
        transport=SecretManagerServiceGrpcTransport(channel=channel)
    ) as secrets:

        def value(name: str) -> bytes:
            version = f"{PROJECT}/secrets/{name}/versions/latest"
            return secrets.access_secret_version(name=version).payload.data

        assert value("admin-api-key") == b"local-admin-key"
        assert len(value("checksum")) == 64


def test_mail_reaches_the_mailbox(stack: RunningStack) -> None:
    subject = uuid.uuid4().hex
    with smtplib.SMTP("127.0.0.1", stack.ports["smtp"], timeout=5) as smtp:
        smtp.sendmail("a@example.com", ["b@example.com"], f"Subject: {subject}\r\n\r\nhello\r\n")
    found = httpx.get(stack.urls["mailbox"] + "/messages", params={"subject": subject}).json()
    assert len(found) == 1


def test_bigquery_answers(stack: RunningStack) -> None:
    url = f"{stack.urls['bigquery']}/bigquery/v2/{PROJECT}/datasets"
    assert httpx.get(url).status_code == 200


@pytest.mark.parametrize("whole_group", [True, False])
def test_a_killed_function_is_started_again(stack: RunningStack, whole_group: bool) -> None:
    pid = stack.function_processes()["echo"]
    assert os.getpgid(pid) == pid
    (os.killpg if whole_group else os.kill)(pid, signal.SIGKILL)

    def restarted() -> bool:
        return stack.function_processes()["echo"] != pid and ask(stack, "/echo/x").is_success

    wait_until(restarted, message="the restart")
    assert "echo: the process ended (killed by signal 9), restarted as" in stack.output()


def test_a_crash_inside_a_request_is_a_bad_gateway_and_then_over(stack: RunningStack) -> None:
    assert ask(stack, "/echo/crash").status_code == 502
    wait_until(lambda: ask(stack, "/echo/x").is_success, message="the next worker")
