import smtplib
import time
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path

import httpx
import pytest

from infra.local.mailbox.server import MailboxService, start
from infra.local.service import StartupError


def letter(subject: str = "Kosten für Müller & Söhne") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Convergence <no-reply@convergence.local>"
    message["To"] = "ada@example.com"
    message["Subject"] = subject
    message["Message-ID"] = make_msgid(idstring="run-1" * 20, domain="convergence.local")
    message.set_content("Netto: 12,34 €\n")
    message.add_alternative("<p>Netto: <b>12,34 €</b></p>\n", subtype="html")
    return message


def send(port: int, message: EmailMessage, to: list[str] | None = None) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=5) as smtp:
        smtp.send_message(message, to_addrs=to)


def test_a_mail_is_listed_as_its_reader_sees_it(
    mailbox: MailboxService, http: httpx.Client
) -> None:
    sent = letter()
    send(mailbox.smtp_port, sent, ["ada@example.com", "bcc@example.com"])
    (mail,) = http.get("/messages").json()
    assert mail["from"] == "no-reply@convergence.local"
    assert mail["to"] == ["ada@example.com", "bcc@example.com"]
    assert mail["subject"] == "Kosten für Müller & Söhne"
    assert mail["text"].splitlines() == ["Netto: 12,34 €"]
    assert "<b>12,34 €</b>" in mail["html"]
    assert mail["headers"]["Message-ID"] == sent["Message-ID"]
    assert http.get(f"/messages/{mail['id']}").json() == mail


def test_the_newest_mail_comes_first_and_filters_narrow(
    mailbox: MailboxService, http: httpx.Client
) -> None:
    send(mailbox.smtp_port, letter("Run failed"), ["ada@example.com"])
    send(mailbox.smtp_port, letter("Run completed"), ["bob@example.com"])

    def subjects(**params: str) -> list[str]:
        return [mail["subject"] for mail in http.get("/messages", params=params).json()]

    assert subjects() == ["Run completed", "Run failed"]
    assert subjects(to="ADA@example.com") == ["Run failed"]
    assert subjects(subject="completed") == ["Run completed"]
    assert subjects(to="ada@example.com", subject="completed") == []


def test_a_deleted_mailbox_is_empty(mailbox: MailboxService, http: httpx.Client) -> None:
    send(mailbox.smtp_port, letter())
    assert http.delete("/messages").json() == {"deleted": 1}
    assert http.get("/messages").json() == []
    assert http.get("/messages/none").status_code == 404


def test_any_credentials_are_accepted(mailbox: MailboxService, http: httpx.Client) -> None:
    with smtplib.SMTP("127.0.0.1", mailbox.smtp_port, timeout=5) as smtp:
        smtp.login("somebody", "secret")
        smtp.send_message(letter())
    assert len(http.get("/messages").json()) == 1


def test_the_page_shows_letters_and_trusts_none(
    mailbox: MailboxService, http: httpx.Client
) -> None:
    send(mailbox.smtp_port, letter("<script>alert(1)</script>"))
    page = http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text


@pytest.mark.parametrize("code", [451, 550])
def test_faults_refuse_as_many_mails_as_they_say(
    mailbox: MailboxService, http: httpx.Client, code: int
) -> None:
    http.post("/_local/faults", json={"times": 2, "smtp_code": code}).raise_for_status()
    for _ in range(2):
        with pytest.raises(smtplib.SMTPDataError) as refused:
            send(mailbox.smtp_port, letter())
        assert refused.value.smtp_code == code
    assert http.get("/messages").json() == []
    send(mailbox.smtp_port, letter())
    assert len(http.get("/messages").json()) == 1


def test_a_delay_holds_the_answer_back(mailbox: MailboxService, http: httpx.Client) -> None:
    http.post("/_local/faults", json={"times": 1, "delay_seconds": 0.3})
    began = time.monotonic()
    send(mailbox.smtp_port, letter())
    assert time.monotonic() - began >= 0.3
    assert len(http.get("/messages").json()) == 1


def test_faults_can_be_taken_back_and_misspelt_ones_are_refused(
    mailbox: MailboxService, http: httpx.Client
) -> None:
    http.post("/_local/faults", json={"times": 5, "smtp_code": 451})
    http.delete("/_local/faults")
    send(mailbox.smtp_port, letter())
    assert http.post("/_local/faults", json={"smtp": 451}).status_code == 422


def test_slack_messages_are_kept_per_channel(http: httpx.Client) -> None:
    answer = http.post("/slack/services/T0/B0/x", json={"text": "Run failed"})
    assert (answer.status_code, answer.text) == (200, "ok")
    http.post("/slack/alerts", json={"blocks": [{"type": "divider"}]})
    newest, oldest = http.get("/slack").json()
    assert (newest["channel"], newest["body"]["blocks"][0]["type"]) == ("alerts", "divider")
    assert (oldest["channel"], oldest["body"]) == ("services/T0/B0/x", {"text": "Run failed"})
    assert http.delete("/slack").json() == {"deleted": 2}


def test_slack_refuses_what_slack_would(http: httpx.Client) -> None:
    malformed = http.post("/slack/alerts", content=b"{")
    assert (malformed.status_code, malformed.text) == (400, "invalid_payload")
    empty = http.post("/slack/alerts", json={"channel": "x"})
    assert (empty.status_code, empty.text) == (400, "no_text")


def test_letters_outlive_a_restart(tmp_path: Path) -> None:
    service = start(host="127.0.0.1", port=0, state=tmp_path)
    send(service.smtp_port, letter())
    service.stop()
    service = start(host="127.0.0.1", port=0, state=tmp_path)
    mails = httpx.get(f"http://127.0.0.1:{service.port}/messages").json()
    service.stop()
    assert [mail["subject"] for mail in mails] == ["Kosten für Müller & Söhne"]


def test_a_corrupt_state_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "mails.jsonl").write_text("{not json\n")
    with pytest.raises(StartupError, match=r"mails\.jsonl cannot be used .*delete it"):
        start(host="127.0.0.1", port=0, state=tmp_path)


def test_either_port_in_use_is_named(mailbox: MailboxService) -> None:
    for ports in (
        {"port": mailbox.port, "smtp_port": 0},
        {"port": 0, "smtp_port": mailbox.smtp_port},
    ):
        with pytest.raises(StartupError, match=r"port \d+ on 127.0.0.1 is in use"):
            start(host="127.0.0.1", state=None, **ports)
