"""Values in a mail's HTML are text, never markup, whoever they come from."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import InvalidInputError
from shared.templates.models import ResolvedPipeline
from shared.templates.resolver import fill

Resolved = Callable[..., ResolvedPipeline]

MAIL = """\
variables:
  team: "ops & more"
  days: {type: list, items: string, default: ["<1>", "2"]}
steps:
  - step_id: "extract"
    ps_type: "sample.anything"
  - step_id: "notify"
    ps_type: "shared.email_notification"
    trigger: "on_failure"
    to_emails: ["{admin_email}"]
    subject: "Failed: {team}"
    message: "{team} <{error_message}>"
    html: '<p title="{team}">{company_name} {days}</p><pre>{error_message}</pre>'
"""
EVIL = "<script>alert('x')</script>\"&"
HARMLESS = "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&quot;&amp;"


def html_of(pipeline: ResolvedPipeline, **late: str) -> Any:
    config = json.loads(json.dumps(pipeline.steps[-1].config))
    return fill(config, {"extract": {"found": EVIL}}, **late)["html"]


def test_markup_is_the_authors_and_values_are_text(resolved: Resolved) -> None:
    pipeline = resolved(MAIL, {"team": EVIL}, company_name=EVIL)

    assert html_of(pipeline, error_message=EVIL) == (
        f'<p title="{HARMLESS}">{HARMLESS} &lt;1&gt;, 2</p><pre>{HARMLESS}</pre>'
    )


def test_defaults_of_the_template_are_values_too(resolved: Resolved) -> None:
    assert '<p title="ops &amp; more">ACME Corporation' in html_of(resolved(MAIL), error_message="")


def test_text_beside_it_is_not_escaped(resolved: Resolved) -> None:
    config = resolved(MAIL, {"team": EVIL}).steps[-1].config

    assert fill(config, {}, error_message="a < b")["message"] == f"{EVIL} <a < b>"


@pytest.mark.parametrize("html", ["{team}", "{steps.extract.found}", "{error_message}"])
def test_a_lone_placeholder_is_escaped_too(resolved: Resolved, html: str) -> None:
    line = next(line for line in MAIL.splitlines() if "html:" in line)
    pipeline = resolved(MAIL.replace(line, f'    html: "{html}"'), {"team": EVIL})

    assert html_of(pipeline, error_message=EVIL) == HARMLESS


def test_html_without_a_placeholder_stays_as_it_is(resolved: Resolved) -> None:
    line = next(line for line in MAIL.splitlines() if "html:" in line)

    assert (
        html_of(resolved(MAIL.replace(line, '    html: "<b>a &amp; b</b>"'))) == "<b>a &amp; b</b>"
    )


@pytest.mark.parametrize(
    "address", ["a@x.example\nBcc: b@y.example", "a@x.example, b@y.example", "<a@x>"]
)
def test_recipients_of_a_body_are_addresses(resolved: Resolved, address: str) -> None:
    mail = MAIL.replace('["{admin_email}"]', '["{to}"]').replace(
        "variables:", 'variables:\n  to: {type: email, default: "a@x.example.com"}'
    )
    with pytest.raises(InvalidInputError, match="to: "):
        resolved(mail, {"to": address})
