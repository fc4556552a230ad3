"""Tokens for credentials: Google's endpoint and Microsoft Entra ID's, as their clients ask them.

`POST /token` takes a service account's signed assertion (RFC 7523), and
`POST /{directory}/oauth2/v2.0/token` an application's secret (RFC 6749, section 4.4). Whoever is
well-formed gets a token that opens nothing: whom the real ones know, this one cannot know.

Tests say whom it refuses, `POST /_local/refusals {"principal": "a@b.iam.gserviceaccount.com"}`, and
for how many requests it is away, `POST /_local/faults {"times": 2, "status": 503}`.
"""

import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.local.service import RunningService, UvicornService

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TOKEN = {"token_type": "Bearer", "expires_in": 3599, "access_token": "opens-nothing"}


class Identity:
    """Both endpoints, and whom they refuse."""

    def __init__(self) -> None:
        self._refused: set[str] = set()
        self._times_away = 0
        self._status = 503

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/token", self.google, methods=["POST"]),
                Route("/{directory}/oauth2/v2.0/token", self.microsoft, methods=["POST"]),
                Route("/_local/refusals", self.refuse, methods=["POST"]),
                Route("/_local/faults", self.fail, methods=["POST"]),
            ]
        )

    async def refuse(self, request: Request) -> Response:
        self._refused.add((await request.json())["principal"])
        return Response(status_code=204)

    async def fail(self, request: Request) -> Response:
        content = await request.json()
        self._times_away, self._status = content["times"], content.get("status", 503)
        return Response(status_code=204)

    async def google(self, request: Request) -> Response:
        if self._is_away():
            return JSONResponse({"error": "internal_failure"}, status_code=self._status)
        form = dict(parse_qsl((await request.body()).decode()))
        if form.get("grant_type") != _JWT_BEARER:
            return _google_error("unsupported_grant_type", "Invalid grant_type")
        claims = _claims(form.get("assertion", ""))
        if claims is None:
            return _google_error("invalid_grant", "Invalid JWT Signature.")
        if claims.get("iss") in self._refused:
            return _google_error("invalid_grant", "Invalid grant: account not found")
        return JSONResponse(_TOKEN)

    async def microsoft(self, request: Request) -> Response:
        if self._is_away():
            return JSONResponse({"error": "temporarily_unavailable"}, status_code=self._status)
        form = dict(parse_qsl((await request.body()).decode()))
        if form.get("grant_type") != "client_credentials":
            return _microsoft_error(400, "unsupported_grant_type", 70003)
        if not (form.get("client_secret") or form.get("client_assertion")):
            return _microsoft_error(401, "invalid_client", 7000216)
        if request.path_params["directory"] in self._refused:
            return _microsoft_error(400, "invalid_request", 90002)
        if form.get("client_id") in self._refused:
            return _microsoft_error(401, "invalid_client", 7000215)
        return JSONResponse(_TOKEN | {"access_token": _entra_token(form.get("scope", ""))})

    def _is_away(self) -> bool:
        self._times_away -= 1
        return self._times_away >= 0


def _entra_token(scope: str) -> str:
    """A token of Entra's form for a resource, unsigned: Azurite looks at audience and times."""
    now = int(time.time())
    claims = {
        "aud": scope.removesuffix("/.default"),
        "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/",
        "iat": now,
        "nbf": now - 60,
        "exp": now + 3600,
    }
    parts = ({"typ": "JWT", "alg": "RS256"}, claims, "opens-nothing")
    return ".".join(urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)


def _google_error(error: str, description: str) -> Response:
    content = {"error": error, "error_description": description}
    return JSONResponse(content, status_code=400)


def _microsoft_error(status: int, error: str, number: int) -> Response:
    content = {
        "error": error,
        "error_description": f"AADSTS{number}: refused by the local identity service.",
        "error_codes": [number],
    }
    return JSONResponse(content, status_code=status)


def _claims(assertion: str) -> dict[str, Any] | None:
    """What a JWT claims; None where it is none. Its signature says nothing here."""
    parts = assertion.split(".")
    if len(parts) != 3 or not all(parts):
        return None
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    return claims if isinstance(claims, dict) else None


def start(*, host: str, port: int, state: Path | None) -> RunningService:
    """Serve until `stop`; nothing is kept in `state`.

    Raises:
        StartupError: the port is taken.
    """
    del state
    return UvicornService(Identity().application(), host=host, port=port)
