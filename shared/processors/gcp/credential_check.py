"""Does Google accept a stored credential? A service account's key is exchanged for a token."""

import re
from functools import partial
from typing import Any

from shared.errors import FieldProblem, Retryable
from shared.processors.credential_checks import Fields, Finding, shape_problems
from shared.settings import settings

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TIMEOUT_SECONDS = 10.0
_OAUTH_ERROR = re.compile(r"[a-z_]{1,40}")


def check_gcp(fields: Fields) -> Finding:
    """Check the fields, then that Google gives a token for a service account's key.

    The token is asked for at the settings' endpoint, never at the `token_uri` that was uploaded:
    that would send a signed assertion, and whatever answers, wherever a tenant likes. Workload
    identity needs a token of the tenant's own, which is there only when a step runs: of it the
    fields are checked.

    Raises:
        Retryable: Google does not answer.
    """
    problems = shape_problems("GCP", fields)
    if problems or fields["type"] != "service_account":
        return Finding("shape", problems)
    return Finding("provider", _refusal(fields))


def _refusal(fields: Fields) -> tuple[FieldProblem, ...]:
    from google.auth.exceptions import RefreshError, TransportError
    from google.auth.transport.requests import Request
    from google.oauth2.service_account import Credentials

    info = {**fields, "token_uri": settings().GOOGLE_TOKEN_URL}
    credentials: Any = Credentials.from_service_account_info(info, scopes=[_SCOPE])  # type: ignore[no-untyped-call]
    try:
        credentials.refresh(partial(Request(), timeout=_TIMEOUT_SECONDS))
    except TransportError:
        raise Retryable("Google's token endpoint does not answer") from None
    except RefreshError as error:
        if error.retryable:
            raise Retryable("Google's token endpoint does not answer") from None
        return (_problem(error),)
    return ()


def _problem(error: Exception) -> FieldProblem:
    """What Google refused; of its words only those that are known, the rest may repeat a value."""
    answer = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], dict) else {}
    code = str(answer.get("error", ""))
    shown = f" ({code})" if _OAUTH_ERROR.fullmatch(code) else ""
    if "account not found" in str(answer.get("error_description", "")):
        problem = f"is not known to Google{shown}; create the account, or upload another one's key"
        return FieldProblem("/credentials/client_email", problem)
    problem = f"is not accepted by Google{shown}; create a new key of the account and upload that"
    return FieldProblem("/credentials/private_key", problem)
