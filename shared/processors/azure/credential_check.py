"""Does Microsoft Entra ID accept a stored credential? A secret is tried for a token."""

from shared.errors import FieldProblem
from shared.processors.azure.entra import MANAGEMENT, ask
from shared.processors.credential_checks import Fields, Finding, shape_problems

_OF_THE_DIRECTORY = frozenset({90002, 900023})
_OF_THE_APPLICATION = frozenset({700016, 7000112})
"""Numbers of Entra's errors (Microsoft Learn, "Microsoft Entra authentication error codes")."""


def check_azure(fields: Fields) -> Finding:
    """Check the fields, then that Entra gives a token for the application's secret.

    A federated credential needs the identity of the function that runs its steps: of it the fields
    are checked.

    Raises:
        Retryable: Entra does not answer.
    """
    problems = shape_problems("AZURE", fields)
    if problems or "client_secret" not in fields:
        return Finding("shape", problems)
    answer = ask(fields, MANAGEMENT)
    return Finding("provider", () if answer.token else (_problem(answer.number),))


def _problem(number: int) -> FieldProblem:
    """What Entra refused; of its words only the error's number, the rest may repeat a value."""
    shown = f" (AADSTS{number})" if number else ""
    if number in _OF_THE_DIRECTORY:
        problem = f"is not a directory that Entra knows{shown}; correct it"
        return FieldProblem("/credentials/tenant_id", problem)
    if number in _OF_THE_APPLICATION:
        problem = f"is not an application of the directory{shown}; correct it, or grant consent"
        return FieldProblem("/credentials/client_id", problem)
    problem = f"is not accepted by Entra{shown}; create a new secret of the application"
    return FieldProblem("/credentials/client_secret", problem)
