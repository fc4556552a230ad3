import json

import pytest

from infra.local.pubsub import wire
from infra.local.pubsub.envelope import push_request


def config(**push_config):
    return wire.Subscription(
        name="projects/p/subscriptions/s",
        push_config={"push_endpoint": "http://127.0.0.1/x", **push_config},
    )


@pytest.fixture
def message():
    made = wire.PubsubMessage(
        data=b"hello", message_id="8", ordering_key="k", attributes={"b": "2", "a": "1"}
    )
    made.publish_time.FromJsonString("2025-11-18T06:00:01.234Z")
    return made


def test_the_body_is_the_one_of_the_service(message):
    push = push_request(config(), message.SerializeToString(), attempt=3)

    assert json.loads(push.content) == {
        "message": {
            "data": "aGVsbG8=",
            "attributes": {"a": "1", "b": "2"},
            "messageId": "8",
            "message_id": "8",
            "publishTime": "2025-11-18T06:00:01.234Z",
            "publish_time": "2025-11-18T06:00:01.234Z",
            "orderingKey": "k",
        },
        "subscription": "projects/p/subscriptions/s",
        "deliveryAttempt": 3,
    }
    assert push.headers == {
        "content-type": "application/json",
        "user-agent": "CloudPubSub-Google",
    }


def test_what_is_empty_is_left_out():
    push = push_request(
        config(), wire.PubsubMessage(message_id="8").SerializeToString(), attempt=None
    )

    body = json.loads(push.content)
    assert set(body) == {"message", "subscription"}
    assert set(body["message"]) == {"messageId", "message_id", "publishTime", "publish_time"}


def test_without_wrapper_the_body_is_the_data(message):
    push = push_request(config(no_wrapper={}), message.SerializeToString(), attempt=1)

    assert push.content == b"hello"
    assert set(push.headers) == {"user-agent"}


def test_metadata_goes_into_headers(message):
    message.attributes["split"] = "two\r\nx-injected: lines"
    message.attributes["not a header"] = "x"

    push = push_request(
        config(no_wrapper={"write_metadata": True}), message.SerializeToString(), attempt=2
    )

    assert push.headers["x-goog-pubsub-message-id"] == "8"
    assert push.headers["x-goog-pubsub-publish-time"] == "2025-11-18T06:00:01.234Z"
    assert push.headers["x-goog-pubsub-ordering-key"] == "k"
    assert push.headers["x-goog-pubsub-delivery-attempt"] == "2"
    assert push.headers["a"] == "1"
    assert push.headers["split"] == "two  x-injected: lines"
    assert "not a header" not in push.headers
