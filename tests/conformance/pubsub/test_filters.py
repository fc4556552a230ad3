import pytest
from google.api_core import exceptions


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('attributes.kind = "cost"', ["cost-eu", "cost-us"]),
        ('attributes.kind != "cost"', ["none", "run-eu"]),
        ("attributes:region", ["cost-eu", "cost-us", "run-eu"]),
        ('hasPrefix(attributes.region, "e")', ["cost-eu", "run-eu"]),
        ('attributes.kind = "cost" AND attributes.region = "eu"', ["cost-eu"]),
        ('attributes.kind = "run" OR attributes.region = "us"', ["cost-us", "run-eu"]),
        ("NOT attributes:region", ["none"]),
        ('attributes:kind AND NOT (attributes.region = "eu")', ["cost-us"]),
    ],
)
def test_only_what_passes_the_filter_is_delivered(pubsub, expression, expected):
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, filter=expression)
    everything = pubsub.subscription(topic, "everything")
    pubsub.publish(topic, {"data": b"none", "attributes": {"other": "x"}})
    for kind, region in (("cost", "eu"), ("cost", "us"), ("run", "eu")):
        data = f"{kind}-{region}".encode()
        pubsub.publish(topic, {"data": data, "attributes": {"kind": kind, "region": region}})

    arrived = pubsub.pull_data(subscription, len(expected))

    assert sorted(arrived) == [name.encode() for name in expected]
    assert pubsub.pull_now(subscription) == []
    assert len(pubsub.pull_data(everything, 4)) == 4


@pytest.mark.parametrize(
    "expression", ["kind = x", 'attributes.a > "b"', 'attributes.a = "b" AND', "x" * 257]
)
def test_a_filter_outside_of_the_language_is_refused(pubsub, expression):
    topic = pubsub.topic()

    with pytest.raises(exceptions.InvalidArgument, match="filter"):
        pubsub.subscription(topic, filter=expression)
