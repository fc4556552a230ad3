import pytest
from google.api_core import exceptions
from google.protobuf import duration_pb2, field_mask_pb2
from google.pubsub_v1 import types

WEEK = 7 * 24 * 3600


def update(pubsub, name, paths, **fields):
    return pubsub.subscriber.update_subscription(
        request={
            "subscription": {"name": name, **fields},
            "update_mask": field_mask_pb2.FieldMask(paths=paths),
        },
        retry=None,
    )


def test_a_new_subscription_has_the_defaults_of_the_service(pubsub):
    topic = pubsub.topic()

    found = pubsub.subscriber.get_subscription(subscription=pubsub.subscription(topic))

    assert found.topic == topic
    assert found.ack_deadline_seconds == 10
    assert found.message_retention_duration.total_seconds() == WEEK
    assert found.push_config == types.PushConfig()
    assert "dead_letter_policy" not in found
    assert "retry_policy" not in found


def test_creating_a_subscription_twice_is_refused(pubsub):
    topic = pubsub.topic()
    pubsub.subscription(topic)

    with pytest.raises(exceptions.AlreadyExists):
        pubsub.subscription(topic)


def test_a_subscription_to_a_missing_topic_is_not_found(pubsub):
    with pytest.raises(exceptions.NotFound):
        pubsub.subscription(pubsub.topic_name("missing"))


@pytest.mark.parametrize("name", ["ab", "goog-sub", "with space"])
def test_a_name_outside_of_the_grammar_is_refused(pubsub, name):
    topic = pubsub.topic()

    with pytest.raises(exceptions.InvalidArgument, match=r"Invalid \[subscriptions\] name"):
        pubsub.subscription(topic, name)


def test_a_missing_subscription_is_not_found(pubsub):
    name = pubsub.subscription_name("missing")
    calls = [
        lambda: pubsub.subscriber.get_subscription(subscription=name),
        lambda: pubsub.subscriber.delete_subscription(subscription=name),
        lambda: pubsub.pull(name),
        lambda: pubsub.subscriber.acknowledge(subscription=name, ack_ids=["x"]),
        lambda: pubsub.subscriber.modify_push_config(subscription=name, push_config={}),
        lambda: update(pubsub, name, ["ack_deadline_seconds"], ack_deadline_seconds=20),
    ]

    for call in calls:
        with pytest.raises(exceptions.NotFound):
            call()


def test_a_deadline_above_the_bounds_is_refused(pubsub):
    topic = pubsub.topic()

    with pytest.raises(exceptions.InvalidArgument):
        pubsub.subscription(topic, ack_deadline_seconds=601)


def test_a_deadline_below_the_bounds_is_refused(pubsub):
    topic = pubsub.topic()

    with pytest.raises(exceptions.InvalidArgument):
        pubsub.subscription(topic, ack_deadline_seconds=9)


@pytest.mark.parametrize(("attempts", "stored"), [(0, 5), (5, 5), (100, 100)])
def test_a_dead_letter_policy_within_the_bounds_is_stored(pubsub, attempts, stored):
    topic = pubsub.topic()
    policy = {"dead_letter_topic": pubsub.topic("dead"), "max_delivery_attempts": attempts}

    name = pubsub.subscription(topic, dead_letter_policy=policy)

    found = pubsub.subscriber.get_subscription(subscription=name)
    assert found.dead_letter_policy.max_delivery_attempts == stored


@pytest.mark.parametrize(("attempts", "problem"), [(4, "too small"), (101, "too large")])
def test_a_dead_letter_policy_out_of_bounds_is_refused(pubsub, attempts, problem):
    topic = pubsub.topic()
    policy = {"dead_letter_topic": pubsub.topic("dead"), "max_delivery_attempts": attempts}

    with pytest.raises(exceptions.OutOfRange, match=problem):
        pubsub.subscription(topic, dead_letter_policy=policy)


def test_a_dead_letter_topic_must_exist(pubsub):
    topic = pubsub.topic()

    with pytest.raises(exceptions.NotFound):
        pubsub.subscription(
            topic, dead_letter_policy={"dead_letter_topic": pubsub.topic_name("missing")}
        )


