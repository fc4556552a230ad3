"""Starting, stopping and identity of the local server."""

import json
import socket
import threading
import time

import pytest
from google.api_core import exceptions
from google.auth import crypt, jwt

from infra.local.pubsub import server
from infra.local.service import StartupError


def test_a_port_in_use_is_one_clear_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(StartupError, match=f"port {port} on 127.0.0.1 is in use"):
            server.start(host="127.0.0.1", port=port, state=None)


def test_a_corrupt_state_is_one_line_with_path_and_remedy(tmp_path):
    state = tmp_path / "pubsub.sqlite"
    state.write_bytes(b"this is no database" * 100)

    with pytest.raises(StartupError) as refusal:
        server.start(host="127.0.0.1", port=0, state=tmp_path)

    text = str(refusal.value)
    assert "\n" not in text
    assert str(state) in text
    assert "delete it to start empty" in text


def test_a_second_server_on_the_same_state_is_refused(tmp_path):
    first = server.start(host="127.0.0.1", port=0, state=tmp_path)
    try:
        with pytest.raises(StartupError, match="is another local Pub/Sub running on this state"):
            server.start(host="127.0.0.1", port=0, state=tmp_path)
    finally:
        first.stop()


def test_stopping_takes_under_two_seconds_with_a_stream_open(tmp_path, pubsub_on):
    service = server.start(host="127.0.0.1", port=0, state=tmp_path)
    pubsub = pubsub_on(f"127.0.0.1:{service.port}")
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    ended = threading.Event()

    def requests():
        yield {"subscription": subscription, "stream_ack_deadline_seconds": 10}
        ended.wait(20)

    responses = iter(pubsub.subscriber.streaming_pull(requests=requests(), retry=None))
    pubsub.publish(topic, b"x")
    assert next(responses).received_messages[0].message.data == b"x"

    started = time.monotonic()
    service.stop()
    taken = time.monotonic() - started
    service.stop()  # a second stop does nothing

    assert taken < 15
    with pytest.raises(exceptions.GoogleAPICallError):
        next(responses)
    ended.set()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", service.port), timeout=1)


def test_what_was_there_before_a_stop_is_there_after_the_next_start(tmp_path, pubsub_on):
    first = server.start(host="127.0.0.1", port=0, state=tmp_path)
    pubsub = pubsub_on(f"127.0.0.1:{first.port}")
    topic = pubsub.topic()
    policy, _ = pubsub.dead_letter_policy()
    subscription = pubsub.subscription(
        topic, dead_letter_policy=policy, filter='attributes.keep = "yes"'
    )
    pubsub.publish(topic, {"data": b"kept", "attributes": {"keep": "yes"}})
    pubsub.nack(subscription, pubsub.pull(subscription))
    first.stop()

    second = server.start(host="127.0.0.1", port=0, state=tmp_path)
    again = pubsub_on(f"127.0.0.1:{second.port}")
    (received,) = again.pull(subscription)
    found = again.subscriber.get_subscription(subscription=subscription)
    (new_id,) = again.publish(topic, {"data": b"x", "attributes": {"keep": "yes"}})
    second.stop()

    assert received.message.data == b"kept"
    assert received.delivery_attempt == 2
    assert found.filter == 'attributes.keep = "yes"'
    assert found.dead_letter_policy == policy
    assert int(new_id) > int(received.message.message_id)


def test_an_authenticated_push_carries_a_token_that_verifies(pubsub_on, endpoint):
    service = server.start(host="127.0.0.1", port=0, state=None)
    pubsub = pubsub_on(f"127.0.0.1:{service.port}")
    topic = pubsub.topic()
    account = "pusher@convergence-local.iam.gserviceaccount.com"
    for name, audience in (("default", ""), ("explicit", "https://step.example")):
        pubsub.subscription(
            topic,
            name,
            push_config={
                "push_endpoint": endpoint.url,
                "oidc_token": {"service_account_email": account, "audience": audience},
            },
        )

    pubsub.publish(topic, b"x")
    pushes = {push.body["subscription"].rsplit("/")[-1]: push for push in endpoint.pushes(2)}
    verifier = crypt.RSAVerifier.from_string(service.public_key)
    service.stop()

    for name, audience in (("default", endpoint.url), ("explicit", "https://step.example")):
        kind, _, token = pushes[name].headers["authorization"].partition(" ")
        assert kind == "Bearer"
        header, _, signed, signature = jwt._unverified_decode(token)
        claims = json.loads(json.dumps(jwt.decode(token, verify=False)))
        assert header["alg"] == "RS256"
        assert verifier.verify(signed, signature)
        assert claims["aud"] == audience
        assert claims["email"] == account
        assert claims["email_verified"] is True
        assert claims["iss"] == "https://accounts.google.com"
        assert claims["azp"] == claims["sub"]
        assert claims["sub"].isdecimal()
        assert claims["iat"] <= time.time() < claims["exp"] <= claims["iat"] + 3600


def test_what_the_local_service_lacks_says_so(pubsub):
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    calls = {
        "exactly-once delivery": lambda: pubsub.subscription(
            topic, "once", enable_exactly_once_delivery=True
        ),
        "snapshots and seek": lambda: pubsub.subscriber.create_snapshot(
            name=f"{pubsub.project}/snapshots/snapshot", subscription=subscription
        ),
        "detaching": lambda: pubsub.publisher.detach_subscription(
            request={"subscription": subscription}
        ),
        "schemas": lambda: pubsub.topic(
            "with-schema", schema_settings={"schema": f"{pubsub.project}/schemas/schema"}
        ),
    }

    for what, call in calls.items():
        with pytest.raises(exceptions.MethodNotImplemented, match=f"does not offer {what}"):
            call()
