import base64
import re
import threading
import time

import pytest
from google.api_core import exceptions

from tests.conformance.pubsub.endpoint import Endpoint
from tests.conformance.pubsub.steps import QUICK_RETRY
from tests.waiting import wait_until


@pytest.fixture
def topic(pubsub):
    return pubsub.topic()


@pytest.fixture
def subscribed(pubsub, topic, endpoint):
    """A quick push subscription of the topic to the endpoint."""
    return pubsub.subscription(
        topic, retry_policy=QUICK_RETRY, push_config={"push_endpoint": endpoint.url}
    )


def acknowledged(pubsub, subscription):
    """Whether nothing is left: the subscription becomes a pull subscription and is asked."""
    pubsub.subscriber.modify_push_config(subscription=subscription, push_config={})
    return pubsub.pull_now(subscription) == []


def test_a_push_carries_the_message(pubsub, topic, endpoint, subscribed):
    (message_id,) = pubsub.publish(topic, {"data": b"\x00payload", "attributes": {"a": "b"}})

    (push,) = endpoint.pushes(1)

    assert push.path == "/push?source=test"
    assert push.headers["content-type"] == "application/json"
    assert push.body["subscription"] == subscribed
    message = push.message
    assert base64.b64decode(message["data"]) == b"\x00payload"
    assert message["attributes"] == {"a": "b"}
    assert message["messageId"] == message["message_id"] == message_id
    assert message["publishTime"] == message["publish_time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", message["publishTime"])
    assert "deliveryAttempt" not in push.body


def test_a_push_says_that_it_is_of_the_service(pubsub, topic, endpoint, subscribed):
    pubsub.publish(topic, b"x")

    assert endpoint.pushes(1)[0].headers["user-agent"] == "CloudPubSub-Google"


def test_a_push_leaves_out_what_is_empty(pubsub, topic, endpoint, subscribed):
    pubsub.publish(topic, {"attributes": {"only": "this"}})
    assert "data" not in endpoint.pushes(1)[0].message

    pubsub.publish(topic, b"only this")
    assert "attributes" not in endpoint.pushes(2)[1].message


def test_a_push_carries_the_ordering_key(pubsub, topic, endpoint, subscribed):
    pubsub.publish(topic, {"data": b"x", "ordering_key": "tenant"})
    pubsub.publish(topic, b"y")

    keys = {push.message.get("orderingKey") for push in endpoint.pushes(2)}

    assert keys == {"tenant", None}


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_status_that_acknowledges(pubsub, topic, endpoint, subscribed, status):
    endpoint.answer = lambda _: status
    pubsub.publish(topic, b"x")
    endpoint.pushes(1)[0].finished.wait(30)

    wait_until(lambda: acknowledged(pubsub, subscribed), message="acknowledgement")
    assert len(endpoint.received) == 1


@pytest.mark.parametrize("status", [203, 302, 400, 404, 429, 500, 503, None])
def test_anything_else_is_repeated_until_it_is_acknowledged(
    pubsub, topic, endpoint, subscribed, status
):
    endpoint.answer = lambda _: status if len(endpoint.received) < 3 else 204
    pubsub.publish(topic, b"x")

    pushes = endpoint.pushes(3)

    assert len({push.message_id for push in pushes}) == 1
    pushes[2].finished.wait(30)
    assert wait_until(lambda: acknowledged(pubsub, subscribed))


def test_repetitions_wait_longer_and_longer(pubsub, topic, endpoint):
    endpoint.answer = lambda _: 500
    pubsub.subscription(
        topic,
        retry_policy={"minimum_backoff": {"seconds": 1}, "maximum_backoff": {"seconds": 2}},
        push_config={"push_endpoint": endpoint.url},
    )
    pubsub.publish(topic, b"x")

    first, second, third = endpoint.pushes(3)

    assert second.at - first.at > 0.9
    assert third.at - second.at > 1.8


def test_an_endpoint_that_answers_too_late_gets_the_message_again(pubsub, topic, endpoint):
    late = threading.Event()
    endpoint.answer = lambda _: 204 if len(endpoint.received) > 1 or late.wait(30) else 500
    pubsub.subscription(
        topic,
        ack_deadline_seconds=10,
        retry_policy=QUICK_RETRY,
        push_config={"push_endpoint": endpoint.url},
    )
    pubsub.publish(topic, b"x")

    first, second = endpoint.pushes(2, timeout=20)

    late.set()
    assert 9 < second.at - first.at < 15
    assert first.message_id == second.message_id


