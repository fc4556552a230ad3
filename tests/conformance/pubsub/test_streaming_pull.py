import threading
from concurrent import futures

import pytest
from google.api_core import exceptions
from google.cloud import pubsub_v1

from tests.conformance.pubsub.steps import QUICK_RETRY
from tests.waiting import wait_until


@pytest.fixture
def topic(pubsub):
    return pubsub.topic()


@pytest.fixture
def receive(pubsub):
    """Google's default subscriber: receive(subscription, callback), ended with the test."""
    streams = []

    def subscribe(subscription, callback, **options):
        stream = pubsub.subscriber.subscribe(subscription, callback, **options)
        streams.append(stream)
        return stream

    yield subscribe
    for stream in streams:
        stream.cancel()
        try:
            stream.result(timeout=10)
        except (exceptions.GoogleAPICallError, futures.CancelledError):
            continue


def test_the_default_subscriber_gets_every_message(pubsub, topic, receive):
    subscription = pubsub.subscription(topic)
    seen = []

    def callback(message):
        seen.append(message.data)
        message.ack()

    receive(subscription, callback)
    for _ in range(3):
        pubsub.publish(topic, *[b"%d" % n for n in range(100)])

    wait_until(lambda: len(seen) >= 300, message="300 messages")
    assert sorted(seen) == sorted([b"%d" % n for n in range(100)] * 3)


def test_what_the_subscriber_acknowledged_does_not_come_again(pubsub, topic, receive):
    subscription = pubsub.subscription(topic)
    acknowledged = []

    def callback(message):
        message.ack()
        acknowledged.append(message.data)

    stream = receive(subscription, callback)
    pubsub.publish(topic, *[b"%d" % n for n in range(20)])
    wait_until(lambda: len(acknowledged) == 20, message="20 messages")
    stream.cancel()
    stream.result(timeout=10)

    assert pubsub.pull_now(subscription) == []


def test_a_nacked_message_comes_again(pubsub, topic, receive):
    subscription = pubsub.subscription(topic, retry_policy=QUICK_RETRY)
    seen = []

    def callback(message):
        seen.append(message.message_id)
        if len(seen) < 3:
            message.nack()
        else:
            message.ack()

    receive(subscription, callback)
    (message_id,) = pubsub.publish(topic, b"again")

    wait_until(lambda: len(seen) >= 3, message="the third delivery")
    assert seen == [message_id] * 3


def test_a_slow_callback_keeps_its_lease(pubsub, topic, receive):
    subscription = pubsub.subscription(topic, ack_deadline_seconds=10)
    seen, release = [], threading.Event()

    def callback(message):
        seen.append(message.data)
        release.wait(20)
        message.ack()

    receive(subscription, callback)
    pubsub.publish(topic, b"slow")
    wait_until(lambda: seen, message="the delivery")

    assert pubsub.pull(subscription, wait=2) == []  # the stream holds it
    release.set()
    assert seen == [b"slow"]


def test_flow_control_bounds_what_is_out(pubsub, topic, receive):
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, *[b"%d" % n for n in range(30)])
    running, most, release, done = [0], [0], threading.Event(), []
    lock = threading.Lock()

    def callback(message):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        release.wait(20)
        with lock:
            running[0] -= 1
            done.append(message.data)
        message.ack()

    receive(subscription, callback, flow_control=pubsub_v1.types.FlowControl(max_messages=5))
    wait_until(lambda: running[0] == 5, message="five callbacks")
    rest = pubsub.pull_now(subscription)  # another receiver gets what the stream did not take
    pubsub.acknowledge(subscription, rest)
    release.set()

    wait_until(lambda: len(done) + len(rest) >= 30, message="all of the messages")
    assert len(rest) == 25
    assert most[0] <= 5


def test_two_subscribers_share_a_subscription(pubsub, topic, receive):
    subscription = pubsub.subscription(topic)
    seen = []

    def callback(message):
        seen.append(message.message_id)
        message.ack()

    receive(subscription, callback)
    receive(subscription, callback)
    ids = pubsub.publish(topic, *[{"data": b"x"}] * 200)

    wait_until(lambda: len(seen) >= 200, message="200 messages")
    assert sorted(seen) == sorted(ids)


def test_the_subscriber_sees_one_key_in_order(pubsub, topic, receive):
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    seen: dict[str, list[int]] = {"a": [], "b": []}

    def callback(message):
        seen[message.ordering_key].append(int(message.data))
        message.ack()

    receive(subscription, callback)
    for start in range(0, 60, 20):
        for key in seen:
            pubsub.publish(
                topic,
                *[{"data": b"%d" % n, "ordering_key": key} for n in range(start, start + 20)],
            )

    wait_until(lambda: all(len(numbers) >= 60 for numbers in seen.values()), message="120 messages")
    assert seen == {"a": list(range(60)), "b": list(range(60))}


def test_a_stream_on_a_missing_subscription_is_refused(pubsub, receive):
    stream = receive(pubsub.subscription_name("missing"), lambda message: message.ack())

    with pytest.raises(exceptions.NotFound):
        stream.result(timeout=10)


def test_a_stream_ends_when_its_subscription_is_deleted(pubsub, topic, receive):
    subscription = pubsub.subscription(topic)
    seen = []

    def callback(message):
        seen.append(message.data)
        message.ack()

    stream = receive(subscription, callback)
    pubsub.publish(topic, b"one")
    wait_until(lambda: seen, message="the first message")

    pubsub.subscriber.delete_subscription(subscription=subscription)

    with pytest.raises(exceptions.NotFound):
        stream.result(timeout=10)
