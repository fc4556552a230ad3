"""Slack and webhooks from the deployed bundles: docs/templates.md's examples as they stand."""

import base64
import hashlib
import hmac
import json
import ssl
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.cloud import secretmanager_v1
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcTransport,
)

from shared.engine.messages import StepMessage
from shared.processors.contract import RunIdentity
from shared.templates.built_ins import BuiltIns
from shared.templates.loader import TemplateLibrary
from shared.templates.resolver import resolve
from tests.aws import Account, a_day, a_group, a_page
from tests.contract.test_templates_page import EXAMPLES
from tests.receiver import Receiver, serve
from tests.system.world import DAY, PROJECT, Tenant, World
from tests.waiting import wait_until

KEY = "a key of more than twenty-four bytes"
ACCOUNT = "04D5E6-F7A8B9-C0D1E2"


@pytest.fixture
def receiver(world: World) -> Iterator[Receiver]:
    """Somebody's program, at an HTTPS address that the local stack may notify."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(world.certificate)
    found, server = serve(tls)
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def library(tmp_path: Path) -> TemplateLibrary:
    """The examples of the page and no more."""
    for name, text in EXAMPLES.items():
        file = tmp_path / "configs" / f"{name}.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return TemplateLibrary(tmp_path / "configs")


def store(world: World, tenant: Tenant, name: str, value: str) -> None:
    """Make the tenant's secret, as its operator does."""
    channel = grpc.insecure_channel(world.stack.environment()["SECRET_MANAGER_EMULATOR_HOST"])
    client = secretmanager_v1.SecretManagerServiceClient(
        transport=SecretManagerServiceGrpcTransport(channel=channel)
    )
    made = client.create_secret(
        parent=f"projects/{PROJECT}",
        secret_id=f"tenant--{tenant.tenant_id}--{name}",
        secret=secretmanager_v1.Secret({"replication": {"automatic": {}}}),
    )
    payload = secretmanager_v1.SecretPayload(data=value.encode())
    client.add_secret_version(parent=made.name, payload=payload)


def run(
    world: World, tenant: Tenant, library: TemplateLibrary, name: str, **body: Any
) -> dict[str, Any]:
    """Run a template that is not in the bundle: resolved here, published as the api does."""
    accounts = body.pop("billing_account_ids", [])
    facts = BuiltIns(
        tenant_id=tenant.tenant_id,
        date=DAY,
        run_date=DAY + timedelta(days=1),
        project_id=PROJECT,
        pipeline_logging_id=str(uuid.uuid4()),
        billing_account_ids=accounts,
        admin_email=tenant.admin_email,
    )
    pipeline = resolve(library.named(name), facts, body)
    identity = RunIdentity(
        pipeline_logging_id=facts.pipeline_logging_id,
        pipeline_id=pipeline.pipeline_id,
        tenant_id=tenant.tenant_id,
        provider=pipeline.provider,
        domain=pipeline.domain,
        template_name=pipeline.template_name,
        date=DAY,
        run_date=facts.run_date,
        trigger_type="manual",
        started_at=datetime.now(UTC),
    )
    message = StepMessage(run=identity, steps=pipeline.steps, sources=pipeline.sources)
    world.publish(f"step-{pipeline.steps[0].family}", message.model_dump_json().encode())
    return world.finished(tenant, identity.pipeline_logging_id, timeout=180)


def said(world: World, channel: str) -> list[dict[str, Any]]:
    """What arrived in a channel of the local Slack."""
    found = world.mailbox.get("/slack").json()
    return [message["body"] for message in found if message["channel"] == channel]


