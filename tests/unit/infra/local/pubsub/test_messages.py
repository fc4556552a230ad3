from infra.local.pubsub import wire
from infra.local.pubsub.messages import Stamp, dead_letter


def stamped(stamp, **fields):
    return stamp.message(wire.PubsubMessage(data=b"x", **fields))


def test_ids_grow_within_one_instant_and_over_a_clock_that_goes_back():
    times = iter([100.0, 100.0, 50.0, 101.0])
    stamp = Stamp(lambda: next(times))

    ids = [stamped(stamp).message_id for _ in range(4)]

    assert ids == [100_000_000, 100_000_001, 100_000_002, 101_000_000]


def test_ids_go_on_after_the_last_stored_one():
    stamp = Stamp(lambda: 1.0, last_id=7_000_000_000)

    assert stamped(stamp).message_id == 7_000_000_001


def test_the_stored_message_knows_its_id_and_publish_time():
    message = stamped(Stamp(lambda: 1763445601.2349), ordering_key="k")

    stored = wire.PubsubMessage.FromString(message.body)
    assert stored.message_id == str(message.message_id)
    assert stored.publish_time.ToJsonString() == "2025-11-18T06:00:01.234Z"
    assert message.published_at == 1763445601.234


def test_a_dead_letter_is_the_message_and_its_origin():
    original = stamped(Stamp(lambda: 1763445601.2), ordering_key="k", attributes={"tenant": "acme"})

    letter = dead_letter(original.body, subscription="projects/p/subscriptions/s", attempts=5)

    assert letter.data == b"x"
    assert letter.ordering_key == "k"
    assert dict(letter.attributes) == {
        "tenant": "acme",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": "s",
        "CloudPubSubDeadLetterSourceSubscriptionProject": "p",
        "CloudPubSubDeadLetterSourceTopicPublishTime": "2025-11-18T06:00:01.200+00:00",
    }
