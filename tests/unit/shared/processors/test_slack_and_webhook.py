"""What is said to Slack and to programs, to the letter."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.processors.shared import slack_notification, webhook
from shared.processors.shared.slack_notification import SlackConfig
from shared.processors.shared.webhook import WebhookConfig
from tests.runs import a_context, a_run


def slack(**changes: Any) -> SlackConfig:
    values = {"webhook_secret": "slack-alerts", "title": "Failed", "message": "It failed."}
    return SlackConfig.model_validate(values | changes)


def texts(value: Any) -> list[str]:
    """Every text object's text."""
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [text for inner in value.values() for text in texts(inner)]
    return [text for inner in value for text in texts(inner)] if isinstance(value, list) else []


def test_message_is_headline_text_fields_and_where_it_comes_from() -> None:
    run = a_run()
    said = slack_notification.compose(
        slack(fields={"Date": "2025-11-15", "Cost": "a < b"}), a_context(run, "tell")
    )

    header, section, fields, origin = said["blocks"]
    assert header["text"] == {"type": "plain_text", "text": "Failed", "emoji": False}
    assert section["text"] == {"type": "mrkdwn", "text": "It failed.", "verbatim": True}
    assert [field["text"] for field in fields["fields"]] == [
        "*Date*\n2025-11-15",
        "*Cost*\na &lt; b",
    ]
    assert run.pipeline_logging_id in origin["elements"][0]["text"]
    assert said["text"] == "Failed"


def test_values_mention_nobody_and_link_nowhere() -> None:
    text = "<!channel> <https://evil.example|click> & <@U123>"

    said = slack_notification.compose(
        slack(message=text, fields={"<!here>": text}), a_context(a_run())
    )

    mrkdwn = [block for block in json.dumps(said["blocks"][1:]).split('"') if "channel" in block]
    assert mrkdwn
    assert not any("<" in found for found in mrkdwn)
    assert said["blocks"][1]["text"]["text"].startswith("&lt;!channel&gt;")


@given(
    title=st.text(min_size=1, max_size=500),
    message=st.text(alphabet="<>&a\n", min_size=1, max_size=5000),
    value=st.text(alphabet="<>&é", max_size=3000),
)
def test_every_text_is_within_slacks_limits(title: str, message: str, value: str) -> None:
    said = slack_notification.compose(
        slack(title=title, message=message, fields={"n" * 300: value}), a_context(a_run())
    )

    header, section, fields, _ = said["blocks"]
    assert 1 <= len(header["text"]["text"]) <= 150
    assert 1 <= len(section["text"]["text"]) <= 3000
    assert all(len(field["text"]) <= 2000 for field in fields["fields"])
    for text in texts([section, fields]):
        plain = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        assert not {"<", ">", "&"} & set(plain)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "a/b",
        "../admin-api-key",
        "a--b",
        "a-",
        "x/versions/1",
        "https://hooks.slack.com/x",
        "a\n",
    ],
)
def test_secret_is_named_by_a_name(name: str) -> None:
    with pytest.raises(ValidationError, match="webhook_secret"):
        slack(webhook_secret=name)


def test_more_fields_than_slack_shows_are_refused() -> None:
    with pytest.raises(ValidationError, match="fields"):
        slack(fields={str(number): "x" for number in range(11)})


def test_event_is_signed_as_standard_webhooks_says() -> None:
    # The example of https://github.com/standard-webhooks/standard-webhooks, in its own libraries.
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'

    found = webhook.headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)

    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_every_try_says_the_same_under_the_same_id() -> None:
    run = a_run()
    config = WebhookConfig(url="https://h.example/", signing_secret="k", data={"a": "ä"})
    first = webhook.compose(config, a_context(run, "tell", attempt=1))
    again = webhook.compose(config, a_context(run, "tell", attempt=2))

    assert first == again
    assert first["id"] != webhook.compose(config, a_context(run, "tell_b"))["id"]
    signed = webhook.headers(b"k" * 24, first["id"], 1, b"{}")
    expected = hmac.new(b"k" * 24, f"{first['id']}.1.{{}}".encode(), hashlib.sha256).digest()
    assert signed["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"
    assert signed["Idempotency-Key"] == signed["webhook-id"] == first["id"]


def test_what_steps_leave_may_be_numbers_and_lists() -> None:
    """`"{steps.fetch.rows_processed}"` is a number, `"{steps.fetch.dates}"` a list."""
    left = {"rows": 4, "done": True, "cost": 1.5, "dates": ["2025-11-14", "2025-11-15"]}

    event = WebhookConfig(url="https://a.example/", signing_secret="k", data=left)
    shown = SlackConfig(webhook_secret="k", title="t", message="m", fields=left)

    assert event.data == left
    assert list(shown.fields.values()) == ["4", "true", "1.5", "2025-11-14, 2025-11-15"]
