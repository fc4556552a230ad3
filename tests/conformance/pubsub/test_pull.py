import threading

import pytest
from google.api_core import exceptions

from tests.conformance.pubsub.steps import QUICK_RETRY
from tests.waiting import wait_until


@pytest.fixture
def topic(pubsub):
    return pubsub.topic()


def data(received):
    return [message.message.data for message in received]


def test_an_acknowledged_message_does_not_come_again(pubsub, topic):
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"one", b"two")

    assert sorted(pubsub.pull_data(subscription, 2)) == [b"one", b"two"]

    assert pubsub.pull_now(subscription) == []


def test_acknowledging_twice_is_no_error(pubsub, topic):
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"one")
    received = pubsub.pull(subscription)

    pubsub.acknowledge(subscription, received)
    pubsub.acknowledge(subscription, received)


def test_a_leased_message_is_not_delivered_to_another(pubsub, topic):
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"one")

    assert data(pubsub.pull(subscription)) == [b"one"]

    assert pubsub.pull_now(subscription) == []


def test_a_nacked_message_comes_again_at_once(pubsub, topic):
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"one")
    first = pubsub.pull(subscription)

    pubsub.nack(subscription, first)

    second = pubsub.pull(subscription)
    assert data(second) == [b"one"]
    assert second[0].message.message_id == first[0].message.message_id
    assert second[0].ack_id != first[0].ack_id


def test_an_expired_message_comes_again(pubsub, topic):
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"one")
    pubsub.set_deadline(subscription, pubsub.pull(subscription), 1)

    again = wait_until(lambda: pubsub.pull_now(subscription), message="redelivery")

    assert data(again) == [b"one"]


def test_an_extended_lease_does_not_expire_at_its_old_end(pubsub, topic):
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"short", b"long")
    received = {message.message.data: message for message in pubsub.pull(subscription)}
    pubsub.set_deadline(subscription, [received[b"long"]], 1)
    pubsub.set_deadline(subscription, [received[b"short"]], 1)

    pubsub.set_deadline(subscription, [received[b"long"]], 60)

    again = wait_until(lambda: pubsub.pull_now(subscription), message="redelivery")
    assert data(again) == [b"short"]
    assert pubsub.pull_now(subscription) == []


def test_a_late_acknowledgement_counts_while_the_message_waits(pubsub, topic):
    subscription = pubsub.subscription(topic, retry_policy={"minimum_backoff": {"seconds": 1}})
    pubsub.publish(topic, b"one")
    received = pubsub.pull(subscription)
    pubsub.nack(subscription, received)

    pubsub.acknowledge(subscription, received)

    assert pubsub.pull(subscription, wait=2) == []


def test_a_retry_policy_delays_redelivery(pubsub, topic):
    subscription = pubsub.subscription(topic, retry_policy={"minimum_backoff": {"seconds": 1}})
    pubsub.publish(topic, b"one")

    pubsub.nack(subscription, pubsub.pull(subscription))

    assert pubsub.pull_now(subscription) == []
    assert data(pubsub.pull(subscription, wait=8)) == [b"one"]


def test_a_nacked_message_does_not_hold_up_the_others(pubsub, topic):
    subscription = pubsub.subscription(topic, retry_policy={"minimum_backoff": {"seconds": 60}})
    pubsub.publish(topic, b"bad")
    pubsub.nack(subscription, pubsub.pull(subscription))

    pubsub.publish(topic, b"good")

    assert pubsub.pull_data(subscription, 1) == [b"good"]


def test_a_pull_brings_at_most_what_it_asks_for(pubsub, topic):
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, *[b"%d" % n for n in range(5)])

    assert len(pubsub.pull(subscription, most=3)) == 3
    assert len(pubsub.pull(subscription, most=3)) == 2


def test_a_waiting_pull_is_answered_when_a_message_comes(pubsub, topic):
    subscription = pubsub.subscription(topic)
    received = []
    waiting = threading.Thread(target=lambda: received.extend(pubsub.pull(subscription, wait=20)))
    waiting.start()

    pubsub.publish(topic, b"awaited")

    waiting.join(timeout=15)
    assert data(received) == [b"awaited"]


def test_two_pullers_share_the_messages(pubsub, topic):
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, *[b"%d" % n for n in range(200)])
    taken: list[bytes] = []

    def puller():
        while received := pubsub.pull_now(subscription, most=7):
            pubsub.acknowledge(subscription, received)
            taken.extend(data(received))

    pullers = [threading.Thread(target=puller) for _ in range(4)]
    for thread in pullers:
        thread.start()
    for thread in pullers:
        thread.join()

    assert sorted(taken, key=int) == [b"%d" % n for n in range(200)]


@pytest.mark.parametrize("most", [0, -1])
def test_a_pull_of_nothing_is_refused(pubsub, topic, most):
    subscription = pubsub.subscription(topic)

    with pytest.raises(exceptions.InvalidArgument, match="max_messages"):
        pubsub.pull(subscription, most=most)


def test_ack_ids_of_nobody_are_refused(pubsub, topic):
    subscription = pubsub.subscription(topic)
    for call in (
        lambda ids: pubsub.subscriber.acknowledge(subscription=subscription, ack_ids=ids),
        lambda ids: pubsub.subscriber.modify_ack_deadline(
            subscription=subscription, ack_ids=ids, ack_deadline_seconds=10
        ),
    ):
        with pytest.raises(exceptions.InvalidArgument):
            call(["nonsense"])
        with pytest.raises(exceptions.InvalidArgument):
            call([])


def test_a_negative_deadline_is_refused(pubsub, topic):
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"one")
    received = pubsub.pull(subscription)

    with pytest.raises(exceptions.InvalidArgument):
        pubsub.set_deadline(subscription, received, -1)


def test_a_deadline_above_ten_minutes_is_refused(pubsub, topic):
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"one")
    received = pubsub.pull(subscription)

    with pytest.raises(exceptions.InvalidArgument):
        pubsub.set_deadline(subscription, received, 601)


def test_without_a_dead_letter_policy_there_is_no_delivery_attempt(pubsub, topic):
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"one")
    pubsub.nack(subscription, pubsub.pull(subscription))

    (received,) = pubsub.pull(subscription)

    assert received.delivery_attempt == 0


def test_redelivery_works_many_times(pubsub, topic):
    subscription = pubsub.subscription(topic, retry_policy=QUICK_RETRY)
    pubsub.publish(topic, b"one")

    for _ in range(4):
        received = pubsub.pull(subscription, wait=5)
        assert data(received) == [b"one"]
        pubsub.nack(subscription, received)
