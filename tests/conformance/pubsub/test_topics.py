import pytest
from google.api_core import exceptions
from google.protobuf import duration_pb2, field_mask_pb2


def test_a_created_topic_is_found_by_name(pubsub):
    topic = pubsub.topic("orders", labels={"team": "cost"})

    found = pubsub.publisher.get_topic(topic=topic)

    assert found.name == f"{pubsub.project}/topics/orders"
    assert dict(found.labels) == {"team": "cost"}


def test_creating_a_topic_twice_is_refused(pubsub):
    pubsub.topic("orders")

    with pytest.raises(exceptions.AlreadyExists):
        pubsub.topic("orders")


@pytest.mark.parametrize(
    "name", ["ab", "1abc", "goog-events", "a" * 256, "with space", "with!mark", ""]
)
def test_a_name_outside_of_the_grammar_is_refused(pubsub, name):
    with pytest.raises(exceptions.InvalidArgument, match=r"Invalid \[topics\] name"):
        pubsub.topic(name)


@pytest.mark.parametrize("name", ["abc", "x%20y", "a" * 255, "a.b-c_d~e+f"])
def test_a_name_within_the_grammar_is_taken(pubsub, name):
    assert pubsub.topic(name) == f"{pubsub.project}/topics/{name}"


@pytest.mark.parametrize("call", ["get", "delete", "update", "publish"])
def test_a_missing_topic_is_not_found(pubsub, call):
    name = pubsub.topic_name("missing")
    mask = field_mask_pb2.FieldMask(paths=["message_retention_duration"])
    calls = {
        "get": lambda: pubsub.publisher.get_topic(topic=name),
        "delete": lambda: pubsub.publisher.delete_topic(topic=name),
        "update": lambda: pubsub.publisher.update_topic(
            request={"topic": {"name": name}, "update_mask": mask}
        ),
        "publish": lambda: pubsub.publish(name, b"x"),
    }

    with pytest.raises(exceptions.NotFound):
        calls[call]()


def test_subscriptions_of_a_missing_topic_are_not_found(pubsub):
    with pytest.raises(exceptions.NotFound):
        list(pubsub.publisher.list_topic_subscriptions(topic=pubsub.topic_name("missing")))


def test_the_retention_of_a_topic_can_be_changed(pubsub):
    topic = pubsub.topic()

    pubsub.publisher.update_topic(
        request={
            "topic": {"name": topic, "message_retention_duration": {"seconds": 3600}},
            "update_mask": field_mask_pb2.FieldMask(paths=["message_retention_duration"]),
        }
    )

    found = pubsub.publisher.get_topic(topic=topic)
    assert found.message_retention_duration.total_seconds() == 3600


def test_an_update_touches_only_the_fields_of_its_mask(pubsub):
    topic = pubsub.topic(labels={"team": "cost"})

    changed = pubsub.publisher.update_topic(
        request={
            "topic": {"name": topic, "message_retention_duration": {"seconds": 3600}},
            "update_mask": field_mask_pb2.FieldMask(paths=["message_retention_duration"]),
        }
    )

    assert dict(changed.labels) == {"team": "cost"}


def test_labels_of_a_topic_can_be_changed(pubsub):
    topic = pubsub.topic(labels={"team": "cost"})

    changed = pubsub.publisher.update_topic(
        request={
            "topic": {"name": topic, "labels": {"team": "run"}},
            "update_mask": field_mask_pb2.FieldMask(paths=["labels"]),
        }
    )

    assert dict(changed.labels) == {"team": "run"}


@pytest.mark.parametrize("paths", [[], ["nonsense"], ["name"]])
def test_an_update_mask_without_a_mutable_field_is_refused(pubsub, paths):
    topic = pubsub.topic()

    with pytest.raises(exceptions.InvalidArgument, match="update_mask"):
        pubsub.publisher.update_topic(
            request={
                "topic": {"name": topic},
                "update_mask": field_mask_pb2.FieldMask(paths=paths),
            }
        )


@pytest.mark.parametrize("seconds", [599, 31 * 24 * 3600 + 1])
def test_a_retention_out_of_bounds_is_refused(pubsub, seconds):
    with pytest.raises(exceptions.InvalidArgument, match="message_retention_duration"):
        pubsub.topic(message_retention_duration=duration_pb2.Duration(seconds=seconds))


def test_topics_are_listed_page_by_page(pubsub):
    names = {pubsub.topic(f"topic-{number}") for number in range(5)}

    pages = list(
        pubsub.publisher.list_topics(request={"project": pubsub.project, "page_size": 2}).pages
    )

    assert [len(page.topics) for page in pages] == [2, 2, 1]
    assert {topic.name for page in pages for topic in page.topics} == names


def test_subscriptions_of_a_topic_are_listed(pubsub):
    topic, other = pubsub.topic("one"), pubsub.topic("other")
    subscriptions = {pubsub.subscription(topic, f"sub-{number}") for number in range(3)}
    pubsub.subscription(other, "elsewhere")

    assert set(pubsub.publisher.list_topic_subscriptions(topic=topic)) == subscriptions


def test_subscriptions_outlive_their_topic_and_keep_what_they_hold(pubsub):
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"kept")

    pubsub.publisher.delete_topic(topic=topic)

    found = pubsub.subscriber.get_subscription(subscription=subscription)
    assert found.topic == "_deleted-topic_"
    assert pubsub.pull_data(subscription, 1) == [b"kept"]


def test_a_topic_made_again_has_nothing_of_the_old_one(pubsub):
    topic = pubsub.topic()
    old = pubsub.subscription(topic, "old")
    pubsub.publisher.delete_topic(topic=topic)
    pubsub.topic()
    new = pubsub.subscription(topic, "new")

    pubsub.publish(topic, b"for the new one")

    assert pubsub.pull_data(new, 1) == [b"for the new one"]
    assert pubsub.pull_now(old) == []
