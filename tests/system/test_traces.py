"""One trace from the request to the last job, by whatever it is looked at."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.cloud import pubsub_v1
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from tests.system.world import PROJECT, Tenant, World
from tests.waiting import wait_until

TOPICS = ("step-gcp", "step-shared")
FUNCTIONS = ("api", *TOPICS)


@contextmanager
def messages_of(world: World, tenant: Tenant) -> Iterator[list[dict[str, str]]]:
    """The attributes of all step messages of a tenant; there once the block has ended."""
    host = world.stack.environment()["PUBSUB_EMULATOR_HOST"]
    transport = SubscriberGrpcTransport(channel=grpc.insecure_channel(host))
    found: list[dict[str, str]] = []
    with pubsub_v1.SubscriberClient(transport=transport) as client:
        names = {
            topic: client.subscription_path(
                PROJECT, f"{topic}-{tenant.tenant_id.replace('_', '-')}"
            )
            for topic in TOPICS
        }
        for topic, name in names.items():
            wanted = f'attributes.tenant_id = "{tenant.tenant_id}"'
            path = client.topic_path(PROJECT, topic)
            client.create_subscription(request={"name": name, "topic": path, "filter": wanted})
        yield found
        for name in names.values():
            pulled = client.pull(subscription=name, max_messages=100, return_immediately=True)
            found += [dict(one.message.attributes) for one in pulled.received_messages]
            client.delete_subscription(subscription=name)


def lines_of(world: World, function: str, trace_id: str) -> list[dict[str, Any]]:
    """What a function has logged under a trace."""
    lines = world.stack.log(function).splitlines()
    return [json.loads(line) for line in lines if trace_id in line and line.startswith("{")]


def test_one_trace_runs_from_the_request_to_the_last_job(world: World) -> None:
    tenant = world.onboard(billing_account_ids=[])
    trace_id = secrets.token_hex(16)
    with messages_of(world, tenant) as messages:
        answer = world.http.post(
            f"/api/v1/pipelines/run/{tenant.tenant_id}/gcp/cost/cost_billing",
            headers={**tenant.headers, "traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"},
            json={"date": "2025-11-15"},
        )
        assert answer.status_code == 202, answer.text
        run_id = answer.json()["pipeline_logging_id"]
        assert world.finished(tenant, run_id)["status"] == "COMPLETED"

    assert answer.headers["traceparent"].split("-")[1] == trace_id
    assert {message["traceparent"].split("-")[1] for message in messages} == {trace_id}
    assert {message["pipeline_logging_id"] for message in messages} == {run_id}
    # The request hands its span on to the first step, and that one its own to the next.
    first, second = (m["traceparent"] for m in sorted(messages, key=lambda m: m["step_id"])[::-1])
    assert first == answer.headers["traceparent"]
    assert second != first
    for function in FUNCTIONS:
        lines = wait_until(
            lambda function=function: lines_of(world, function, trace_id),  # type: ignore[misc]
            message=f"a line of {function}",
        )
        name = f"projects/{PROJECT}/traces/{trace_id}"
        assert {line["logging.googleapis.com/trace"] for line in lines} == {name}
    jobs = world.query(
        "SELECT job_id, (SELECT value FROM UNNEST(labels) WHERE key = 'trace_id') AS trace_id"
        " FROM `region-us`.INFORMATION_SCHEMA.JOBS WHERE EXISTS (SELECT 1 FROM UNNEST(labels)"
        " WHERE key = 'pipeline_logging_id' AND value = @run_id)",
        run_id=run_id,
    )
    assert len(jobs) > 1
    assert {job.trace_id for job in jobs} == {trace_id}
