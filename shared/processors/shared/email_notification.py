"""`shared.email_notification`: one mail per run and step, over SMTP."""

import re
import uuid
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Annotated, Any, ClassVar

from pydantic import EmailStr, Field

from shared import secret_values
from shared.errors import Permanent
from shared.models import Model
from shared.processors.contract import (
    AttemptFailedError,
    Html,
    Processor,
    StepContext,
    StepResult,
)
from shared.settings import settings
from shared.telemetry import log
from shared.warehouse import claims

_SMTP_TIMEOUT_SECONDS = 15.0
_LEASE_SECONDS = 60.0
"""Longer than a mail can take, so that nobody takes over from a sender that is still at it."""
_INFO = 20
_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
"""All that any mail software could take for the end of a header."""


class EmailConfig(Model):
    """Whom to tell what."""

    to_emails: tuple[EmailStr, ...] = Field(
        min_length=1, max_length=50, description="Recipients; one mail goes to all of them."
    )
    subject: str = Field(
        min_length=1, max_length=500, description="Subject; line breaks in it become spaces."
    )
    message: str = Field(min_length=1, max_length=100_000, description="Body as plain text.")
    html: Annotated[str, Html] | None = Field(
        default=None,
        max_length=200_000,
        description="The same body as HTML, if wanted; what placeholders put in is escaped.",
    )


class MailRefusedError(Permanent):
    """The mail server will not take this mail, now or later."""

    code = "mail-refused"


class EmailNotification(Processor[EmailConfig]):
    """Sends a mail.

    Example:
        ```yaml
        - step_id: "notify_on_failure"
          ps_type: "shared.email_notification"
          trigger: "on_failure"
          to_emails: ["{admin_email}"]
          subject: "[ALERT] {pipeline_id} failed"
          message: "Run {pipeline_logging_id}: {error_message}"
        ```
    """

    ps_type = "shared.email_notification"
    config_model: ClassVar[type[Model]] = EmailConfig
    outputs = frozenset({"message_id"})

    def run(self, config: EmailConfig, context: StepContext) -> StepResult:
        """Send the mail once.

        A claim keeps concurrent deliveries apart, the step log keeps later ones away. If the
        process dies between the mail server's yes and the log, the mail goes out again with the
        same Message-ID, by which mailboxes drop the copy.

        Raises:
            ClaimHeldError: another delivery is sending it now.
            AttemptFailedError: the mail server is away or asks to come again (4xx).
            MailRefusedError: the mail server says no (5xx).
        """
        key = f"{context.work_id}--mail--{context.attempt}"
        claims.take(key, owner=str(uuid.uuid4()), lease_seconds=_LEASE_SECONDS)
        mail = compose(config, context)
        send(mail)
        return StepResult(outputs={"message_id": mail["Message-ID"]})


def compose(config: EmailConfig, context: StepContext) -> EmailMessage:
    """The mail; nothing in a text can begin another header.

    An error's text may hold line breaks; the mail that reports it goes out all the same.
    """
    name, sender = parseaddr(settings().SMTP_FROM)
    domain = sender.rpartition("@")[2] or "localhost"
    mail = EmailMessage()
    mail["From"] = Address(display_name=name, addr_spec=sender)
    mail["To"] = ", ".join(config.to_emails)
    mail["Subject"] = _LINE_BREAKS.sub(" ", config.subject).strip()
    mail["Date"] = formatdate(context.run.started_at.timestamp())
    mail["Message-ID"] = f"<{context.run.pipeline_logging_id}.{context.step_id}@{domain}>"
    mail["X-Pipeline-Logging-ID"] = context.run.pipeline_logging_id
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(config.message)
    if config.html:
        mail.add_alternative(config.html, subtype="html")
    return mail


def send(mail: EmailMessage) -> None:
    """Hand `mail` to the mail server of the settings.

    Raises:
        AttemptFailedError: not now, the account's password refused included.
        MailRefusedError: never.
        SettingsError: SMTP_HOST is not set.
    """
    import smtplib

    here = settings()
    host = here.require("SMTP_HOST")
    try:
        with smtplib.SMTP(host, here.SMTP_PORT, timeout=_SMTP_TIMEOUT_SECONDS) as server:
            _log_in(server)
            refused = server.send_message(mail)
    except smtplib.SMTPAuthenticationError as error:
        # The account's password, not the mail: it may just have been rotated.
        secret_values.forget(here.SMTP_PASSWORD_SECRET or "")
        raise AttemptFailedError(
            f"mail server {host}:{here.SMTP_PORT} does not take the password of SMTP_USERNAME"
        ) from error
    except smtplib.SMTPRecipientsRefused as error:
        code = max(code for code, _ in error.recipients.values())
        raise smtp_error(code, f"all recipients refused: {error.recipients}") from error
    except smtplib.SMTPResponseException as error:
        raise smtp_error(error.smtp_code, str(error.smtp_error)) from error
    except (OSError, smtplib.SMTPException) as error:
        raise AttemptFailedError(f"mail server {host}:{here.SMTP_PORT}: {error}") from error
    if refused:
        log(_INFO, "some recipients were refused", recipients=sorted(refused))


def _log_in(server: Any) -> None:
    here = settings()
    if here.SMTP_STARTTLS:
        import ssl

        server.starttls(context=ssl.create_default_context())
    if here.SMTP_USERNAME and here.SMTP_PASSWORD_SECRET:
        password = secret_values.secret_value(here.SMTP_PASSWORD_SECRET).decode().strip()
        server.login(here.SMTP_USERNAME, password)


def smtp_error(code: int, text: str) -> Exception:
    """4xx is worth another attempt, everything else is not (RFC 5321, section 4.2.1)."""
    kind = AttemptFailedError if 400 <= code < 500 else MailRefusedError
    return kind(f"the mail server answered {code}: {text}")
