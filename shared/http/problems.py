"""Errors as answers: `application/problem+json` (RFC 9457), one mapping for all routes."""

import json
import logging
import math
from typing import Any

from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException

from shared.errors import (
    AccessDeniedError,
    ConflictError,
    ConvergenceError,
    InvalidInputError,
    NotFoundError,
    Retryable,
    TooManyRequestsError,
    UnauthenticatedError,
)
from shared.telemetry import log, logger

_STATUS: tuple[tuple[type[ConvergenceError], int], ...] = (
    (InvalidInputError, 422),
    (UnauthenticatedError, 401),
    (AccessDeniedError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (TooManyRequestsError, 429),
    (Retryable, 503),
    (ConvergenceError, 500),
)
TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Content too large",
    415: "Unsupported media type",
    422: "Unprocessable content",
    429: "Too many requests",
    500: "Internal error",
    503: "Service unavailable",
}
_DEFAULT_RETRY_SECONDS = 5


def problem(
    status: int,
    detail: str,
    *,
    code: str,
    errors: list[dict[str, Any]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """An error answer; `detail` is a sentence that says what to do."""
    body: dict[str, Any] = {
        "type": f"urn:convergence:problem:{code}",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "request_id": g.get("request_id"),
    }
    if errors:
        body["errors"] = errors
    text = json.dumps(body, ensure_ascii=False, default=str)
    response = Response(
        text.encode(errors="backslashreplace"),  # half a surrogate pair becomes JSON's own escape
        status=status,
        content_type="application/problem+json",
    )
    response.headers.update(headers or {})
    return response


def from_error(error: ConvergenceError) -> Response:
    """The answer for an error of the product."""
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    if status == 500:
        log(logging.ERROR, "request failed", error=str(error), code=error.code)
        return problem(
            500, "Something went wrong on our side; it has been logged.", code="internal"
        )
    errors = None
    if isinstance(error, InvalidInputError):
        errors = [
            {"pointer": found.pointer, "detail": found.problem, "value": _short(found.value)}
            for found in error.problems
        ]
    detail = str(error) if status != 503 else "The service is busy. Try again in a moment."
    return problem(status, detail, code=error.code, errors=errors, headers=_headers(error, status))


def _headers(error: ConvergenceError, status: int) -> dict[str, str]:
    wait = getattr(error, "retry_after_seconds", None)
    if status == 503:
        wait = wait or _DEFAULT_RETRY_SECONDS
    headers = {"Retry-After": str(max(1, math.ceil(wait)))} if wait else {}
    if status == 401:
        headers["WWW-Authenticate"] = 'ApiKey realm="convergence", header="X-API-Key"'
    return headers


def _short(value: Any) -> Any:
    """A bad value as the answer repeats it: enough to recognise it."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, default=str, allow_nan=False)
    except ValueError:  # infinite, as JSON's 1e999 is read; JSON has no way to write it
        value = text = str(value)
    return value if len(text) <= 200 else f"{text[:200]}..."


def install(app: Flask) -> None:
    """Let every error of `app` answer as problem+json; a stack trace goes to the log only."""

    @app.errorhandler(ConvergenceError)
    def _ours(error: ConvergenceError) -> Response:
        return from_error(error)

    @app.errorhandler(HTTPException)
    def _protocol(error: HTTPException) -> Response:
        status = error.code or 500
        headers = {
            name: value
            for name, value in error.get_headers()
            if name.lower() not in {"content-type", "content-length"}
        }
        return problem(
            status, _protocol_detail(status, error), code=f"http-{status}", headers=headers
        )

    @app.errorhandler(Exception)
    def _unexpected(error: Exception) -> Response:
        logger.exception("unexpected error: %s", type(error).__name__)
        return problem(
            500, "Something went wrong on our side; it has been logged.", code="internal"
        )


def _protocol_detail(status: int, error: HTTPException) -> str:
    known = {
        404: "No route has this path. See /docs for those that exist.",
        405: "This path does not take this method; the Allow header has those it takes.",
        413: "The body is larger than 1 MB. Send less.",
        415: "Send the body as application/json.",
    }
    return known.get(status, error.description or "The request cannot be read.")
