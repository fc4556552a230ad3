"""Routes as declarations: path, models, answers. The same declaration serves and documents.

A handler gets its path parameters and, where declared, its `body` and `query` as models; it returns
a model or `(model, status)`. Everything that every route owes its caller happens here: who asks and
whether the key's scopes allow it, request ID, trace, body limits, errors as problem+json, the entry
in the audit log.
"""

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flask import Flask, Response, current_app, g, request
from pydantic import BaseModel
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import Rule

from shared.http import audited, auth, problems, rate_limits
from shared.http.inputs import parse_body, parse_query
from shared.settings import settings
from shared.telemetry import describe_hop, log, log_context, trace

MAX_BODY_BYTES = 1_000_000
_LARGEST_REQUEST_BYTES = 32 * 1024 * 1024
_OPERATOR = "operator"
_METHODS = "convergence.methods"
Auth = Literal["none", "api_key", "admin", "admin_unless_open", "admin_or_scheduler"]
"""`api_key` routes also take the admin key; `admin_unless_open` asks for none on an open stack;
`admin_or_scheduler` takes the OIDC token of Cloud Scheduler's jobs instead of the admin key."""
Scope = Literal["read", "run", "manage"]


@dataclass(frozen=True)
class Route:
    """One method on one path."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    """With `{name}` for path parameters, as OpenAPI writes them."""
    handler: Callable[..., Any]
    summary: str
    answer: type[BaseModel]
    status: int = 200
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    """Query parameters; unknown ones are refused."""
    auth: Auth = "api_key"
    scope: Scope | None = None
    """What an API key must allow; absent: `read` for GET, `manage` for everything else."""
    action: str | None = None
    """What the audit log calls it, such as `api_key.revoke`; whatever changes state has one."""
    resource: str | None = None
    """Path parameter or field of the answer that names what was acted upon, for the audit log."""
    starts_run: bool = False
    """Whether it counts against the tenant's share of run requests."""
    problems: tuple[int, ...] = ()
    tag: str = "service"
    description: str = ""
    path_descriptions: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """Optional request headers beside those that every route takes, with what they do."""

    @property
    def needed_scope(self) -> Scope:
        """The scope that an API key must have."""
        return self.scope or ("read" if self.method == "GET" else "manage")


def serve(app: Flask, routes: tuple[Route, ...]) -> None:
    """Register `routes` on `app`, with everything that holds for all of them."""
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.url_map.strict_slashes = False
    app.wsgi_app = _observed(app.wsgi_app)  # type: ignore[method-assign]
    app.before_request(_begin)
    app.after_request(_finish)
    problems.install(app)
    methods: dict[str, list[str]] = {}
    for route in routes:
        pattern = route.path.replace("{", "<").replace("}", ">")
        methods.setdefault(pattern, []).append(route.method)
        app.add_url_rule(
            pattern,
            endpoint=_name(route),
            view_func=_view(route),
            methods=[route.method],
            provide_automatic_options=False,
        )
    for pattern in methods:
        app.url_map.add(Rule(pattern, endpoint=_METHODS))
    app.view_functions[_METHODS] = _another_method
    app.extensions[_METHODS] = {
        pattern: sorted({*known, "OPTIONS", *(["HEAD"] if "GET" in known else ())})
        for pattern, known in methods.items()
    }


def allowed_methods() -> list[str]:
    """The methods that the request's path takes; none where there is no such path.

    A path owns its methods: what `/tenants/{tenant_id}` takes is not taken by `/tenants/onboard`,
    although its pattern fits.
    """
    rule = request.url_rule
    known: dict[str, list[str]] = current_app.extensions.get(_METHODS, {})
    if rule is not None and rule.rule in known:
        return known[rule.rule]
    return sorted(rule.methods or ()) if rule is not None else []


def _another_method(**_: str) -> Response:
    """Answer a method that no route of the path has."""
    if request.method == "OPTIONS":
        return Response(headers={"Allow": ", ".join(allowed_methods())})
    raise MethodNotAllowed(valid_methods=allowed_methods())


