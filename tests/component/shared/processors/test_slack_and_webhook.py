"""Messages and events arrive once, where they may go; what the other side says decides the rest."""

import base64
import hashlib
import hmac
import json
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.cloud.secretmanager_v1 import Secret, SecretPayload

from shared.clients import secret_manager_client
from shared.processors import outbound
from shared.processors.contract import AttemptFailedError, StepContext, StepResult
from shared.processors.outbound import DeliveryRefusedError, DestinationRefusedError
from shared.processors.shared.slack_notification import SlackConfig, SlackNotification
from shared.processors.shared.webhook import Webhook, WebhookConfig
from shared.processors.tenant_secrets import NoSecretError
from shared.settings import settings
from shared.warehouse.claims import ClaimHeldError
from tests.component.conftest import PROJECT, Cloud
from tests.receiver import Receiver, certificate, serve
from tests.runs import a_context, a_run

KEY = "a key of more than twenty-four bytes"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1")
    settings.cache_clear()
    found, server = serve()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def context(fresh: Callable[[], str]) -> StepContext:
    return a_context(a_run(fresh()), "tell")


def store(context: StepContext, name: str, value: str) -> None:
    made = secret_manager_client().create_secret(
        parent=f"projects/{PROJECT}",
        secret_id=f"tenant--{context.run.tenant_id}--{name}",
        secret=Secret({"replication": {"automatic": {}}}),
    )
    payload = SecretPayload(data=value.encode())
    secret_manager_client().add_secret_version(parent=made.name, payload=payload)


def slack(context: StepContext, **changes: Any) -> StepResult:
    values = {"webhook_secret": "slack-alerts", "title": "Failed", "message": "It < failed."}
    return SlackNotification().run(SlackConfig.model_validate(values | changes), context)


def tell(url: str, context: StepContext, **changes: Any) -> StepResult:
    values = {"url": url, "signing_secret": "webhook-key", "data": {"error": "ä"}} | changes
    return Webhook().run(WebhookConfig.model_validate(values), context)


