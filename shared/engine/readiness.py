"""Do the services answer that every request stands on: BigQuery, Pub/Sub, KMS?"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from shared.clients import bigquery_client, kms_client, publisher_client
from shared.expiring import ExpiringCache
from shared.settings import settings

_TIMEOUT_SECONDS = 2.0
_FAMILY = "gcp"
_cache: ExpiringCache[str, dict[str, str]] = ExpiringCache(lifetime_seconds=5)


def checks() -> dict[str, str]:
    """`ok` for each service, or what is wrong with it; at most five seconds old."""
    return _cache.get("", _check_all)


def _check_all() -> dict[str, str]:
    questions = {"bigquery": _ask_bigquery, "pubsub": _ask_pubsub, "kms": _ask_kms}
    with ThreadPoolExecutor(len(questions)) as pool:
        answers = {name: pool.submit(_answer, ask) for name, ask in questions.items()}
        return {name: answer.result() for name, answer in answers.items()}


def _answer(ask: Callable[[], None]) -> str:
    """What a service says. That we may not ask is an answer too, and other routes will tell."""
    from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound
    from google.auth.exceptions import GoogleAuthError

    try:
        ask()
    except Forbidden:
        return "ok"
    except NotFound:
        return "answers, but what the service needs there is missing"
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        return f"does not answer within {_TIMEOUT_SECONDS:.0f} s ({type(error).__name__})"
    return "ok"


def _ask_bigquery() -> None:
    client = bigquery_client()
    client.get_dataset("tenants", retry=None, timeout=_TIMEOUT_SECONDS)  # type: ignore[arg-type]


def _ask_pubsub() -> None:
    here = settings()
    topic = f"projects/{here.GCP_PROJECT_ID}/topics/{here.STEP_TOPIC_PREFIX}{_FAMILY}"
    publisher_client().get_topic(topic=topic, retry=None, timeout=_TIMEOUT_SECONDS)


def _ask_kms() -> None:
    """By an encryption: reading a key has a quota of 600 a minute, encrypting one of 60,000."""
    kms_client().encrypt(
        request={"name": settings().require("KMS_KEY_NAME"), "plaintext": b"?"},
        retry=None,
        timeout=_TIMEOUT_SECONDS,
    )