def _name(route: Route) -> str:
    return f"{route.method} {route.path}"


def _observed(wsgi_app: Callable[..., Any]) -> Callable[..., Any]:
    """Run every request inside its trace and with its ID in every line of the log."""

    def observed(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        request_id = _clean_request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        environ["convergence.request_id"] = request_id
        with (
            trace(environ.get("HTTP_TRACEPARENT"), "request") as traceparent,
            log_context(request_id=request_id),
        ):
            environ["convergence.traceparent"] = traceparent
            answer = wsgi_app(environ, start_response)
            _read_to_the_end(environ["wsgi.input"])
            return answer

    return observed


def _read_to_the_end(body: Any) -> None:
    """Take what a refused request still sends.

    A server that finds unread bytes closes the connection, and whoever shares it with the refused
    caller would see that as a failure of ours. Cloud Run takes 32 MB a request.
    """
    left = _LARGEST_REQUEST_BYTES
    while left > 0 and (chunk := body.read(65_536)):
        left -= len(chunk)


def _clean_request_id(sent: str) -> str:
    """The caller's ID if it is harmless in a header and a log line, else a new one."""
    harmless = 0 < len(sent) <= 128 and all(
        c.isascii() and (c.isalnum() or c in "-_.") for c in sent
    )
    return sent if harmless else str(uuid.uuid4())


def _begin() -> None:
    g.request_id = request.environ["convergence.request_id"]
    g.began = time.monotonic()


def _finish(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    response.headers["traceparent"] = request.environ["convergence.traceparent"]
    response.headers.update(rate_limits.headers())
    route: Route | None = g.get("route")
    if route and route.action:
        audited.record(route.action, response)
    describe_hop(
        _name(route) if route else "",
        failed=response.status_code >= 500,
        http_route=route.path if route else None,
        http_status=response.status_code,
    )
    log(
        logging.INFO,
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        duration_ms=round((time.monotonic() - g.began) * 1000),
        user_id=request.headers.get("X-User-ID", "")[:200] or None,
    )
    return response


def _view(route: Route) -> Callable[..., Response]:
    def view(**path: Any) -> Response:
        g.route = route
        audited.note(tenant_id=path.get("tenant_id"), resource_id=path.get(route.resource or ""))
        _let_in(route, path.get("tenant_id"))
        arguments = dict(path)
        if route.query is not None:
            arguments["query"] = parse_query(route.query)
        if route.body is not None:
            arguments["body"] = body = parse_body(route.body)
            audited.note(tenant_id=getattr(body, "tenant_id", None))
        result = route.handler(**arguments)
        model, status = result if isinstance(result, tuple) else (result, route.status)
        if isinstance(model, Response):
            return model
        audited.note(resource_id=getattr(model, route.resource or "", None))
        return Response(
            model.model_dump_json(exclude_none=False), status, content_type="application/json"
        )

    return view


def _let_in(route: Route, tenant_id: str | None) -> None:
    """Let only those through who may use `route`.

    Raises:
        UnauthenticatedError: no key, or not a valid one.
        AccessDeniedError: another tenant's key, or one without the route's scope.
        RateLimitedError: too many requests in too short a time.
    """
    if route.auth == "none" or (route.auth == "admin_unless_open" and settings().OPEN_ONBOARDING):
        return
    if route.auth != "api_key":
        if not (route.auth == "admin_or_scheduler" and auth.is_cloud_scheduler()):
            auth.require_operator()
        rate_limits.spend(_name(route), _OPERATOR)
        return
    caller = auth.authenticated() if tenant_id is None else auth.caller_for(tenant_id)
    rate_limits.spend(
        _name(route),
        _OPERATOR if caller.is_admin else caller.tenant_id,
        runs_of=caller.tenant_id if route.starts_run else None,
    )
    auth.require_scope(caller, route.needed_scope)
