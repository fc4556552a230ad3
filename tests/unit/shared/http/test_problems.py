"""Errors as answers: `application/problem+json` (RFC 9457)."""

import json
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from shared.errors import (
    AccessDeniedError,
    ConflictError,
    ConvergenceError,
    FieldProblem,
    InvalidInputError,
    NotFoundError,
    Permanent,
    Retryable,
    UnauthenticatedError,
)
from shared.http.auth import OtherTenantError
from shared.settings import SettingsError
from shared.telemetry import configure_logging
from shared.warehouse.authorize import ForeignTableError
from shared.warehouse.failures import WarehouseBusyError, WarehouseError

Failing = Callable[[Exception], FlaskClient]

ANSWERS: list[tuple[ConvergenceError, int, str]] = [
    (InvalidInputError([FieldProblem("/date", "is required")]), 422, "invalid-input"),
    (UnauthenticatedError(), 401, "unauthenticated"),
    (AccessDeniedError("not for this key"), 403, "access-denied"),
    (OtherTenantError(), 403, "other-tenant"),
    (ForeignTableError("p.d.t", "acme"), 403, "foreign-table"),
    (NotFoundError("Run", "x"), 404, "not-found"),
    (ConflictError("exists already"), 409, "conflict"),
    (Retryable("later"), 503, "temporarily-unavailable"),
    (WarehouseBusyError("secret table", "backendError"), 503, "warehouse-busy"),
    (WarehouseError("secret table", "invalidQuery"), 500, "internal"),
    (SettingsError("SMTP_HOST is not set."), 500, "internal"),
    (Permanent("secret"), 500, "internal"),
    (ConvergenceError("secret"), 500, "internal"),
]


@pytest.mark.parametrize(("error", "status", "code"), ANSWERS, ids=lambda x: type(x).__name__)
def test_every_error_of_the_product_has_its_status_and_stable_type(
    error: ConvergenceError, status: int, code: str, failing_with: Failing
) -> None:
    answer = failing_with(error).get("/fails")

    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert answer.json is not None
    assert answer.json["type"] == f"urn:convergence:problem:{code}"
    assert answer.json["status"] == status
    assert answer.json["title"] not in {"", "Error"}
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    "error",
    [
        WarehouseError("secret", "invalidQuery"),
        WarehouseBusyError("secret", "backendError"),
        Permanent("secret"),
        RuntimeError("secret"),
        KeyError("secret"),
        RecursionError("secret"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_went_wrong_inside_is_logged_and_not_told(
    error: Exception, failing_with: Failing, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging()

    answer = failing_with(error).get("/fails")

    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.content_type == "application/problem+json"
    if answer.status_code == 500:
        assert "secret" in capsys.readouterr().out


def test_bad_fields_are_listed_with_pointer_fix_and_value(failing_with: Failing) -> None:
    error = InvalidInputError(
        [FieldProblem("/date", "must be a date", "x"), FieldProblem("/to/0", "is required")]
    )

    body = failing_with(error).get("/fails").json

    assert body is not None
    assert body["detail"] == "date: must be a date; to.0: is required"
    assert body["errors"] == [
        {"pointer": "/date", "detail": "must be a date", "value": "x"},
        {"pointer": "/to/0", "detail": "is required", "value": None},
    ]


@pytest.mark.parametrize("value", ["x" * 10_000, ["x"] * 10_000, {"a": "x" * 10_000}])
def test_long_values_are_repeated_in_part_only(value: object, failing_with: Failing) -> None:
    answer = failing_with(InvalidInputError([FieldProblem("/a", "is bad", value)])).get("/fails")

    assert len(answer.data) < 1000


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}, float("nan"), "\x00\u2028", object()])
def test_answer_is_json_whatever_the_bad_value_was(value: object, failing_with: Failing) -> None:
    error = InvalidInputError([FieldProblem(f"/{value}", f"not {value}", value)])

    answer = failing_with(error).get("/fails")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert answer.status_code == 422
    assert json.loads(answer.data, parse_constant=refuse)["errors"]


def test_deeply_nested_value_does_not_break_the_answer(failing_with: Failing) -> None:
    nested: list[object] = []
    for _ in range(900):
        nested = [nested]

    answer = failing_with(InvalidInputError([FieldProblem("/a", "is bad", nested)])).get("/fails")

    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (Retryable("later"), "5"),
        (Retryable("later", retry_after_seconds=41.6), "42"),
        (Retryable("later", retry_after_seconds=0.01), "1"),
        (ConflictError("busy", retry_after_seconds=30), "30"),
        (ConflictError("exists"), None),
        (NotFoundError("Run", "x"), None),
    ],
    ids=str,
)
def test_retry_after_is_whole_seconds_where_waiting_helps(
    error: Exception, header: str | None, failing_with: Failing
) -> None:
    assert failing_with(error).get("/fails").headers.get("Retry-After") == header


def test_missing_key_says_how_to_send_one(failing_with: Failing) -> None:
    answer = failing_with(UnauthenticatedError()).get("/fails")

    assert "X-API-Key" in answer.headers["WWW-Authenticate"]
    assert answer.json is not None
    assert "X-API-Key" in answer.json["detail"]


def test_unknown_path_and_wrong_method_answer_like_everything_else(client: FlaskClient) -> None:
    unknown = client.get("/nowhere")
    wrong = client.get("/shops/x/orders")

    assert (unknown.status_code, wrong.status_code) == (404, 405)
    assert unknown.content_type == wrong.content_type == "application/problem+json"
    assert "POST" in wrong.headers["Allow"]
    assert wrong.headers.getlist("Content-Type") == ["application/problem+json"]
