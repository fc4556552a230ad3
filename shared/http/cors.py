"""Browsers: which origins may call, and what they ask before they do (Fetch standard, CORS).

An origin is let in when the settings name it exactly. Keys travel in headers, never in cookies, so
no credentials are allowed; and what is not named gets no header, which a browser takes for a no.
"""

from flask import Flask, Response, request

from shared.http import problems
from shared.http.routes import allowed_methods
from shared.settings import settings

_HEADERS = (
    "Content-Type",
    "Idempotency-Key",
    "X-Admin-Key",
    "X-API-Key",
    "X-Request-ID",
    "X-User-ID",
    "traceparent",
)
_EXPOSED = (
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "X-Request-ID",
    "traceparent",
)
_MAX_AGE_SECONDS = 600


def install(app: Flask) -> None:
    """Answer preflights of every path of `app`, and let answers be read by the origins allowed."""
    app.before_request(_preflight)
    app.after_request(_allow)


def _preflight() -> Response | None:
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    methods = allowed_methods()
    if not methods:
        return None  # no such path: answered like any other request for it
    if not _is_allowed():
        return problems.problem(
            403,
            "This origin may not call from a browser. The operator lists origins in CORS_ORIGINS.",
            code="origin-not-allowed",
        )
    headers = {
        "Access-Control-Allow-Methods": ", ".join(methods),
        "Access-Control-Allow-Headers": ", ".join(_HEADERS),
        "Access-Control-Max-Age": str(_MAX_AGE_SECONDS),
    }
    return Response(status=204, headers=headers)


def _allow(response: Response) -> Response:
    if settings().CORS_ORIGINS:
        response.vary.add("Origin")
    if _is_allowed():
        response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response.headers["Access-Control-Expose-Headers"] = ", ".join(_EXPOSED)
    return response


def _is_allowed() -> bool:
    return request.headers.get("Origin") in settings().CORS_ORIGINS
