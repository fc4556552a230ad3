"""Does a stored credential work? One check per provider, imported when it is first asked for.

A check gets the secret's fields and says what it looked at: `shape` for what can be known without
the provider, `provider` where it asked. A check that asks takes the place of the one for its
provider in `_CHECKS`; callers do not change.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shared.errors import FieldProblem, InvalidInputError
from shared.tenancy.credential_models import parse
from shared.tenancy.credential_views import Provider

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """What a check looked at and what is wrong; no problem repeats a value."""

    checked: Literal["shape", "provider"]
    problems: tuple[FieldProblem, ...] = ()


Check = Callable[[Fields], Finding]


def check(provider: Provider, fields: Fields) -> Finding:
    """Check a secret.

    Raises:
        Retryable: the provider was asked and does not answer.
    """
    return _CHECKS[provider]()(fields)


def shape_problems(provider: Provider, fields: Fields) -> tuple[FieldProblem, ...]:
    """What is wrong with the fields themselves, by today's rules."""
    try:
        parse(provider, fields)
    except InvalidInputError as error:
        return error.problems
    return ()


def _gcp() -> Check:
    from shared.processors.gcp.credential_check import check_gcp

    return check_gcp


def _aws() -> Check:
    from shared.processors.aws.credential_check import check_aws

    return check_aws


def _azure() -> Check:
    from shared.processors.azure.credential_check import check_azure

    return check_azure


_CHECKS: Mapping[Provider, Callable[[], Check]] = {
    "GCP": _gcp,
    "AWS": _aws,
    "AZURE": _azure,
}
