import json
from datetime import UTC, datetime

import pytest

from tests.conformance.pubsub.steps import QUICK_RETRY
from tests.waiting import wait_until

PREFIX = "CloudPubSubDeadLetterSource"


@pytest.fixture
def topic(pubsub):
    return pubsub.topic()


def nack_until_gone(pubsub, subscription, attempts):
    """Nack a message `attempts` times; the delivery attempts that were shown."""
    shown = []
    for _ in range(attempts):
        (received,) = wait_until(lambda: pubsub.pull_now(subscription), message="a delivery")
        shown.append(received.delivery_attempt)
        pubsub.nack(subscription, [received])
    return shown


def dead_letter(pubsub, subscription, dead):
    """The message that arrives on the dead-letter topic, and not once more on its subscription."""

    def arrived():
        # Google's emulator forwards no sooner than the subscription is asked again.
        assert pubsub.pull_now(subscription, most=1) == []
        return pubsub.pull_now(dead)

    (letter,) = wait_until(arrived, message="the dead letter")
    return letter.message


def test_attempts_are_counted_and_the_last_one_forwards(pubsub, topic):
    policy, dead = pubsub.dead_letter_policy(attempts=5)
    subscription = pubsub.subscription(topic, dead_letter_policy=policy)
    pubsub.publish(topic, b"poison")

    shown = nack_until_gone(pubsub, subscription, 5)

    assert shown == [1, 2, 3, 4, 5]
    assert dead_letter(pubsub, subscription, dead).data == b"poison"


def test_a_dead_letter_keeps_the_message_and_says_where_it_comes_from(pubsub, topic):
    policy, dead = pubsub.dead_letter_policy(attempts=5)
    subscription = pubsub.subscription(topic, "source", dead_letter_policy=policy)
    message = {"data": b"poison", "attributes": {"tenant": "acme"}, "ordering_key": "key"}
    (original_id,) = pubsub.publish(topic, message)
    nack_until_gone(pubsub, subscription, 5)

    letter = dead_letter(pubsub, subscription, dead)

    assert letter.data == b"poison"
    assert letter.ordering_key == "key"
    assert letter.message_id != original_id
    attributes = dict(letter.attributes)
    published = datetime.fromisoformat(attributes.pop(f"{PREFIX}TopicPublishTime"))
    assert attributes == {
        "tenant": "acme",
        f"{PREFIX}Subscription": "source",
        f"{PREFIX}SubscriptionProject": pubsub.project.removeprefix("projects/"),
        f"{PREFIX}DeliveryCount": "5",
    }
    assert abs((published - datetime.now(UTC)).total_seconds()) < 60


def test_expired_deadlines_count_as_attempts(pubsub, topic):
    policy, _ = pubsub.dead_letter_policy(attempts=5)
    subscription = pubsub.subscription(topic, dead_letter_policy=policy)
    pubsub.publish(topic, b"slow")
    pubsub.set_deadline(subscription, pubsub.pull(subscription), 1)

    (again,) = wait_until(lambda: pubsub.pull_now(subscription), message="redelivery")

    assert again.delivery_attempt == 2


def test_a_push_that_always_fails_ends_on_the_dead_letter_topic(pubsub, topic, endpoint):
    policy, dead = pubsub.dead_letter_policy(attempts=5)
    endpoint.answer = lambda _: 500
    pubsub.subscription(
        topic,
        dead_letter_policy=policy,
        retry_policy=QUICK_RETRY,
        push_config={"push_endpoint": endpoint.url},
    )

    pubsub.publish(topic, b"poison")

    assert pubsub.pull_data(dead, 1, wait=15) == [b"poison"]


def test_the_body_of_a_push_shows_the_delivery_attempt(pubsub, topic, endpoint):
    policy, dead = pubsub.dead_letter_policy(attempts=5)
    endpoint.answer = lambda _: 500
    pubsub.subscription(
        topic,
        dead_letter_policy=policy,
        retry_policy=QUICK_RETRY,
        push_config={"push_endpoint": endpoint.url},
    )

    pubsub.publish(topic, b"poison")

    pubsub.pull_data(dead, 1, wait=15)
    assert [push.body["deliveryAttempt"] for push in endpoint.received] == [1, 2, 3, 4, 5]


def test_the_dead_letter_topic_pushes_like_any_other(pubsub, topic, endpoint):
    """The shape of the product: a poisonous message ends at the dead-letter handler."""
    dead = pubsub.topic("dead")
    pubsub.subscription(dead, "handler", push_config={"push_endpoint": f"{endpoint.url}&dead"})
    endpoint.answer = lambda push: 204 if push.path.endswith("&dead") else 500
    pubsub.subscription(
        topic,
        dead_letter_policy={"dead_letter_topic": dead, "max_delivery_attempts": 5},
        retry_policy=QUICK_RETRY,
        push_config={"push_endpoint": endpoint.url},
    )

    pubsub.publish(topic, b"poison")

    handled = wait_until(
        lambda: [push for push in endpoint.received if push.path.endswith("&dead")],
        message="the dead letter",
    )
    attributes = json.loads(handled[0].content)["message"]["attributes"]
    assert attributes[f"{PREFIX}DeliveryCount"] == "5"


def test_after_a_dead_letter_its_ordering_key_goes_on(pubsub, topic):
    policy, dead = pubsub.dead_letter_policy(attempts=5)
    subscription = pubsub.subscription(
        topic, dead_letter_policy=policy, enable_message_ordering=True
    )
    pubsub.publish(
        topic,
        {"data": b"poison", "ordering_key": "k"},
        {"data": b"next", "ordering_key": "k"},
    )
    for _ in range(5):
        (received,) = wait_until(
            lambda: pubsub.pull_now(subscription, most=1), message="a delivery"
        )
        assert received.message.data == b"poison"
        pubsub.nack(subscription, [received])

    assert pubsub.pull_data(dead, 1) == [b"poison"]
    assert pubsub.pull_data(subscription, 1) == [b"next"]


def test_without_its_dead_letter_topic_a_message_is_tried_on(pubsub, topic):
    policy, _ = pubsub.dead_letter_policy(attempts=5)
    subscription = pubsub.subscription(topic, dead_letter_policy=policy)
    pubsub.publisher.delete_topic(topic=policy.dead_letter_topic)
    pubsub.publish(topic, b"poison")

    nack_until_gone(pubsub, subscription, 5)

    (received,) = pubsub.pull(subscription)
    assert received.message.data == b"poison"
