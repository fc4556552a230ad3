import base64

import pytest
from google.api_core import exceptions


def test_what_is_published_arrives_whole(pubsub):
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    attributes = {"plain": "value", "empty": "", "ünï": "çødé"}

    (message_id,) = pubsub.publish(
        topic, {"data": bytes(range(256)), "attributes": attributes, "ordering_key": "key"}
    )

    (received,) = pubsub.pull(subscription)
    assert received.message.data == bytes(range(256))
    assert dict(received.message.attributes) == attributes
    assert received.message.ordering_key == "key"
    assert received.message.message_id == message_id
    assert received.message.publish_time.timestamp() > 1_700_000_000


def test_every_subscription_gets_its_own_copy(pubsub):
    topic = pubsub.topic()
    first, second = pubsub.subscription(topic, "first"), pubsub.subscription(topic, "second")

    pubsub.publish(topic, b"one", b"two")

    assert sorted(pubsub.pull_data(first, 2)) == [b"one", b"two"]
    assert sorted(pubsub.pull_data(second, 2)) == [b"one", b"two"]


def test_what_was_published_before_the_subscription_is_not_delivered(pubsub):
    topic = pubsub.topic()
    pubsub.publish(topic, b"nobody listens")
    subscription = pubsub.subscription(topic)

    pubsub.publish(topic, b"heard")

    assert pubsub.pull_data(subscription, 1) == [b"heard"]
    assert pubsub.pull_now(subscription) == []


def test_message_ids_come_in_the_order_of_the_request_and_never_repeat(pubsub):
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)

    ids = [
        message_id
        for _ in range(10)
        for message_id in pubsub.publish(topic, *[{"data": b"x"}] * 100)
    ]

    assert len(set(ids)) == 1000
    assert ids == sorted(ids, key=int)
    received = []
    while len(received) < 1000:
        received += pubsub.pull(subscription, most=1000)
    assert {message.message.message_id for message in received} == set(ids)


def test_the_batching_publisher_delivers_every_message_once(pubsub):
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)

    futures = [pubsub.batching.publish(topic, b"%d" % n, number=str(n)) for n in range(500)]

    assert len({future.result(timeout=10) for future in futures}) == 500
    assert sorted(map(int, pubsub.pull_data(subscription, 500))) == list(range(500))


@pytest.mark.parametrize(
    "message", [{}, {"data": b""}, {"ordering_key": "key"}], ids=["nothing", "data", "key"]
)
def test_an_empty_message_is_refused(pubsub, message):
    topic = pubsub.topic()

    with pytest.raises(exceptions.InvalidArgument, match="empty"):
        pubsub.publish(topic, b"good", message)


def test_a_refused_request_publishes_none_of_its_messages(pubsub):
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)

    with pytest.raises(exceptions.InvalidArgument):
        pubsub.publish(topic, b"good", {})

    assert pubsub.pull_now(subscription) == []


def test_a_message_of_attributes_only_is_taken(pubsub):
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)

    pubsub.publish(topic, {"attributes": {"only": "this"}})

    (received,) = pubsub.pull(subscription)
    assert received.message.data == b""
    assert dict(received.message.attributes) == {"only": "this"}


def test_a_request_without_messages_is_refused(pubsub):
    topic = pubsub.topic()

    with pytest.raises(exceptions.InvalidArgument):
        pubsub.publish(topic)


def test_a_thousand_messages_are_taken_and_one_more_is_refused(pubsub):
    topic = pubsub.topic()

    assert len(pubsub.publish(topic, *[b"x"] * 1000)) == 1000
    with pytest.raises(exceptions.InvalidArgument):
        pubsub.publish(topic, *[b"x"] * 1001)


def test_ten_megabytes_are_taken(pubsub, endpoint):
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config={"push_endpoint": endpoint.url})

    pubsub.publish(topic, b"x" * 9_999_000)

    (push,) = endpoint.pushes(1)
    assert len(base64.b64decode(push.message["data"])) == 9_999_000


def test_messages_that_together_exceed_one_answer_come_in_several(pubsub):
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)

    for number in range(3):
        pubsub.publish(topic, b"%d" % number * 3_000_000)

    assert sorted(data[:1] for data in pubsub.pull_data(subscription, 3)) == [b"0", b"1", b"2"]


def test_more_than_ten_megabytes_are_refused(pubsub):
    topic = pubsub.topic()

    with pytest.raises(exceptions.InvalidArgument, match="request_size is too large"):
        pubsub.publish(topic, b"x" * 5_000_001, b"x" * 5_000_000)


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({f"key{n}": "v" for n in range(101)}, "too large"),
        ({"k" * 257: "v"}, "too long"),
        ({"": "v"}, "non-empty"),
        ({"googclient": "v"}, "goog"),
        ({"key": "v" * 1025}, "too long"),
        ({"key": "ü" * 513}, "too long"),
    ],
    ids=["101 attributes", "key of 257", "empty key", "goog", "value of 1025", "bytes count"],
)
def test_attributes_beyond_the_limits_are_refused(pubsub, attributes, problem):
    topic = pubsub.topic()

    with pytest.raises(exceptions.InvalidArgument, match=problem):
        pubsub.publish(topic, {"data": b"x", "attributes": attributes})


def test_attributes_at_the_limits_are_taken(pubsub):
    topic = pubsub.topic()
    attributes = {f"{n:03}".ljust(256, "k"): "v" * 1024 for n in range(100)}

    assert pubsub.publish(topic, {"data": b"x", "attributes": attributes})


def test_an_ordering_key_above_a_kilobyte_is_refused(pubsub):
    topic = pubsub.topic()

    with pytest.raises(exceptions.InvalidArgument, match="ordering_key"):
        pubsub.publish(topic, {"data": b"x", "ordering_key": "k" * 1025})
