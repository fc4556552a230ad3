"""The API's own description: an OpenAPI 3.1 document from the routes, and a page to read it.

Built by hand from pydantic's JSON schemas: the libraries that do it import in a tenth of a second,
which every cold start would pay for a page that few requests ask for (docs/adr/0005).
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flask import Response, send_from_directory
from pydantic import BaseModel, Field
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from shared.http.examples import Examples
from shared.http.problems import TITLES
from shared.http.routes import Auth, Route
from shared.models import Model

VERSION = "1.0.0"
_SECURITY: dict[Auth, list[dict[str, list[str]]]] = {
    "none": [],
    "api_key": [{"ApiKey": []}, {"AdminKey": []}],
    "admin": [{"AdminKey": []}],
    "admin_unless_open": [{"AdminKey": []}, {}],
    "admin_or_scheduler": [{"AdminKey": []}, {"SchedulerToken": []}],
}
_REASONS = {
    400: "The request cannot be read.",
    401: "No key, or not a valid one.",
    403: "The key is not for this.",
    404: "It does not exist.",
    409: "It contradicts what is there.",
    413: "The body is larger than 1 MB.",
    415: "The body is not JSON.",
    422: "Values that have to be changed; `errors` names each.",
    429: "A quota or rate limit is used up; `Retry-After` says how long.",
    500: "Our fault; it has been logged.",
    503: "The cloud behind the service does not answer; `Retry-After` says how long to wait.",
}


_BAD_DATE = "must be a date written YYYY-MM-DD, such as 2025-11-15"
_EXAMPLE_PROBLEMS: Mapping[int, tuple[str, str]] = {
    400: ("http-400", "The request cannot be read."),
    401: ("unauthenticated", "Invalid API key. Send a valid key in X-API-Key."),
    403: ("other-tenant", "The API key does not belong to the tenant in the URL."),
    404: ("not-found", "Run '0b6f5c1e-2a3d-4d1c-8b4a-5d1f6a7b8c9d' does not exist."),
    409: ("conflict", "Tenant 'acme_corp' exists already. Nothing was changed."),
    413: ("http-413", "The body is larger than 1 MB. Send less."),
    415: ("http-415", "Send the body as application/json."),
    422: ("invalid-input", f"date: {_BAD_DATE}"),
    429: ("quota-exceeded", "Daily pipeline quota exceeded. Upgrade or wait until tomorrow."),
    500: ("internal", "Something went wrong on our side; it has been logged."),
    503: ("warehouse-busy", "The service is busy. Try again in a moment."),
}
_PATH_PARAMETERS: Mapping[str, tuple[str, str]] = {
    "tenant_id": ("The tenant; must be that of the key.", "acme_corp"),
    "provider": ("First part of the template's path.", "gcp"),
    "domain": ("Second part of the template's path.", "cost"),
    "template": ("Third part of the template's path.", "cost_billing"),
    "run_id": ("`pipeline_logging_id` of the run.", "f47ac10b-58cc-4372-a567-0e02b2c3d479"),
    "key_id": ("`api_key_id` of the key.", "3f0a8a52-7f43-4a0e-9d0b-0a4f5d5f7c11"),
}
_OPERATORS_TENANT: Mapping[str, Any] = {
    "name": "tenant_id",
    "in": "query",
    "required": False,
    "description": "With `X-Admin-Key` only: the tenant that is meant.",
    "schema": {"type": "string"},
}
_SCHEMES: Mapping[str, Any] = {
    "ApiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "A tenant's key; its scopes say what it opens.",
    },
    "AdminKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Admin-Key",
        "description": "The operator's key; opens everything, on any tenant.",
    },
    "SchedulerToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The OIDC token of Cloud Scheduler's jobs.",
    },
}


def _header(description: str, kind: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


_HEADERS: Mapping[str, Any] = {
    "X-Request-ID": _header("Names the request in the log.", "string"),
    "Retry-After": _header("Seconds after which to ask again.", "integer"),
    "RateLimit-Limit": _header("Requests in the window that counts here.", "integer"),
    "RateLimit-Remaining": _header("Requests that are left in it.", "integer"),
    "RateLimit-Reset": _header("Seconds until there is room again.", "integer"),
    "WWW-Authenticate": _header("Which header takes the key.", "string"),
}


class FieldError(Model):
    """One bad field of a request."""

    pointer: str = Field(description="JSON pointer to the field.")
    detail: str = Field(description="What is wrong and what to write instead.")
    value: Any = Field(default=None, description="What was sent.")


class Problem(Model):
    """An error answer (RFC 9457)."""

    type: str = Field(description="URN of the kind of problem; stable.")
    title: str = Field(description="The HTTP status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="A sentence that says what to do.")
    request_id: str | None = Field(default=None, description="`X-Request-ID`, for the log.")
    errors: list[FieldError] | None = Field(default=None, description="Each bad field.")


def document(routes: Sequence[Route], *, title: str, description: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of `routes`."""
    return _Document(routes).whole(title, description)


