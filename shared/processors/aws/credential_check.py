"""Does AWS accept a stored credential? STS is asked: the role assumed, or the keys' owner named."""

from shared.errors import FieldProblem
from shared.processors.aws.session import access, caller
from shared.processors.credential_checks import Fields, Finding, shape_problems
from shared.processors.provider_credentials import ProviderCredential
from shared.processors.provider_errors import ProviderRefusedError
from shared.settings import settings


def check_aws(fields: Fields) -> Finding:
    """Check the fields, then with STS that they open something.

    A function that has not been given the identity that assumes roles cannot ask, and looks at the
    fields only.

    Raises:
        Retryable: AWS was asked and does not answer.
    """
    problems = shape_problems("AWS", fields)
    if problems or not settings().AWS_IDENTITY_SECRET:
        return Finding("shape", problems)
    kind, field = (
        ("role_arn", "role_arn") if "role_arn" in fields else ("access_key", "access_key_id")
    )
    try:
        caller(access(ProviderCredential("", "", "checked", kind, fields)))
    except ProviderRefusedError as error:
        return Finding("provider", (FieldProblem(f"/credentials/{field}", _said(error)),))
    return Finding("provider")


def _said(error: ProviderRefusedError) -> str:
    """What AWS refused, without the route of a credential that is not stored under this name."""
    return f"{error.service} does not accept it ({error.provider_code})"
