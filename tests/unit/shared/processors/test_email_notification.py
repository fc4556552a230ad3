from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import SMTP
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.processors.contract import AttemptFailedError
from shared.processors.shared.email_notification import (
    EmailConfig,
    MailRefusedError,
    compose,
    smtp_error,
)
from shared.settings import settings
from tests.runs import a_context, a_run

HEADERS = {
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "X-Pipeline-Logging-ID",
    "Auto-Submitted",
    "Content-Type",
    "Content-Transfer-Encoding",
    "MIME-Version",
}


def config(**changes: Any) -> EmailConfig:
    values = {"to_emails": ["ops@acme.example"], "subject": "Failed", "message": "It failed."}
    return EmailConfig.model_validate(values | changes)


def received(mail: Any) -> Any:
    """The mail as the other side reads it."""
    return message_from_bytes(mail.as_bytes(policy=SMTP), policy=SMTP)


def test_mail_says_what_the_step_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_FROM", "Convergence <no-reply@example.com>")
    settings.cache_clear()
    run = a_run()
    text = "Zürich: 100 €\nZweite Zeile"

    mail = received(
        compose(
            config(to_emails=["a@x.example", "b@y.example"], subject="Ärger", message=text),
            a_context(run, "notify"),
        )
    )

    assert mail["From"] == "Convergence <no-reply@example.com>"
    assert mail["To"] == "a@x.example, b@y.example"
    assert mail["Subject"] == "Ärger"
    assert mail["X-Pipeline-Logging-ID"] == run.pipeline_logging_id
    assert mail.get_content().replace("\r\n", "\n").rstrip("\n") == text


def test_html_comes_beside_the_text_never_instead() -> None:
    mail = received(compose(config(html="<p>It failed.</p>"), a_context(a_run())))

    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


def test_every_attempt_and_delivery_of_a_step_has_one_message_id_and_date() -> None:
    run = a_run(started_at=datetime.now(UTC) - timedelta(hours=2))
    first = compose(config(), a_context(run, "notify", attempt=1))
    second = compose(config(), a_context(run, "notify", attempt=2))
    other = compose(config(), a_context(run, "notify_again"))

    assert first["Message-ID"] == second["Message-ID"]
    assert first["Date"] == second["Date"]
    assert first["Message-ID"] != other["Message-ID"]


@given(subject=st.text(min_size=1, max_size=300), message=st.text(min_size=1, max_size=300))
def test_no_text_of_a_tenant_can_add_a_header_or_a_recipient(subject: str, message: str) -> None:
    mail = received(compose(config(subject=subject, message=message), a_context(a_run())))

    assert set(mail.keys()) <= HEADERS
    assert mail["To"] == "ops@acme.example"
    assert len(mail.keys()) == len(set(mail.keys()))


@pytest.mark.parametrize(
    "line_break", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x00"]
)
def test_line_breaks_in_a_subject_become_spaces(line_break: str) -> None:
    subject = f"Failed: a{line_break}Bcc: x@evil.example{line_break}"

    mail = received(compose(config(subject=subject), a_context(a_run())))

    assert set(mail.keys()) <= HEADERS
    assert mail["Subject"] == "Failed: a Bcc: x@evil.example"


@pytest.mark.parametrize(
    "to_emails",
    [
        [],
        ["nobody"],
        ["a@x.example, b@y.example"],
        ["a@x.example\nBcc: b@y.example"],
        ["<a@x.example>\r\n"],
        ["a@x.example"] * 51,
        "a@x.example",
        [None],
    ],
)
def test_recipients_are_one_to_fifty_addresses(to_emails: Any) -> None:
    with pytest.raises(ValidationError, match="to_emails"):
        config(to_emails=to_emails)


@pytest.mark.parametrize("code", [421, 450, 451, 452, 454])
def test_mail_server_that_says_later_uses_up_one_attempt(code: int) -> None:
    assert isinstance(smtp_error(code, "later"), AttemptFailedError)


@pytest.mark.parametrize("code", [500, 535, 550, 554, -1])
def test_mail_server_that_says_no_fails_the_step(code: int) -> None:
    error = smtp_error(code, "no such user")

    assert isinstance(error, MailRefusedError)
    assert str(error) == f"the mail server answered {code}: no such user"
