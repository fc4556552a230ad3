import pytest

from tests.conformance.pubsub.steps import QUICK_RETRY
from tests.waiting import wait_until


@pytest.fixture
def topic(pubsub):
    return pubsub.topic()


def keyed(key, *data):
    return [{"data": item, "ordering_key": key} for item in data]


def data(received):
    return [message.message.data for message in received]


def test_one_key_comes_in_the_order_of_publishing(pubsub, topic):
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    for number in range(10):
        pubsub.publish(topic, *keyed("k", b"%d" % number))

    assert pubsub.pull_data(subscription, 10) == [b"%d" % number for number in range(10)]


def test_a_key_rests_while_a_message_of_it_is_out(pubsub, topic):
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    pubsub.publish(topic, *keyed("k", b"0", b"1", b"2", b"3"))
    first = pubsub.pull(subscription, most=2)
    assert data(first) == [b"0", b"1"]

    pubsub.acknowledge(subscription, first[:1])
    assert pubsub.pull_now(subscription) == []

    pubsub.acknowledge(subscription, first[1:])
    assert pubsub.pull_data(subscription, 2) == [b"2", b"3"]


def test_a_key_that_rests_does_not_hold_up_another(pubsub, topic):
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    pubsub.publish(topic, *keyed("k", b"k0", b"k1"))
    assert data(pubsub.pull(subscription, most=1)) == [b"k0"]

    pubsub.publish(topic, *keyed("other", b"o0"))
    pubsub.publish(topic, b"without key")

    assert sorted(data(pubsub.pull(subscription) + pubsub.pull_now(subscription))) == [
        b"o0",
        b"without key",
    ]


def test_after_a_nack_the_key_comes_again_from_that_message_on(pubsub, topic):
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    pubsub.publish(topic, *keyed("k", b"0", b"1", b"2", b"3"))
    first = pubsub.pull(subscription, most=3)
    assert data(first) == [b"0", b"1", b"2"]
    pubsub.acknowledge(subscription, first[:1])

    pubsub.nack(subscription, first[1:2])

    assert pubsub.pull_data(subscription, 3) == [b"1", b"2", b"3"]


def test_a_later_message_is_delivered_again_though_it_was_acknowledged(pubsub, topic):
    """ "Order messages": redelivery includes the acknowledged ones after the failed one."""
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    pubsub.publish(topic, *keyed("k", b"0", b"1"))
    first = pubsub.pull(subscription)
    assert data(first) == [b"0", b"1"]
    pubsub.acknowledge(subscription, first[1:])

    pubsub.nack(subscription, first[:1])

    assert pubsub.pull_data(subscription, 2) == [b"0", b"1"]
    assert pubsub.pull_now(subscription) == []


def test_after_an_expiry_the_key_comes_again_in_order(pubsub, topic):
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    pubsub.publish(topic, *keyed("k", b"0", b"1"))
    pubsub.set_deadline(subscription, pubsub.pull(subscription), 1)

    again = wait_until(lambda: pubsub.pull_now(subscription, most=1), message="redelivery")
    assert data(again) == [b"0"]
    pubsub.acknowledge(subscription, again)

    assert pubsub.pull_data(subscription, 1) == [b"1"]


def test_without_ordering_the_keys_hold_nothing_up(pubsub, topic):
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, *keyed("k", b"0", b"1"))
    assert len(pubsub.pull(subscription, most=1)) == 1

    assert len(pubsub.pull(subscription, most=1)) == 1


def test_an_ordered_push_has_one_message_of_a_key_out(pubsub, topic, endpoint):
    out, overlapping = set(), []

    def answer(push):
        key = push.message.get("orderingKey") or "k"  # the emulator leaves keys out
        if key in out:
            overlapping.append(push.message_id)
        out.add(key)
        push.finished.wait(0.02)
        out.discard(key)
        return 204

    endpoint.answer = answer
    pubsub.subscription(
        topic, enable_message_ordering=True, push_config={"push_endpoint": endpoint.url}
    )
    ids = pubsub.publish(topic, *keyed("k", *[b"%d" % n for n in range(10)]))

    pushes = endpoint.pushes(10)

    assert [push.message_id for push in pushes] == ids
    assert overlapping == []


def test_an_ordered_push_that_fails_is_repeated_before_its_successors(pubsub, topic, endpoint):
    def answer(push):
        tries = sum(1 for other in endpoint.received if other.message_id == push.message_id)
        return 500 if push.message_id == ids[1] and tries < 3 else 204

    ids: list[str] = ["", ""]
    endpoint.answer = answer
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    ids = pubsub.publish(topic, *keyed("k", b"0", b"1", b"2"))
    pubsub.subscriber.update_subscription(
        request={
            "subscription": {
                "name": subscription,
                "push_config": {"push_endpoint": endpoint.url},
                "retry_policy": QUICK_RETRY,
            },
            "update_mask": {"paths": ["push_config", "retry_policy"]},
        }
    )

    pushes = endpoint.pushes(5)

    assert [push.message_id for push in pushes] == [ids[0], ids[1], ids[1], ids[1], ids[2]]


def test_ordered_pushes_of_many_keys_arrive_in_order(pubsub, topic, endpoint):
    pubsub.subscription(
        topic, enable_message_ordering=True, push_config={"push_endpoint": endpoint.url}
    )
    ids: dict[str, list[str]] = {f"key{n}": [] for n in range(8)}
    for number in range(5):
        for key in ids:
            ids[key] += pubsub.publish(topic, *keyed(key, b"%d" % number))

    pushes = endpoint.pushes(40)

    arrived = [push.message_id for push in pushes]
    for expected in ids.values():
        assert [message_id for message_id in arrived if message_id in expected] == expected
