"""One mail per run and step, whoever asks how often; what the mail server says decides the rest."""

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.clients import secret_manager_client
from shared.processors.contract import AttemptFailedError, StepContext
from shared.processors.shared.email_notification import (
    EmailConfig,
    EmailNotification,
    MailRefusedError,
)
from shared.settings import SettingsError, settings
from shared.warehouse.claims import ClaimHeldError
from tests.component.conftest import PROJECT, Cloud
from tests.runs import a_context, a_run


@pytest.fixture
def address(fresh: Callable[[], str]) -> str:
    """A recipient whose mails are this test's."""
    return f"{fresh()}@acme.example"


@pytest.fixture
def context() -> StepContext:
    """The first attempt of a step of a new run."""
    return a_context(a_run(), "notify")


def notify(address: str, context: StepContext, **changes: Any) -> Any:
    values = {"to_emails": [address], "subject": "Failed", "message": "It failed."} | changes
    return EmailNotification().run(EmailConfig.model_validate(values), context)


def test_mail_arrives_with_its_text_and_its_run(
    address: str, context: StepContext, cloud: Cloud
) -> None:
    result = notify(address, context, subject="Zürich: 100 €", message="ä\nb", html="<b>ä</b>")

    (mail,) = cloud.mails(address)
    assert mail["subject"] == "Zürich: 100 €"
    assert (mail["text"].split(), mail["html"].strip()) == (["ä", "b"], "<b>ä</b>")
    assert mail["headers"]["Message-ID"] == result.outputs["message_id"]
    assert mail["headers"]["X-Pipeline-Logging-ID"] == context.run.pipeline_logging_id


def test_all_recipients_get_the_one_mail(address: str, context: StepContext, cloud: Cloud) -> None:
    second = f"second-{address}"

    notify(address, context, to_emails=[address, second])

    assert cloud.mails(address) == cloud.mails(second)


def test_concurrent_calls_send_one_mail_and_the_others_are_for_later(
    address: str, context: StepContext, cloud: Cloud
) -> None:
    def outcome(_: int) -> str:
        try:
            notify(address, context)
        except ClaimHeldError:
            return "later"
        return "sent"

    with ThreadPoolExecutor(20) as pool:
        outcomes = sorted(pool.map(outcome, range(20)))

    assert outcomes == ["later"] * 19 + ["sent"]
    assert len(cloud.mails(address)) == 1


def test_mail_of_a_later_attempt_has_the_same_id_by_which_copies_are_dropped(
    address: str, cloud: Cloud
) -> None:
    run = a_run()
    first = notify(address, a_context(run, "notify", attempt=1))
    second = notify(address, a_context(run, "notify", attempt=2))

    assert first.outputs == second.outputs
    assert len(cloud.mails(address)) == 2


@pytest.mark.parametrize("code", [421, 451, 452])
def test_mail_server_that_asks_to_come_again_uses_up_the_attempt(
    code: int, address: str, context: StepContext, cloud: Cloud
) -> None:
    cloud.fail_mail(code)

    with pytest.raises(AttemptFailedError, match=str(code)):
        notify(address, context)
    assert cloud.mails(address) == []


@pytest.mark.parametrize("code", [550, 552, 554])
def test_mail_server_that_says_no_is_not_asked_again(
    code: int, address: str, context: StepContext, cloud: Cloud
) -> None:
    cloud.fail_mail(code)

    with pytest.raises(MailRefusedError, match=str(code)):
        notify(address, context)
    assert cloud.mails(address) == []


def test_mail_server_that_is_away_uses_up_the_attempt(
    address: str, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("SMTP_PORT", str(unused.getsockname()[1]))
        settings.cache_clear()

        with pytest.raises(AttemptFailedError, match=r"mail server 127\.0\.0\.1"):
            notify(address, context)


def test_mail_server_that_hangs_uses_up_the_attempt(
    address: str, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.processors.shared.email_notification._SMTP_TIMEOUT_SECONDS", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("SMTP_PORT", str(silent.getsockname()[1]))
        settings.cache_clear()

        with pytest.raises(AttemptFailedError, match="timed out"):
            notify(address, context)


def test_mail_is_not_sent_in_the_clear_where_encryption_is_asked_for(
    address: str, context: StepContext, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_STARTTLS", "true")
    settings.cache_clear()

    with pytest.raises(AttemptFailedError, match="STARTTLS"):
        notify(address, context)
    assert cloud.mails(address) == []


def test_without_a_mail_server_the_variable_is_named(
    address: str, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SMTP_HOST")
    settings.cache_clear()

    with pytest.raises(SettingsError, match="SMTP_HOST is not set"):
        notify(address, context)


def test_a_password_that_is_rotated_at_the_mail_server_first_costs_an_attempt_and_no_mail(
    address: str, cloud: Cloud, fresh: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = secret_manager_client().create_secret(
        parent=f"projects/{PROJECT}", secret_id=fresh(), secret={"replication": {"automatic": {}}}
    )

    def add(password: bytes) -> None:
        secret_manager_client().add_secret_version(parent=secret.name, payload={"data": password})

    add(b"old\n")
    monkeypatch.setenv("SMTP_USERNAME", "convergence")
    monkeypatch.setenv("SMTP_PASSWORD_SECRET", f"{secret.name}/versions/latest")
    settings.cache_clear()
    run = a_run()
    with cloud.mail_passwords("old"):
        notify(address, a_context(run, "first"))
    with cloud.mail_passwords("new"):
        with pytest.raises(AttemptFailedError, match="does not take the password") as refused:
            notify(address, a_context(run, "second"))
        add(b"new\n")
        notify(address, a_context(run, "second", attempt=2))

    assert "old" not in str(refused.value)
    assert len(cloud.mails(address)) == 2