def test_an_endpoint_that_is_down_gets_everything_when_it_is_back(pubsub, topic):
    down = Endpoint()
    port = down.port
    down.close()
    pubsub.subscription(
        topic,
        retry_policy=QUICK_RETRY,
        push_config={"push_endpoint": f"http://127.0.0.1:{port}/push"},
    )
    ids = pubsub.publish(topic, *[{"data": b"x"}] * 50)
    threading.Event().wait(0.5)  # rounds of refused connections, which nobody can see

    back = Endpoint(port)
    started = time.monotonic()

    pushes = back.pushes(50)
    back.close()
    assert {push.message_id for push in pushes} == set(ids)
    assert time.monotonic() - started < 30


def test_one_message_that_always_fails_does_not_stop_the_others(
    pubsub, topic, endpoint, subscribed
):
    endpoint.answer = lambda push: 500 if push.message.get("attributes") else 204
    pubsub.publish(topic, {"data": b"bad", "attributes": {"bad": "yes"}})
    ids = pubsub.publish(topic, *[{"data": b"good"}] * 50)

    good = wait_until(
        lambda: (
            {p.message_id for p in endpoint.received if not p.message.get("attributes")} >= set(ids)
        ),
        message="fifty good messages",
    )

    assert good


def test_pushes_run_concurrently(pubsub, topic, endpoint, subscribed):
    lock, out, most = threading.Lock(), [0], [0]

    def answer(push):
        with lock:
            out[0] += 1
            most[0] = max(most[0], out[0])
        push.finished.wait(0.05)
        with lock:
            out[0] -= 1
        return 204

    endpoint.answer = answer
    pubsub.publish(topic, *[{"data": b"x"}] * 60)

    endpoint.pushes(60)
    assert most[0] >= 2


def test_every_message_is_pushed_once_when_all_goes_well(pubsub, topic, endpoint, subscribed):
    ids = []
    for _ in range(4):
        ids += pubsub.publish(topic, *[{"data": b"x"}] * 100)

    pushes = endpoint.pushes(400, timeout=30)

    assert sorted(push.message_id for push in pushes) == sorted(ids)
    assert len(endpoint.received) == 400


def test_a_pull_subscription_that_becomes_push_pushes_what_it_holds(pubsub, topic, endpoint):
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"waiting")

    pubsub.subscriber.modify_push_config(
        subscription=subscription, push_config={"push_endpoint": endpoint.url}
    )

    (push,) = endpoint.pushes(1)
    assert base64.b64decode(push.message["data"]) == b"waiting"


def test_a_changed_endpoint_is_used_from_then_on(pubsub, topic, endpoint, subscribed):
    pubsub.publish(topic, b"x")
    endpoint.pushes(1)

    pubsub.subscriber.modify_push_config(
        subscription=subscribed, push_config={"push_endpoint": f"{endpoint.url}&changed"}
    )
    pubsub.publish(topic, b"y")

    assert endpoint.pushes(2)[1].path.endswith("&changed")


def test_a_deleted_subscription_pushes_no_more(pubsub, topic, endpoint, subscribed):
    endpoint.answer = lambda _: 500
    pubsub.publish(topic, b"x")
    endpoint.pushes(2)

    pubsub.subscriber.delete_subscription(subscription=subscribed)

    seen = len(endpoint.received)
    threading.Event().wait(1)
    assert len(endpoint.received) <= seen + 1  # one may have been on its way


def test_without_wrapper_the_data_is_the_body(pubsub, topic, endpoint):
    pubsub.subscription(
        topic,
        push_config={"push_endpoint": endpoint.url, "no_wrapper": {"write_metadata": True}},
    )
    (message_id,) = pubsub.publish(topic, {"data": b"raw", "attributes": {"tenant": "acme"}})

    (push,) = endpoint.pushes(1)

    assert push.content == b"raw"
    assert push.headers["x-goog-pubsub-message-id"] == message_id
    assert push.headers["tenant"] == "acme"


def test_a_push_subscription_cannot_be_pulled(pubsub, topic, subscribed):
    with pytest.raises(exceptions.FailedPrecondition):
        pubsub.pull_now(subscribed)
