"""The mailbox's page: what arrived, newest first."""

from collections.abc import Sequence
from html import escape

from infra.local.mailbox.letters import Letter

_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Local mailbox</title>
<meta name="viewport" content="width=device-width">
<style>body{font:15px/1.5 system-ui;max-width:52rem;margin:2rem auto;padding:0 1rem}
article{border-top:1px solid #ccc;padding:.6rem 0}pre{white-space:pre-wrap;margin:.3rem 0}
small{color:#666}</style><h1>Local mailbox</h1>
"""


def inbox(mails: Sequence[Letter], slack: Sequence[Letter]) -> str:
    """The whole page as HTML; nothing of a letter is trusted."""
    parts = [_HEAD, f"<h2>Mail ({len(mails)})</h2>"]
    parts += [
        f"<article><b>{escape(mail['subject'])}</b><br><small>{escape(mail['from'])} → "
        f"{escape(', '.join(mail['to']))}, {escape(mail['received_at'])}</small>"
        f"<pre>{escape(mail['text'] or mail['html'] or '')}</pre></article>"
        for mail in mails
    ]
    parts.append(f"<h2>Slack ({len(slack)})</h2>")
    parts += [
        f"<article><b>{escape(message['channel'])}</b><br>"
        f"<small>{escape(message['received_at'])}</small>"
        f"<pre>{escape(str(message['body'].get('text') or message['body']))}</pre></article>"
        for message in slack
    ]
    return "".join(parts)
