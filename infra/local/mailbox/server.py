"""The mailbox: an SMTP server, a Slack webhook, and HTTP to read what arrived.

`GET /messages[?to=…&subject=…]`, `GET /messages/{id}`, `DELETE /messages`, `GET /slack`, and a page
to look at. `POST /_local/faults {"times": 2, "smtp_code": 451, "delay_seconds": 0}` makes the next
mails fail, `POST /_local/passwords {"accepted": ["…"]}` asks whoever logs in for one of these
(null: for none), which only tests do.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from infra.local.mailbox.letters import Letter, Letters, from_mail
from infra.local.mailbox.page import inbox
from infra.local.service import StartupError, UvicornService, listening_socket

MAX_MAIL_BYTES = 32 * 1024 * 1024


@dataclass
class Fault:
    """What the next `times` mails meet: a delay, then a refusal where `smtp_code` is given."""

    times: int = 0
    smtp_code: int | None = None
    delay_seconds: float = 0.0


class SmtpHandler:
    """Keeps every mail that no fault refuses."""

    def __init__(self, mails: Letters) -> None:
        self._mails = mails
        self.fault = Fault()
        self.passwords: frozenset[str] | None = None
        """Those that the account has; None: anybody may log in."""

    def authenticate(
        self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any
    ) -> AuthResult:
        """As aiosmtpd asks: `given` has a login and a password, in bytes."""
        known = self.passwords is None or given.password.decode() in self.passwords
        return AuthResult(success=known, handled=False)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        fault = self.fault
        if fault.times > 0:
            fault.times -= 1
            await asyncio.sleep(fault.delay_seconds)
            if fault.smtp_code:
                return f"{fault.smtp_code} refused by a fault of the local mailbox"
        content: bytes = envelope.original_content or envelope.content
        letter = self._mails.add(from_mail(content, envelope.mail_from, envelope.rcpt_tos))
        return f"250 kept as {letter['id']}"


class Mailbox:
    """The HTTP side."""

    def __init__(self, mails: Letters, slack: Letters, smtp: SmtpHandler) -> None:
        self._mails = mails
        self._slack = slack
        self._smtp = smtp

    async def page(self, _request: Request) -> Response:
        return HTMLResponse(inbox(self._mails.newest_first(), self._slack.newest_first()))

    async def messages(self, request: Request) -> Response:
        to, subject = request.query_params.get("to"), request.query_params.get("subject")
        return JSONResponse(
            [mail for mail in self._mails.newest_first() if _matches(mail, to, subject)]
        )

    async def message(self, request: Request) -> Response:
        wanted = request.path_params["id"]
        for mail in self._mails.newest_first():
            if mail["id"] == wanted:
                return JSONResponse(mail)
        return JSONResponse({"detail": f"there is no message {wanted}"}, status_code=404)

    async def clear(self, _request: Request) -> Response:
        return JSONResponse({"deleted": self._mails.clear()})

    async def slack_messages(self, _request: Request) -> Response:
        return JSONResponse(self._slack.newest_first())

    async def clear_slack(self, _request: Request) -> Response:
        return JSONResponse({"deleted": self._slack.clear()})

    async def slack_webhook(self, request: Request) -> Response:
        """Answers as Slack's incoming webhooks do."""
        try:
            body = await request.json()
        except ValueError:
            return PlainTextResponse("invalid_payload", status_code=400)
        if not isinstance(body, dict) or not any(
            body.get(k) for k in ("text", "blocks", "attachments")
        ):
            return PlainTextResponse("no_text", status_code=400)
        self._slack.add({"channel": request.path_params["channel"], "body": body})
        return PlainTextResponse("ok")

    async def set_fault(self, request: Request) -> Response:
        wanted = await request.json()
        try:
            self._smtp.fault = Fault(**wanted)
        except TypeError as error:
            return JSONResponse({"detail": str(error)}, status_code=422)
        return JSONResponse(wanted)

    async def clear_fault(self, _request: Request) -> Response:
        self._smtp.fault = Fault()
        return JSONResponse({})

    async def set_passwords(self, request: Request) -> Response:
        accepted = (await request.json())["accepted"]
        self._smtp.passwords = None if accepted is None else frozenset(accepted)
        return JSONResponse({})

    def routes(self) -> list[Route]:
        return [
            Route("/", self.page),
            Route("/messages", self.messages),
            Route("/messages", self.clear, methods=["DELETE"]),
            Route("/messages/{id}", self.message),
            Route("/slack", self.slack_messages),
            Route("/slack", self.clear_slack, methods=["DELETE"]),
            Route("/slack/{channel:path}", self.slack_webhook, methods=["POST"]),
            Route("/_local/faults", self.set_fault, methods=["POST"]),
            Route("/_local/faults", self.clear_fault, methods=["DELETE"]),
            Route("/_local/passwords", self.set_passwords, methods=["POST"]),
        ]


class MailboxService(UvicornService):
    """The HTTP server, on whose event loop the SMTP server runs too."""

    def __init__(self, app: Any, *, host: str, port: int, smtp_port: int) -> None:
        super().__init__(app, host=host, port=port)
        self.smtp_port = smtp_port


def _matches(mail: Letter, to: str | None, subject: str | None) -> bool:
    recipients = [address.lower() for address in mail["to"]]
    return (to is None or to.lower() in recipients) and (
        subject is None or subject.lower() in mail["subject"].lower()
    )


def _lifespan(handler: SmtpHandler, smtp_socket: socket.socket) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        def connection() -> SMTP:
            return SMTP(
                handler,
                data_size_limit=MAX_MAIL_BYTES,
                enable_SMTPUTF8=True,
                hostname="mailbox.local",
                auth_require_tls=False,
                authenticator=handler.authenticate,
            )

        server = await asyncio.get_running_loop().create_server(connection, sock=smtp_socket)
        try:
            yield
        finally:
            server.close()

    return lifespan


def start(*, host: str, port: int, state: Path | None, smtp_port: int = 0) -> MailboxService:
    """Serve HTTP on `port` and SMTP on `smtp_port` (0: any free one) until `stop`.

    Raises:
        StartupError: a port is taken, or the state cannot be used.
    """
    if state is not None:
        try:
            state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartupError(f"state directory {state} cannot be made: {error}") from error
    mails = Letters(state / "mails.jsonl" if state else None)
    slack = Letters(state / "slack.jsonl" if state else None)
    handler = SmtpHandler(mails)
    smtp_socket = listening_socket(host, smtp_port)
    app = Starlette(
        routes=Mailbox(mails, slack, handler).routes(), lifespan=_lifespan(handler, smtp_socket)
    )
    try:
        return MailboxService(app, host=host, port=port, smtp_port=smtp_socket.getsockname()[1])
    except BaseException:
        smtp_socket.close()
        raise