def test_message_arrives_in_slack(
    context: StepContext, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1")
    settings.cache_clear()
    channel = f"services/T0/{context.run.tenant_id}/x"
    store(context, "slack-alerts", f"{cloud.mailbox_url}/slack/{channel}\n")

    slack(context)

    arrived = httpx.get(f"{cloud.mailbox_url}/slack").json()
    (message,) = [found["body"] for found in arrived if found["channel"] == channel]
    assert message["text"] == "Failed"
    assert message["blocks"][1]["text"]["text"] == "It &lt; failed."


def test_concurrent_calls_post_one_message(context: StepContext, receiver: Receiver) -> None:
    store(context, "slack-alerts", receiver.url)

    def outcome(_: int) -> str:
        try:
            slack(context)
        except ClaimHeldError:
            return "later"
        return "sent"

    with ThreadPoolExecutor(10) as pool:
        assert sorted(pool.map(outcome, range(10))) == ["later"] * 9 + ["sent"]
    assert len(receiver.requests) == 1


def test_429_is_asked_again_after_the_time_it_names(
    context: StepContext, receiver: Receiver
) -> None:
    store(context, "slack-alerts", receiver.url)
    receiver.answers += [(429, {"Retry-After": "1"}, b"")]
    began = time.monotonic()

    slack(context)

    assert time.monotonic() - began >= 0.9
    assert len(receiver.requests) == 2


def test_429_that_asks_for_longer_uses_up_the_attempt_and_says_how_long(
    context: StepContext, receiver: Receiver
) -> None:
    store(context, "slack-alerts", receiver.url)
    receiver.answers += [(429, {"Retry-After": "600"}, b"")]

    with pytest.raises(AttemptFailedError) as caught:
        slack(context)
    assert caught.value.retry_after_seconds == 600
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [408, 500, 503])
def test_other_failures_that_may_pass_are_not_repeated_at_once(
    status: int, context: StepContext, receiver: Receiver
) -> None:
    store(context, "slack-alerts", receiver.url)
    receiver.answers += [(status, {}, b"oops")]

    with pytest.raises(AttemptFailedError, match=str(status)):
        slack(context)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, {}, b"no_service"), "answered 404: no_service"),
        ((400, {}, b"Bad: you sent {}"), "answered 400$"),
        ((302, {"Location": "/elsewhere"}, b""), "redirects are not followed"),
    ],
)
def test_a_no_is_final_and_nothing_repeats_the_url(
    answer: Any,
    said: str,
    context: StepContext,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    store(context, "slack-alerts", receiver.url)
    receiver.answers += [answer]

    with pytest.raises(DeliveryRefusedError, match=said) as caught:
        slack(context)
    assert "secret 'slack-alerts'" in str(caught.value)
    assert "very-secret-token" not in f"{caught.value!r}{caplog.text}"
    assert len(receiver.requests) == 1


def test_secret_of_another_tenant_or_none_is_not_found(
    context: StepContext, fresh: Callable[[], str], receiver: Receiver
) -> None:
    store(a_context(a_run(fresh())), "slack-alerts", receiver.url)

    with pytest.raises(NoSecretError, match=f"tenant--{context.run.tenant_id}--slack-alerts"):
        slack(context)
    assert receiver.requests == []


def test_secret_that_is_no_url_is_not_repeated(context: StepContext) -> None:
    store(context, "slack-alerts", "xoxb-something-else")

    with pytest.raises(DestinationRefusedError, match="must be") as caught:
        slack(context)
    assert "xoxb" not in str(caught.value)


def test_event_arrives_signed(context: StepContext, receiver: Receiver) -> None:
    store(context, "webhook-key", KEY)

    result = tell(receiver.url, context, event="pipeline.failed")

    ((headers, body),) = receiver.requests
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(KEY.encode(), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert headers["webhook-id"] == result.outputs["webhook_id"]
    event = json.loads(body)
    assert event["type"] == "pipeline.failed"
    assert event["run"]["pipeline_logging_id"] == context.run.pipeline_logging_id
    assert event["data"] == {"error": "ä"}


def test_a_later_attempt_says_the_same_under_the_same_id(
    context: StepContext, receiver: Receiver
) -> None:
    store(context, "webhook-key", KEY)
    receiver.answers += [(500, {}, b"")]

    with pytest.raises(AttemptFailedError):
        tell(receiver.url, context)
    tell(receiver.url, a_context(context.run, "tell", attempt=2))

    (first, body), (second, same) = receiver.requests
    assert body == same
    assert first["webhook-id"] == second["webhook-id"] == second["idempotency-key"]


@pytest.mark.parametrize("key", ["too short", "whsec_AAAA", "whsec_not base64 but long enough"])
def test_key_that_is_none_signs_nothing(key: str, context: StepContext, receiver: Receiver) -> None:
    store(context, "webhook-key", key)

    with pytest.raises(NoSecretError, match="at least 24 bytes") as caught:
        tell(receiver.url, context)
    assert key not in str(caught.value)
    assert receiver.requests == []


def test_loopback_is_not_notified_where_it_is_not_allowed(
    context: StepContext, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(context, "webhook-key", KEY)
    monkeypatch.delenv("WEBHOOK_ALLOWED_HOSTS")
    settings.cache_clear()

    with pytest.raises(DestinationRefusedError, match="must be reached by https"):
        tell(receiver.url, context)
    with pytest.raises(DestinationRefusedError, match="inside of a network"):
        tell(receiver.url.replace("http:", "https:"), context)
    assert receiver.requests == []


@pytest.mark.parametrize("url", ["https://localhost/", "https://127.1/", "https://[::1]/"])
def test_ways_to_write_loopback_are_refused(url: str) -> None:
    with pytest.raises(DestinationRefusedError, match="inside of a network"):
        outbound.post(outbound.destination(url), b"{}", {})


def test_receiver_that_hangs_uses_up_the_attempt(
    context: StepContext, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "_EXCHANGE_SECONDS", 0.3)
    store(context, "webhook-key", KEY)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()

        with pytest.raises(AttemptFailedError, match="cannot be reached"):
            tell(f"http://127.0.0.1:{silent.getsockname()[1]}/", context)


def test_certificate_must_be_the_hosts(
    context: StepContext, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(context, "webhook-key", KEY)
    file = certificate(tmp_path, "127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    secured, server = serve(tls)
    try:
        with pytest.raises(AttemptFailedError, match="CERTIFICATE_VERIFY_FAILED"):
            tell(secured.url, context)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        tell(secured.url, a_context(context.run, "tell", attempt=2))
        wrong_host = secured.url.replace("127.0.0.1", "localhost")
        monkeypatch.setenv("WEBHOOK_ALLOWED_HOSTS", "localhost")
        settings.cache_clear()
        with pytest.raises(AttemptFailedError, match="Hostname mismatch"):
            tell(wrong_host, a_context(context.run, "tell", attempt=3))
    finally:
        server.shutdown()
        server.server_close()
    assert len(secured.requests) == 1