def test_an_empty_retry_policy_gets_the_defaults_of_the_service(pubsub):
    topic = pubsub.topic()

    name = pubsub.subscription(topic, retry_policy=types.RetryPolicy())

    policy = pubsub.subscriber.get_subscription(subscription=name).retry_policy
    assert policy.minimum_backoff.total_seconds() == 10
    assert policy.maximum_backoff.total_seconds() == 600


@pytest.mark.parametrize(
    ("minimum", "maximum", "problem"),
    [(700, 800, "minimum_backoff"), (1, 601, "maximum_backoff"), (70, 7, "maximum_backoff")],
)
def test_a_retry_policy_out_of_bounds_is_refused(pubsub, minimum, maximum, problem):
    topic = pubsub.topic()
    policy = types.RetryPolicy(
        minimum_backoff=duration_pb2.Duration(seconds=minimum),
        maximum_backoff=duration_pb2.Duration(seconds=maximum),
    )

    with pytest.raises(exceptions.InvalidArgument, match=problem):
        pubsub.subscription(topic, retry_policy=policy)


def test_a_push_endpoint_that_is_no_url_is_refused(pubsub):
    topic = pubsub.topic()

    with pytest.raises(exceptions.InvalidArgument, match=r"push.endpoint"):
        pubsub.subscription(topic, push_config={"push_endpoint": "nonsense"})


@pytest.mark.parametrize("path", ["topic", "filter", "enable_message_ordering"])
def test_what_is_fixed_at_creation_cannot_be_updated(pubsub, path):
    name = pubsub.subscription(pubsub.topic())

    with pytest.raises(exceptions.InvalidArgument):
        update(pubsub, name, [path])


@pytest.mark.parametrize("paths", [[], ["nonsense"]])
def test_an_update_mask_without_a_field_is_refused(pubsub, paths):
    name = pubsub.subscription(pubsub.topic())

    with pytest.raises(exceptions.InvalidArgument, match="update_mask"):
        update(pubsub, name, paths)


def test_an_update_changes_the_fields_of_its_mask_and_no_other(pubsub):
    dead = pubsub.topic("dead")
    name = pubsub.subscription(pubsub.topic(), labels={"team": "cost"}, ack_deadline_seconds=30)

    update(
        pubsub,
        name,
        ["dead_letter_policy", "retry_policy", "message_retention_duration"],
        dead_letter_policy={"dead_letter_topic": dead, "max_delivery_attempts": 7},
        retry_policy={"minimum_backoff": duration_pb2.Duration(seconds=1)},
        message_retention_duration={"seconds": 3600},
        ack_deadline_seconds=99,
    )

    found = pubsub.subscriber.get_subscription(subscription=name)
    assert found.dead_letter_policy.max_delivery_attempts == 7
    assert found.retry_policy.minimum_backoff.total_seconds() == 1
    assert found.message_retention_duration.total_seconds() == 3600
    assert found.ack_deadline_seconds == 30
    assert dict(found.labels) == {"team": "cost"}


def test_a_masked_field_without_a_value_is_cleared(pubsub):
    policy, _ = pubsub.dead_letter_policy()
    name = pubsub.subscription(pubsub.topic(), dead_letter_policy=policy)

    update(pubsub, name, ["dead_letter_policy"])

    assert "dead_letter_policy" not in pubsub.subscriber.get_subscription(subscription=name)


def test_subscriptions_are_listed_page_by_page(pubsub):
    topic = pubsub.topic()
    names = {pubsub.subscription(topic, f"sub-{number}") for number in range(5)}

    pages = list(
        pubsub.subscriber.list_subscriptions(
            request={"project": pubsub.project, "page_size": 2}
        ).pages
    )

    assert [len(page.subscriptions) for page in pages] == [2, 2, 1]
    assert {item.name for page in pages for item in page.subscriptions} == names


def test_a_subscription_made_again_has_nothing_of_the_old_one(pubsub):
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"old")
    pubsub.subscriber.delete_subscription(subscription=subscription)

    pubsub.subscription(topic)
    pubsub.publish(topic, b"new")

    assert pubsub.pull_data(subscription, 1) == [b"new"]
    assert pubsub.pull_now(subscription) == []


def test_deleting_a_subscription_ends_its_delivery_from_the_topic(pubsub):
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)

    pubsub.subscriber.delete_subscription(subscription=subscription)

    assert list(pubsub.publisher.list_topic_subscriptions(topic=topic)) == []
    assert pubsub.publish(topic, b"x")
