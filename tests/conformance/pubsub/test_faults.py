"""What only the local server has: faults on demand and call counts."""

import time
from concurrent import futures

import grpc
import pytest
from google.api_core import exceptions

from infra.local.pubsub.faults_client import faults


@pytest.fixture
def fault(target):
    with faults(target) as client:
        yield client


@pytest.fixture
def topic(pubsub):
    return pubsub.topic()


def test_the_next_calls_fail_and_the_one_after_works(pubsub, topic, fault):
    fault.set("Publish", times=2, code="UNAVAILABLE", message="on its way to another zone")

    for _ in range(2):
        with pytest.raises(exceptions.ServiceUnavailable, match="another zone"):
            pubsub.publish(topic, b"x")
    assert pubsub.publish(topic, b"x")


def test_googles_publisher_repeats_a_publish_that_was_refused(pubsub, topic, fault):
    subscription = pubsub.subscription(topic)
    fault.set("Publish", times=2, code="UNAVAILABLE")

    pubsub.batching.publish(topic, b"persistent").result(timeout=10)

    assert pubsub.pull_data(subscription, 1) == [b"persistent"]
    assert pubsub.pull_now(subscription) == []


def test_a_call_can_be_delayed(pubsub, topic, fault):
    fault.set("Publish", delay_seconds=2)

    started = time.monotonic()
    pubsub.publish(topic, b"delayed")
    delayed = time.monotonic()
    pubsub.publish(topic, b"not any more")

    assert delayed - started >= 2
    assert time.monotonic() - delayed < 2


def test_a_client_that_gives_up_during_the_delay_has_published_nothing(pubsub, topic, fault):
    subscription = pubsub.subscription(topic)
    fault.set("Publish", delay_seconds=0.3)
    request = {"topic": topic, "messages": [{"data": b"x"}]}

    with pytest.raises(exceptions.DeadlineExceeded):
        pubsub.publisher.publish(request=request, retry=None, timeout=0.1)

    assert pubsub.pull_now(subscription) == []


def test_a_fault_can_be_taken_back(pubsub, topic, fault):
    fault.set("Publish", times=5, code="INTERNAL")
    fault.set("Publish", times=0)

    assert pubsub.publish(topic, b"x")


def test_calls_are_counted(pubsub, topic, fault):
    before = fault.calls().get("Publish", 0)

    with futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: pubsub.publish(topic, b"x"), range(8)))

    assert fault.calls()["Publish"] == before + 8


@pytest.mark.parametrize(
    ("method", "code", "problem"),
    [("Publsh", "INTERNAL", "method is 'Publsh'"), ("Publish", "BROKEN", "code is 'BROKEN'")],
)
def test_a_fault_that_makes_no_sense_is_refused(fault, method, code, problem):
    with pytest.raises(grpc.RpcError, match=problem):
        fault.set(method, code=code)
