"""Run requests: what travels on the topic `run-requests`, one run a message.

A message says which run is wanted and names it, so it may be published and delivered any number of
times. New fields get defaults and unknown ones are ignored: during a deploy messages of both
versions are in flight.
"""

import datetime as dt
import time
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from shared.clients import bulk_publisher_client
from shared.engine.delivery import Delivery, MalformedMessageError
from shared.errors import InvalidInputError, Retryable
from shared.models import Model
from shared.settings import settings
from shared.telemetry import current_traceparent
from shared.tenancy.names import check_tenant_id

if TYPE_CHECKING:
    from concurrent.futures import Future

TOPIC = "run-requests"
_TIMEOUT_SECONDS = 90.0
"""The client itself gives a batch up after sixty seconds."""


class RunRequestMessage(Model):
    """Let this run begin, if its tenant may run it now."""

    model_config = ConfigDict(extra="ignore")

    version: int = 1
    tenant_id: str
    pipeline_logging_id: str
    provider: str
    domain: str
    pipeline_template: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    date: dt.date = Field(description="The day that the run processes.")
    trigger_type: Literal["scheduled", "backfill"] = "scheduled"
    trigger_by: str | None = None
    user_id: str | None = None
    priority: int = Field(default=5, description="1 to 10 for schedules, 0 for backfills.")
    config_id: str | None = Field(default=None, description="The schedule that it comes from.")
    scheduled_time: dt.datetime | None = Field(default=None, description="The occurrence, UTC.")
    backfill_id: str | None = None
    max_concurrency: int | None = Field(
        default=None, description="How many runs of its backfill may run at once."
    )
    requested_at: dt.datetime | None = Field(
        default=None, description="When it was asked for, UTC; its age in the queue."
    )
    expires_at: dt.datetime | None = Field(
        default=None, description="When waiting is given up, UTC; set once it waits."
    )
    waited: bool = Field(default=False, description="Whether it comes out of the queue.")
    retry_count: int = Field(default=0, description="How often it came out of the queue.")


def scheduled_run_id(config_id: str, scheduled_time: dt.datetime) -> str:
    """The run of an occurrence: the same, whoever finds it due and how often."""
    moment = scheduled_time.astimezone(dt.UTC).isoformat()
    return str(uuid.uuid5(uuid.UUID(config_id), moment))


def backfill_run_id(backfill_id: str, date: dt.date) -> str:
    """The run of one date of a backfill."""
    return str(uuid.uuid5(uuid.UUID(backfill_id), date.isoformat()))


def parse(delivery: Delivery) -> RunRequestMessage:
    """The request in a delivery.

    Raises:
        MalformedMessageError: it is none.
    """
    try:
        request = RunRequestMessage.model_validate_json(delivery.data)
        check_tenant_id(request.tenant_id)
        return request
    except (ValidationError, InvalidInputError) as error:
        raise MalformedMessageError(f"not a run request: {error}") from error


def publish(requests: Iterable[RunRequestMessage]) -> int:
    """Publish all of them in batches and wait until Pub/Sub has every one; how many they were.

    In the order given, as far as Pub/Sub keeps one. After a failure some may have been published:
    publish all of them again.

    Raises:
        Retryable: Pub/Sub did not take at least one.
    """
    return publish_encoded(
        (request.tenant_id, request.pipeline_logging_id, request.model_dump_json().encode())
        for request in requests
    )


def publish_encoded(requests: Iterable[tuple[str, str, bytes]]) -> int:
    """`publish` for requests that are JSON already: tenant, run, `RunRequestMessage` as JSON.

    Raises:
        Retryable: Pub/Sub did not take at least one.
    """
    futures = begin_to_publish(requests)
    wait_for(futures)
    return len(futures)


def begin_to_publish(requests: Iterable[tuple[str, str, bytes]]) -> "list[Future[str]]":
    """Hand requests that are JSON already to the publisher; `wait_for` says when they are out."""
    publisher = bulk_publisher_client()
    topic = f"projects/{settings().GCP_PROJECT_ID}/topics/{TOPIC}"
    trace = current_traceparent() or ""
    return [
        publisher.publish(
            topic, data, tenant_id=tenant_id, pipeline_logging_id=run_id, traceparent=trace
        )
        for tenant_id, run_id, data in requests
    ]


def wait_for(futures: "Iterable[Future[str]]") -> None:
    """Return once Pub/Sub has every message.

    Raises:
        Retryable: it did not take at least one, or not in time.
    """
    from google.api_core.exceptions import GoogleAPICallError, RetryError

    ends_at = time.monotonic() + _TIMEOUT_SECONDS
    for future in futures:
        try:
            future.result(timeout=max(0.0, ends_at - time.monotonic()))
        except (GoogleAPICallError, RetryError, TimeoutError) as error:
            raise Retryable(f"Pub/Sub did not take every run request: {error}") from error
