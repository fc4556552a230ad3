"""What arrived: mails as JSON, Slack messages, in memory or in a JSON-lines file."""

import contextlib
import json
import threading
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from email.parser import BytesParser
from email.policy import default as default_policy
from pathlib import Path
from typing import Any

from infra.local.service import StartupError

Letter = dict[str, Any]


class Letters:
    """Letters in the order of arrival. Safe for threads."""

    def __init__(self, file: Path | None) -> None:
        """Read `file` where there is one.

        Raises:
            StartupError: it holds something else than letters.
        """
        self._file = file
        self._lock = threading.Lock()
        self._letters: list[Letter] = _read(file) if file and file.exists() else []

    def add(self, letter: Letter) -> Letter:
        """Keep a letter; it gets an `id` and `received_at`."""
        kept = {
            "id": uuid.uuid4().hex,
            "received_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            **letter,
        }
        with self._lock:
            self._letters.append(kept)
            if self._file:
                with self._file.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(kept) + "\n")
        return kept

    def newest_first(self) -> list[Letter]:
        """All of them."""
        with self._lock:
            return self._letters[::-1]

    def clear(self) -> int:
        """Forget all; how many there were."""
        with self._lock:
            count = len(self._letters)
            self._letters.clear()
            if self._file:
                with contextlib.suppress(FileNotFoundError):
                    self._file.unlink()
        return count


def from_mail(content: bytes, sender: str, recipients: Iterable[str]) -> Letter:
    """A mail as its reader sees it, with the addresses of the SMTP envelope."""
    message = BytesParser(policy=default_policy).parsebytes(content)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    return {
        "from": sender,
        "to": list(recipients),
        "subject": str(message.get("Subject", "")),
        "text": _text_of(text),
        "html": _text_of(html),
        # A long value starts on its own line, which leaves a space before it.
        "headers": {name: str(value).strip() for name, value in message.items()},
        "attachments": [part.get_filename() or "" for part in message.iter_attachments()],
    }


def _text_of(part: Any) -> str | None:
    return str(part.get_content()) if part is not None else None


def _read(file: Path) -> list[Letter]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        letters = [json.loads(line) for line in lines if line]
    except (OSError, ValueError) as error:
        raise StartupError(
            f"state file {file} cannot be used ({error}): delete it to start empty"
        ) from error
    if not all(isinstance(letter, dict) and "id" in letter for letter in letters):
        raise StartupError(f"state file {file} does not hold letters: delete it to start empty")
    return letters
