"""Secrets of a tenant's notifications, by name, from Secret Manager.

A template names `slack-alerts`; what is read is the secret `tenant--{tenant_id}--slack-alerts` of
the deployment's project. A tenant ID holds no hyphen and a name no two in a row, so no name reaches
another tenant's secret or one of the service itself. The value is in this process's memory while
the step runs, and nowhere else.
"""

from typing import Annotated

from pydantic import StringConstraints

from shared.errors import Permanent
from shared.secret_values import secret_value
from shared.settings import settings

PREFIX = "tenant--"
"""Of the names of all tenants' secrets; `step-shared` may read those, by infra/topology.yaml."""
SecretName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=100)
]


class NoSecretError(Permanent):
    """The tenant has no secret of this name, or this function may not read it."""

    code = "no-secret"

    def __init__(self, secret_id: str, problem: str) -> None:
        super().__init__(
            f'Secret {secret_id} {problem}. docs/templates.md, "Secrets of notifications", shows'
            " how it is made."
        )


def tenant_secret(tenant_id: str, name: str) -> str:
    """The newest version of the tenant's secret; a changed one is in use within a minute.

    Raises:
        NoSecretError: it does not exist, may not be read, or is no text.
        Retryable: Secret Manager does not answer.
    """
    from google.api_core.exceptions import FailedPrecondition, NotFound, PermissionDenied

    secret_id = f"{PREFIX}{tenant_id}--{name}"
    path = f"projects/{settings().GCP_PROJECT_ID}/secrets/{secret_id}/versions/latest"
    try:
        text = secret_value(path).decode().strip()
    except NotFound:
        raise NoSecretError(secret_id, "does not exist or has no version") from None
    except (FailedPrecondition, PermissionDenied):
        raise NoSecretError(secret_id, "is disabled, or may not be read by step-shared") from None
    except UnicodeDecodeError:
        raise NoSecretError(secret_id, "is not UTF-8 text") from None
    if not text:
        raise NoSecretError(secret_id, "is empty")
    return text