class _Document:
    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        models: set[tuple[type[BaseModel], JsonSchemaMode]] = {(Problem, "serialization")}
        for route in routes:
            models.add((route.answer, "serialization"))
            models.update((sent, "validation") for sent in (route.body, route.query) if sent)
        ordered = sorted(models, key=lambda entry: (entry[0].__name__, entry[1]))
        self._references, schemas = models_json_schema(
            ordered, ref_template="#/components/schemas/{model}"
        )
        self._schemas: dict[str, Any] = schemas["$defs"]
        self._examples = Examples(self._schemas)

    def whole(self, title: str, description: str) -> dict[str, Any]:
        paths: dict[str, dict[str, Any]] = {}
        for route in self._routes:
            paths.setdefault(route.path, {})[route.method.lower()] = self._operation(route)
        queries = {route.query.__name__ for route in self._routes if route.query}
        return {
            "openapi": "3.1.0",
            "info": {"title": title, "version": VERSION, "description": description},
            "servers": [{"url": "/", "description": "Where this document came from."}],
            "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in self._routes)],
            "paths": paths,
            "components": {
                "schemas": {n: schema for n, schema in self._schemas.items() if n not in queries},
                "headers": _HEADERS,
                "securitySchemes": _SCHEMES,
            },
        }

    def _operation(self, route: Route) -> dict[str, Any]:
        words = re.sub(r"[^a-z0-9]+", "_", route.path.lower()).strip("_")
        operation: dict[str, Any] = {
            "operationId": f"{route.method.lower()}_{words}",
            "summary": route.summary,
            "description": _description(route),
            "tags": [route.tag],
            "security": _SECURITY[route.auth],
            "parameters": self._parameters(route),
            "responses": {
                str(route.status): self._answer(route),
                **{str(status): self._problem(status, route) for status in _problems(route)},
            },
        }
        if route.body:
            schema = self._reference(route.body, "validation")
            operation["requestBody"] = {
                "required": bool(self._resolved(schema).get("required")),
                "content": {
                    "application/json": {"schema": schema, "example": self._examples.body(schema)}
                },
            }
        return operation

    def _parameters(self, route: Route) -> list[dict[str, Any]]:
        names = re.findall(r"\{(\w+)\}", route.path)
        path = [_path_parameter(name, route) for name in names]
        schema = self._resolved(self._reference(route.query, "validation")) if route.query else {}
        query = [
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "description": field.get("description", ""),
                "schema": {key: value for key, value in field.items() if key != "description"},
            }
            for name, field in schema.get("properties", {}).items()
        ]
        if route.auth == "api_key" and "tenant_id" not in names and not route.query:
            query.append(dict(_OPERATORS_TENANT))
        return [*path, *query, *_header_parameters(route)]

    def _answer(self, route: Route) -> dict[str, Any]:
        schema = self._reference(route.answer, "serialization")
        content = {"schema": schema, "example": self._examples.answer(schema)}
        return {
            "description": route.summary,
            "headers": _header_references(route),
            "content": {"application/json": content},
        }

    def _problem(self, status: int, route: Route) -> dict[str, Any]:
        names = {401: ["WWW-Authenticate"], 409: ["Retry-After"], 429: ["Retry-After"]}
        extra = ["Retry-After"] if status == 503 else names.get(status, [])
        content = {
            "schema": self._reference(Problem, "serialization"),
            "example": _example_problem(status),
        }
        return {
            "description": _REASONS[status],
            "headers": _header_references(route, *extra),
            "content": {"application/problem+json": content},
        }

    def _reference(self, model: type[BaseModel], mode: JsonSchemaMode) -> dict[str, Any]:
        return dict(self._references[model, mode])

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._schemas[schema["$ref"].rpartition("/")[2]]
        return found


