import pytest

from shared.errors import (
    AccessDeniedError,
    ConflictError,
    FieldProblem,
    InvalidInputError,
    NotFoundError,
    Permanent,
    Retryable,
    UnauthenticatedError,
)


def test_invalid_input_names_every_field_in_one_sentence() -> None:
    error = InvalidInputError(
        [
            FieldProblem("/date", "must be a date", "tomorrow"),
            FieldProblem("/labels/team", "is required"),
            FieldProblem("", "must be JSON"),
        ]
    )

    assert str(error) == "date: must be a date; labels.team: is required; body: must be JSON"
    assert [problem.pointer for problem in error.problems] == ["/date", "/labels/team", ""]


def test_unknown_name_lists_names_that_look_alike_best_first() -> None:
    known = ["cost_billing", "cost_usage", "vm_usage", "billing"]

    error = NotFoundError("Template", "cost_biling", known=known)

    assert error.near[0] == "cost_billing"
    assert str(error) == (
        f"Template 'cost_biling' does not exist. Did you mean {' or '.join(error.near)}?"
    )


def test_unknown_name_without_a_neighbour_gives_no_hint() -> None:
    error = NotFoundError("Template", "zzz", known=["cost_billing"])

    assert str(error) == "Template 'zzz' does not exist."
    assert error.near == ()


@pytest.mark.parametrize(
    "kind",
    [InvalidInputError, UnauthenticatedError, AccessDeniedError, NotFoundError, ConflictError],
)
def test_errors_of_requests_are_never_tried_again(kind: type[Exception]) -> None:
    assert issubclass(kind, Permanent)
    assert not issubclass(kind, Retryable)
