"""`shared.webhook`: one signed event per run and step, to a URL of the tenant's.

Signed as https://www.standardwebhooks.com says, for which receivers find a library in every
language:

    webhook-id         the same for every try of a step of a run; receivers drop what they know
    webhook-timestamp  seconds since 1970 at which this try was signed
    webhook-signature  v1,{base64 of HMAC-SHA256(secret, "{webhook-id}.{webhook-timestamp}.{body}")}
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
import uuid
from typing import Annotated, Any, ClassVar

from pydantic import Field, JsonValue, StringConstraints

from shared.models import Model
from shared.processors import outbound
from shared.processors.contract import Processor, StepContext, StepResult
from shared.processors.tenant_secrets import NoSecretError, SecretName, tenant_secret
from shared.warehouse import claims

_LEAST_KEY_BYTES = 24
_PREFIX = "whsec_"


class WebhookConfig(Model):
    """Whom to tell what."""

    url: str = Field(
        min_length=1,
        max_length=2000,
        description="Where to POST to: https, a host of the public internet, not a redirect.",
    )
    signing_secret: SecretName = Field(
        description="Name of the tenant's secret that holds the key of the signature."
    )
    event: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$")] = Field(
        default="pipeline.step",
        max_length=100,
        description="Kind of the event, such as pipeline.failed.",
    )
    data: dict[str, JsonValue] = Field(
        default_factory=dict,
        max_length=50,
        description="What to say, as names and values; numbers and lists stay what they are.",
    )


class Webhook(Processor[WebhookConfig]):
    """Tells a program of the tenant's, in a signed HTTPS request.

    Example:
        ```yaml
        - step_id: "tell_program"
          ps_type: "shared.webhook"
          trigger: "on_failure"
          url: "https://hooks.example.com/convergence"
          signing_secret: "webhook-key"
          event: "pipeline.failed"
          data: {step: "{failed_step}", error: "{error_message}"}
        ```
    """

    ps_type = "shared.webhook"
    config_model: ClassVar[type[Model]] = WebhookConfig
    outputs = frozenset({"webhook_id"})

    def run(self, config: WebhookConfig, context: StepContext) -> StepResult:
        """Post the event once.

        A claim keeps concurrent deliveries apart, the step log keeps later ones away. If the
        process dies between the receiver's yes and the log, the same body goes out again with the
        same `webhook-id`, by which receivers drop the copy.

        Raises:
            ClaimHeldError: another delivery is posting it now.
            AttemptFailedError: the receiver is away or asks to come again (408, 425, 429, 5xx).
            DeliveryRefusedError: the receiver says no, or redirects.
            DestinationRefusedError: the URL is not https or leads into a network.
            NoSecretError: the tenant has no such secret, or it is too short to sign with.
        """
        to = outbound.destination(config.url)
        key = signing_key(context.run.tenant_id, config.signing_secret)
        claims.take(
            f"{context.work_id}--webhook--{context.attempt}",
            owner=str(uuid.uuid4()),
            lease_seconds=outbound.SECONDS_AT_MOST,
        )
        event = compose(config, context)
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        outbound.post(to, body, headers(key, event["id"], int(time.time()), body))
        return StepResult(outputs={"webhook_id": event["id"]})


def compose(config: WebhookConfig, context: StepContext) -> dict[str, Any]:
    """The event; the same for every try of a step of a run."""
    run = context.run
    return {
        "id": f"{run.pipeline_logging_id}.{context.step_id}",
        "type": config.event,
        "timestamp": run.started_at.isoformat(),
        "run": {
            "pipeline_logging_id": run.pipeline_logging_id,
            "pipeline_id": run.pipeline_id,
            "tenant_id": run.tenant_id,
            "date": run.date.isoformat(),
            "step_id": context.step_id,
        },
        "data": dict(config.data),
    }


def headers(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """What goes with the body."""
    signed = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "Content-Type": "application/json",
        "User-Agent": "Convergence",
        "Idempotency-Key": webhook_id,
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


def signing_key(tenant_id: str, name: str) -> bytes:
    """The key in the tenant's secret: `whsec_` and base64, or the text itself.

    Raises:
        NoSecretError: there is none, or it is too short.
        Retryable: Secret Manager does not answer.
    """
    text = tenant_secret(tenant_id, name)
    try:
        key = (
            base64.b64decode(text.removeprefix(_PREFIX), validate=True)
            if text.startswith(_PREFIX)
            else text.encode()
        )
    except binascii.Error:
        key = b""
    if len(key) < _LEAST_KEY_BYTES:
        problem = f"must hold at least {_LEAST_KEY_BYTES} bytes, as text or as {_PREFIX} and base64"
        raise NoSecretError(f"{name!r} of tenant {tenant_id}", problem)
    return key