def _description(route: Route) -> str:
    """The handler's docstring, as far as it speaks to callers, and the scope that a key needs."""
    text = route.description or inspect.cleandoc(route.handler.__doc__ or "")
    text = text.partition("\nRaises:")[0].strip()
    if route.auth == "api_key":
        return f"{text}\n\nNeeds the scope `{route.needed_scope}`."
    return text


def _path_parameter(name: str, route: Route) -> dict[str, Any]:
    described = route.path_descriptions.get(name) or _PATH_PARAMETERS.get(name, ("", None))[0]
    example = _PATH_PARAMETERS.get(name, ("", None))[1]
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": described,
        "schema": {"type": "string", "minLength": 1},
        **({"example": example} if example else {}),
    }


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    user = {"X-User-ID": "Who it was, for the record; decides nothing."}
    known = {
        **route.headers,
        **(user if route.auth != "none" else {}),
        "X-Request-ID": "Names the request in answer and log; made where absent or unfit.",
        "traceparent": "W3C trace context that the request continues.",
    }
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": text,
            "schema": {"type": "string"},
        }
        for name, text in known.items()
    ]


def _header_references(route: Route, *extra: str) -> dict[str, Any]:
    limited = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
    names = ("X-Request-ID", *(limited if route.auth != "none" else ()), *extra)
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problems(route: Route) -> list[int]:
    always = {429, 500, 503} if route.auth != "none" else set()
    keyed = {401, 403} if route.auth == "api_key" else {401} if route.auth != "none" else set()
    bodied = {413, 415, 422} if route.body else set()
    named = {404} if route.auth == "api_key" and "{tenant_id}" in route.path else set()
    asked = {422} if route.query or (route.auth == "api_key" and not named) else set()
    return sorted({*route.problems, *always, *keyed, *bodied, *named, *asked})


def _example_problem(status: int) -> dict[str, Any]:
    code, detail = _EXAMPLE_PROBLEMS[status]
    return {
        "type": f"urn:convergence:problem:{code}",
        "title": TITLES[status],
        "status": status,
        "detail": detail,
        "request_id": "5a0c3c1e-9a66-4f0b-8f0e-0d2f6f1b7a55",
        "errors": [{"pointer": "/date", "detail": _BAD_DATE, "value": "15.11.2025"}]
        if status == 422
        else None,
    }


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script>
window.onload = () => SwaggerUIBundle({{ url: "/openapi.json", dom_id: "#swagger-ui" }});
</script></body></html>
"""
_ASSETS = {"swagger-ui.css": "css", "swagger-ui-bundle.js": "js"}


def page(title: str) -> Response:
    """The page that lets a person read and try the API."""
    return Response(_PAGE.format(title=title), content_type="text/html; charset=utf-8")


def asset(name: str) -> Response:
    """A file of the page, served from an installed package: nothing is fetched elsewhere."""
    from importlib.util import find_spec

    from werkzeug.exceptions import NotFound

    package = find_spec("flask_openapi3_swagger")
    if name not in _ASSETS or package is None or package.origin is None:
        raise NotFound
    folder = Path(package.origin).parent / "templates" / "swagger" / _ASSETS[name]
    return send_from_directory(folder, name, max_age=86_400)
