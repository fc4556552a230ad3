"""The Pub/Sub suite runs against the local server, or against PUBSUB_CONFORMANCE_HOST.

    PUBSUB_CONFORMANCE_HOST=127.0.0.1:8085 .venv/bin/python -m pytest tests/conformance/pubsub

With that variable the files about what only the local server has are left out, and where Google's
emulator departs from Google's documentation the test must fail (`GAPS_OF_THE_EMULATOR`), so that
the list stays true.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from google.cloud import pubsub_v1

from infra.local.pubsub import server
from tests.conformance.pubsub.endpoint import Endpoint
from tests.conformance.pubsub.steps import PubSub

Clients = tuple[pubsub_v1.PublisherClient, pubsub_v1.SubscriberClient]

_OTHER = os.environ.get("PUBSUB_CONFORMANCE_HOST", "")
_HERE = Path(__file__).parent

collect_ignore = ["test_durability.py", "test_faults.py", "test_server.py"] if _OTHER else []

# Seen with pubsub-emulator 0.8.20; by test, or by test and parameters.
_NO_LIMITS = "does not check this limit"
_NO_FILTERS = "stores filters and delivers everything"
_NO_PULL_BACKOFF = "applies the retry policy to pushes only"
_OUT_OF_ORDER = "delivers a failed message after its successors"
_OTHER_PUSH = "has its own, older form of push requests"
GAPS_OF_THE_EMULATOR = {
    "test_a_deadline_above_ten_minutes_is_refused": _NO_LIMITS,
    "test_a_deadline_below_the_bounds_is_refused": _NO_LIMITS,
    "test_a_filter_outside_of_the_language_is_refused": _NO_FILTERS,
    "test_a_late_acknowledgement_counts_while_the_message_waits": _NO_PULL_BACKOFF,
    "test_a_later_message_is_delivered_again_though_it_was_acknowledged": _OUT_OF_ORDER,
    "test_a_nacked_message_does_not_hold_up_the_others": _NO_PULL_BACKOFF,
    "test_a_pull_of_nothing_is_refused[-1]": _NO_LIMITS,
    "test_a_push_carries_the_ordering_key": _OTHER_PUSH,
    "test_a_push_leaves_out_what_is_empty": _OTHER_PUSH,
    "test_a_push_says_that_it_is_of_the_service": _OTHER_PUSH,
    "test_a_push_subscription_cannot_be_pulled": "lets it be pulled",
    "test_a_retry_policy_delays_redelivery": _NO_PULL_BACKOFF,
    "test_after_a_dead_letter_its_ordering_key_goes_on": _OUT_OF_ORDER,
    "test_after_a_nack_the_key_comes_again_from_that_message_on": _OUT_OF_ORDER,
    "test_an_ordered_push_that_fails_is_repeated_before_its_successors": _OUT_OF_ORDER,
    "test_an_ordering_key_above_a_kilobyte_is_refused": _NO_LIMITS,
    "test_anything_else_is_repeated_until_it_is_acknowledged[203]": "takes 203 as well",
    "test_attributes_beyond_the_limits_are_refused": _NO_LIMITS,
    "test_flow_control_bounds_what_is_out": "sends a stream all there is",
    "test_labels_of_a_topic_can_be_changed": "does not know labels in a mask",
    "test_messages_that_together_exceed_one_answer_come_in_several": "answers beyond gRPC's 4 MiB",
    "test_more_than_ten_megabytes_are_refused": _NO_LIMITS,
    "test_only_what_passes_the_filter_is_delivered": _NO_FILTERS,
    "test_subscriptions_of_a_missing_topic_are_not_found": "answers with an empty list",
    "test_the_body_of_a_push_shows_the_delivery_attempt": _OTHER_PUSH,
}


def pytest_configure(config: pytest.Config) -> None:
    # The only way to ask what is deliverable at this moment.
    config.addinivalue_line(
        "filterwarnings", "ignore:The return_immediately flag is deprecated:DeprecationWarning"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not _OTHER or _HERE not in item.path.parents:
            continue
        gap = GAPS_OF_THE_EMULATOR.get(item.name) or GAPS_OF_THE_EMULATOR.get(
            getattr(item, "originalname", "")
        )
        if gap:
            item.add_marker(pytest.mark.xfail(reason=f"emulator: {gap}", strict=True))


@pytest.fixture(scope="session")
def target() -> Iterator[str]:
    """`host:port` of the server under test."""
    if _OTHER:
        yield _OTHER
        return
    service = server.start(host="127.0.0.1", port=0, state=None)
    yield f"{service.host}:{service.port}"
    service.stop()


@contextmanager
def _clients(target: str) -> Iterator[Clients]:
    """Google's clients, which find a server by the environment while they are made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", target)
        publisher = pubsub_v1.PublisherClient(
            publisher_options=pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
        )
        subscriber = pubsub_v1.SubscriberClient()
    yield publisher, subscriber
    publisher.stop()
    publisher.transport.close()
    subscriber.close()


@pytest.fixture(scope="session")
def clients(target: str) -> Iterator[Clients]:
    with _clients(target) as made:
        yield made


@pytest.fixture
def pubsub(target: str, clients: Clients) -> PubSub:
    """A fresh project on the server under test."""
    return PubSub(target, *clients)


@pytest.fixture
def pubsub_on() -> Iterator[Callable[[str], PubSub]]:
    """pubsub_on(target): the same project on whichever server the test started."""
    project = f"projects/p-{uuid.uuid4().hex[:12]}"
    with ExitStack() as stack:

        def connect(target: str) -> PubSub:
            return PubSub(target, *stack.enter_context(_clients(target)), project=project)

        yield connect


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An HTTP server that pushes can go to."""
    server_under_push = Endpoint()
    yield server_under_push
    server_under_push.close()
