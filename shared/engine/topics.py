"""Publishing: a step goes to the topic of its family."""

from shared.clients import publisher_client
from shared.engine.messages import StepMessage
from shared.errors import Retryable
from shared.settings import settings
from shared.telemetry import current_traceparent

_TIMEOUT_SECONDS = 30.0


def publish_step(message: StepMessage) -> None:
    """Publish and wait until Pub/Sub has the message.

    A failure that is not clear may publish twice; executors expect that.

    Raises:
        Retryable: Pub/Sub did not take it.
    """
    from google.api_core.exceptions import GoogleAPICallError, RetryError

    here = settings()
    topic = f"projects/{here.GCP_PROJECT_ID}/topics/{here.STEP_TOPIC_PREFIX}{message.step.family}"
    attributes = {
        "tenant_id": message.run.tenant_id,
        "pipeline_logging_id": message.run.pipeline_logging_id,
        "step_id": message.step.step_id,
        "traceparent": current_traceparent() or "",
    }
    data = message.model_dump_json().encode()
    try:
        publisher_client().publish(topic, data, **attributes).result(timeout=_TIMEOUT_SECONDS)
    except (GoogleAPICallError, RetryError, TimeoutError) as error:
        raise Retryable(f"Pub/Sub did not take the message for {topic}: {error}") from error