def test_the_first_examples_write_and_check_and_say_in_slack_why_they_fail(
    world: World, library: TemplateLibrary
) -> None:
    tenant = world.onboard()
    channel = f"services/T0/{tenant.tenant_id}/token"
    store(world, tenant, "slack-alerts", f"{world.mailbox.base_url}/slack/{channel}")
    totals = (
        "SELECT currency, SUM(CAST(cost AS NUMERIC)) FROM `billing_export.gcp_billing_export_v1`"
        " WHERE DATE(usage_start_time) = @day AND billing_account_id = @account"
        " GROUP BY 1 ORDER BY 1"
    )
    expected = [tuple(row.values()) for row in world.query(totals, day=DAY, account=ACCOUNT)]

    for name in ("gcp/cost/daily_total", "gcp/cost/daily_total_checked"):
        ended = run(world, tenant, library, name, billing_account_ids=[ACCOUNT])

        assert ended["status"] == "COMPLETED", ended["error"]
        table = f"{tenant.tenant_id}_gcp_gold_cost.daily_total"
        written = world.query(f"SELECT currency, cost FROM `{table}` ORDER BY 1")
        assert [tuple(row.values()) for row in written] == expected
    assert expected
    assert said(world, channel) == []

    victim = f"{PROJECT}.tenants.usage_ledger"
    name = "gcp/cost/daily_total_checked"
    failed = run(world, tenant, library, name, source_billing_table=victim)

    assert (failed["status"], failed["failed_step"]) == ("FAILED", "total")
    wait_until(lambda: said(world, channel), message="the message in Slack")
    (message,) = said(world, channel)
    headline, text, fields, origin = message["blocks"]
    assert headline["text"]["text"] == "Daily total failed"
    assert victim in text["text"]["text"]
    assert [field["text"].partition("\n")[2] for field in fields["fields"]] == [
        tenant.tenant_id, str(DAY), "total",
    ]  # fmt: skip
    assert failed["pipeline_logging_id"] in origin["elements"][0]["text"]


def test_the_last_example_fetches_and_tells_a_program_over_https(
    world: World, library: TemplateLibrary, receiver: Receiver
) -> None:
    tenant = world.onboard()
    account = Account.new(world.stack.environment()["AWS_ENDPOINT_URL"])
    body = {"provider": "AWS", "name": "billing", "credentials": account.role_for(tenant.tenant_id)}
    path = f"/api/v1/tenants/{tenant.tenant_id}/credentials"
    assert world.http.post(path, headers=tenant.headers, json=body).status_code == 201
    store(world, tenant, "webhook-key", KEY)
    days = [DAY - timedelta(days=back) for back in range(3, -1, -1)]
    account.answer_costs(
        a_page(*(a_day(day, a_group("Amazon S3", UnblendedCost="1.25")) for day in days))
    )
    # A receiver that is busy for a moment gets the same event again.
    receiver.answers = [(429, {"Retry-After": "1"}, b"")]

    name = "aws/cost/service_costs"
    ended = run(world, tenant, library, name, notify_url=receiver.url)

    assert ended["status"] == "COMPLETED", ended["error"]
    table = f"{tenant.tenant_id}_aws_silver_cost.service_costs"
    (found,) = world.query(f"SELECT COUNT(*) AS n, SUM(unblended_cost) AS cost FROM `{table}`")
    assert (found.n, found.cost) == (4, Decimal(5))
    events = []
    for headers, content in receiver.requests:
        signed = b".".join(
            (headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), content)
        )
        mac = base64.b64encode(hmac.new(KEY.encode(), signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{mac}"
        events.append(json.loads(content))
    assert events[0] == events[1]
    assert events[0]["type"] == "costs.ready"
    assert events[0]["data"] == {"table": f"{PROJECT}.{table}", "rows": 4}
    assert events[0]["id"] == f"{ended['pipeline_logging_id']}.tell"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://169.254.169.254/computeMetadata/v1/", "inside of a network"),
        ("https://[::ffff:10.0.0.1]/", "inside of a network"),
        ("https://0x7f000001/", "inside of a network"),
        ("http://hooks.example.com/", "must be reached by https"),
    ],
)
def test_what_is_no_public_https_address_is_told_nothing(
    world: World, library: TemplateLibrary, url: str, reason: str, tmp_path: Path
) -> None:
    tenant = world.onboard()
    store(world, tenant, "webhook-key", KEY)
    file = tmp_path / "configs" / "gcp" / "cost" / "tell.yml"
    file.write_text(
        'variables: {where: {type: string, required: true}}\nsteps: [{step_id: "tell",'
        ' ps_type: "shared.webhook", url: "{where}", signing_secret: "webhook-key"}]\n'
    )

    ended = run(world, tenant, library, "gcp/cost/tell", where=url)

    assert (ended["status"], ended["error_code"]) == ("FAILED", "destination-refused")
    assert reason in ended["error"]
