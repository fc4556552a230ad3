"""kill -9 of the server, at any point: no acknowledged publish is lost."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from google.api_core import exceptions

from infra.local.pubsub.messages import now
from tests.waiting import wait_until

_SERVER = """
import sys, threading
from pathlib import Path
from infra.local.pubsub.server import start
print(start(host="127.0.0.1", port=0, state=Path(sys.argv[1])).port, flush=True)
threading.Event().wait()
"""


class Process:
    """A server in a process of its own, on a state directory."""

    def __init__(self, state: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(state)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.target = f"127.0.0.1:{int(self._process.stdout.readline())}"

    def kill(self) -> None:
        """End it at once; a second call does nothing."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


@pytest.fixture
def run(tmp_path):
    processes = []

    def start():
        processes.append(Process(tmp_path))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


def test_no_answered_publish_is_lost_when_the_server_is_killed(run, pubsub_on):
    process = run()
    pubsub = pubsub_on(process.target)
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    answered: list[str] = []

    def publish_until_killed():
        while True:
            try:
                answered.extend(pubsub.publish(topic, *[b"x" * 500] * 20))
            except exceptions.GoogleAPICallError:
                return

    publishers = [threading.Thread(target=publish_until_killed) for _ in range(3)]
    for thread in publishers:
        thread.start()
    wait_until(lambda: len(answered) > 2000, message="two thousand publishes")
    process.kill()
    for thread in publishers:
        thread.join()

    after = pubsub_on(run().target)
    received: set[str] = set()
    while messages := after.pull_now(subscription, most=1000):
        received |= {message.message.message_id for message in messages}
    assert set(answered) <= received


def test_after_a_kill_what_was_out_comes_again_and_what_was_acknowledged_does_not(run, pubsub_on):
    process = run()
    pubsub = pubsub_on(process.target)
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, ack_deadline_seconds=600)
    pubsub.publish(topic, *[b"%d" % number for number in range(100)])
    received = pubsub.pull(subscription, most=100)
    done, out = received[:40], received[40:]
    pubsub.acknowledge(subscription, done)
    process.kill()

    after = pubsub_on(run().target)

    again = after.pull_data(subscription, len(out))
    assert sorted(again) == sorted(message.message.data for message in out)
    assert after.pull_now(subscription) == []


def test_pushes_go_on_after_a_kill(run, pubsub_on, endpoint):
    back = threading.Event()
    endpoint.answer = lambda _: 204 if back.is_set() else 503
    process = run()
    pubsub = pubsub_on(process.target)
    topic = pubsub.topic()
    pubsub.subscription(
        topic,
        push_config={"push_endpoint": endpoint.url},
        retry_policy={"minimum_backoff": {"seconds": 60}},
    )
    ids = pubsub.publish(topic, *[{"data": b"x"}] * 20)
    endpoint.pushes(5)
    process.kill()
    back.set()
    tried = len(endpoint.received)

    run()

    wait_until(
        lambda: {push.message_id for push in endpoint.received[tried:]} == set(ids),
        message="every message, pushed after the kill",
    )


def test_message_ids_grow_over_a_kill(run, pubsub_on):
    process = run()
    pubsub = pubsub_on(process.target)
    topic = pubsub.topic()
    (before,) = pubsub.publish(topic, b"x")
    process.kill()

    (after,) = pubsub_on(run().target).publish(topic, b"x")

    assert int(before) < int(after) < (now() + 60) * 1e6
