"""Errors of the product, in two kinds that decide what happens next.

    ConvergenceError
    ├── Retryable                   try the same thing again later: the message is not acknowledged
    └── Permanent                   trying again cannot help: the step or the request has failed
        ├── InvalidInputError       422, names every bad field
        ├── UnauthenticatedError    401
        ├── AccessDeniedError       403
        ├── NotFoundError           404, lists near names
        ├── ConflictError           409
        └── TooManyRequestsError    429, says when to ask again

Constructors take facts, keep them as attributes and build the sentence. An error that only one
module raises lives in that module, below one of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any


class ConvergenceError(Exception):
    """Base of all errors of the product; `code` is stable and part of the API."""

    code = "error"


class Retryable(ConvergenceError):  # noqa: N818 - the two kinds are named after what they ask for
    """Something that passes by itself; `retry_after_seconds` where it is known."""

    code = "temporarily-unavailable"

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Permanent(ConvergenceError):  # noqa: N818 - see Retryable
    """Something that stays wrong until a person changes it."""

    code = "failed"


@dataclass(frozen=True)
class FieldProblem:
    """One bad value: where it is, what is wrong with it and what to write instead."""

    pointer: str
    """JSON pointer into the body (`/date`), or the name of a path or header field."""
    problem: str
    """What is wrong and how to mend it, as a sentence without the field's name."""
    value: Any = None

    def __str__(self) -> str:
        """`date: must be …`, as a line of a report."""
        return f"{self.pointer.strip('/').replace('/', '.') or 'body'}: {self.problem}"


class InvalidInputError(Permanent):
    """Values that a caller has to change; all problems at once."""

    code = "invalid-input"

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class UnauthenticatedError(Permanent):
    """No valid key was shown. One text for unknown, expired and revoked keys."""

    code = "unauthenticated"

    def __init__(self, message: str = "Invalid API key. Send a valid key in X-API-Key.") -> None:
        super().__init__(message)


class AccessDeniedError(Permanent):
    """The key is valid, but not for this."""

    code = "access-denied"


class NotFoundError(Permanent):
    """Nothing has this name; `near` are names that exist and look alike."""

    code = "not-found"

    def __init__(self, kind: str, name: str, *, known: Sequence[str] = ()) -> None:
        self.kind = kind
        self.name = name
        self.near = tuple(nearest(name, known))
        hint = f" Did you mean {' or '.join(self.near)}?" if self.near else ""
        super().__init__(f"{kind} {name!r} does not exist.{hint}")


class ConflictError(Permanent):
    """What was asked for contradicts what is there."""

    code = "conflict"

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class TooManyRequestsError(Permanent):
    """A limit is used up: of a plan, or of requests in a time. The same request may pass later."""

    code = "too-many-requests"

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


def nearest(name: str, known: Sequence[str], count: int = 3) -> list[str]:
    """The names in `known` that look most like `name`, best first."""
    return get_close_matches(name, known, n=count, cutoff=0.6)
