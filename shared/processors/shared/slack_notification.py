"""`shared.slack_notification`: one message per run and step, to an incoming webhook of Slack's."""

import json
import uuid
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from shared.models import Model
from shared.processors import outbound
from shared.processors.contract import Processor, StepContext, StepResult
from shared.processors.tenant_secrets import SecretName, tenant_secret
from shared.warehouse import claims

# Limits of Slack's, "Reference: blocks": https://docs.slack.dev/reference/block-kit/blocks
_HEADER_CHARACTERS = 150
_SECTION_CHARACTERS = 3000
_FIELD_CHARACTERS = 2000
_MOST_FIELDS = 10
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def _as_text(value: Any) -> Any:
    """Numbers and flags as JSON writes them, lists as their items: steps leave more than text."""
    if isinstance(value, list | tuple):
        return ", ".join(str(_as_text(item)) for item in value)
    return json.dumps(value) if isinstance(value, bool | int | float) else value


_Shown = Annotated[str, BeforeValidator(_as_text)]


class SlackConfig(Model):
    """Where to say what."""

    webhook_secret: SecretName = Field(
        description="Name of the tenant's secret that holds the webhook's URL, never the URL."
    )
    title: str = Field(
        min_length=1, max_length=500, description="Headline; what Slack has no room for is cut."
    )
    message: str = Field(
        min_length=1,
        max_length=20_000,
        description="Text in Slack's mrkdwn. Links and mentions in it stay text.",
    )
    fields: dict[str, _Shown] = Field(
        default_factory=dict,
        max_length=_MOST_FIELDS,
        description="Names and values shown side by side, at most 10.",
    )


class SlackNotification(Processor[SlackConfig]):
    """Says something in a Slack channel.

    Example:
        ```yaml
        - step_id: "tell_slack"
          ps_type: "shared.slack_notification"
          trigger: "on_failure"
          webhook_secret: "slack-alerts"
          title: "{pipeline_id} failed"
          message: "{error_message}"
          fields: {Tenant: "{tenant_id}", Date: "{date}", Step: "{failed_step}"}
        ```
    """

    ps_type = "shared.slack_notification"
    config_model: ClassVar[type[Model]] = SlackConfig

    def run(self, config: SlackConfig, context: StepContext) -> StepResult:
        """Post the message once.

        A claim keeps concurrent deliveries apart, the step log keeps later ones away. Slack knows
        no idempotency key: if the process dies between Slack's yes and the log, or Slack's answer
        is lost, the message is posted again, and its last line shows that it is the same run's.

        Raises:
            ClaimHeldError: another delivery is posting it now.
            AttemptFailedError: Slack is away or asks to come again.
            DeliveryRefusedError: Slack says no, such as `no_service` of a removed webhook.
            DestinationRefusedError: the secret holds no URL that may be posted to.
            NoSecretError: the tenant has no such secret.
        """
        name = f"the webhook of secret {config.webhook_secret!r}"
        url = tenant_secret(context.run.tenant_id, config.webhook_secret)
        to = outbound.destination(url, name)
        claims.take(
            f"{context.work_id}--slack--{context.attempt}",
            owner=str(uuid.uuid4()),
            lease_seconds=outbound.SECONDS_AT_MOST,
        )
        body = json.dumps(compose(config, context), ensure_ascii=False).encode()
        outbound.post(to, body, {"Content-Type": "application/json; charset=utf-8"})
        return StepResult()


def compose(config: SlackConfig, context: StepContext) -> dict[str, Any]:
    """The message in Block Kit: headline, text, fields, and which run says so."""
    run = context.run
    origin = f"{run.tenant_id} · {run.pipeline_id} · {context.step_id} · {run.pipeline_logging_id}"
    header = {"type": "plain_text", "text": _cut(config.title, _HEADER_CHARACTERS), "emoji": False}
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": header},
        {"type": "section", "text": _mrkdwn(config.message, _SECTION_CHARACTERS)},
    ]
    if config.fields:
        shown = [_field(name, value) for name, value in config.fields.items()]
        blocks.append({"type": "section", "fields": shown})
    blocks.append({"type": "context", "elements": [_mrkdwn(origin, _FIELD_CHARACTERS)]})
    return {"text": _escaped(config.title, _SECTION_CHARACTERS), "blocks": blocks}


def _field(name: str, value: str) -> dict[str, Any]:
    label = f"*{_escaped(name.replace('*', ''), 100)}*\n"
    return _mrkdwn_of(label + _escaped(value, _FIELD_CHARACTERS - len(label)))


def _mrkdwn(text: str, limit: int) -> dict[str, Any]:
    return _mrkdwn_of(_escaped(text, limit) or " ")


def _mrkdwn_of(text: str) -> dict[str, Any]:
    # verbatim: a URL, a channel or a name in a value does not become a link or a mention.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _cut(text: str, limit: int) -> str:
    line = " ".join(text.split()) or " "
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _escaped(text: str, limit: int) -> str:
    """Slack's three control characters as entities, at most `limit` characters of it, none cut."""
    escaped = text.translate(_ESCAPES)
    if len(escaped) <= limit:
        return escaped
    kept, room = [], limit - 1
    for character in text:
        entity = character.translate(_ESCAPES)
        room -= len(entity)
        if room < 0:
            break
        kept.append(entity)
    return "".join(kept) + "…"
