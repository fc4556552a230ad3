"""From the `credentials` of a request to their shape, field by field. Nothing repeats a value."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from shared.errors import FieldProblem, InvalidInputError
from shared.tenancy.credential_shapes import (
    PROVIDERS,
    SHAPES,
    AwsAccessKeys,
    AwsRole,
    AzureClientSecret,
    AzureFederated,
    GcpServiceAccountKey,
    GcpWorkloadIdentity,
    Shape,
)
from shared.tenancy.credential_views import Provider

_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""Names that an error may repeat: whatever looks otherwise may be a secret in the wrong place."""


def parse_for(tenant_id: str, provider: Provider, fields: Mapping[str, Any]) -> Shape:
    """The credentials in a request of a tenant, which must be able to be its own.

    Raises:
        InvalidInputError: names every bad field and repeats no value.
    """
    shape = parse(provider, fields)
    problems = shape.problems_of_owner(tenant_id)
    if problems:
        found = [FieldProblem(f"/credentials/{name}", text) for name, text in problems.items()]
        raise InvalidInputError(found)
    return shape


def parse(provider: Provider, fields: Mapping[str, Any], pointer: str = "/credentials") -> Shape:
    """Credentials of whichever tenant.

    Args:
        provider: whose they are.
        fields: as sent.
        pointer: where they stand in the body.

    Raises:
        InvalidInputError: names every bad field and repeats no value.
    """
    chosen = _CHOOSE[provider](fields, pointer)
    try:
        return chosen.model_validate(dict(fields))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise InvalidInputError([_problem(one, pointer) for one in found]) from None


def _gcp(fields: Mapping[str, Any], pointer: str) -> type[Shape]:
    kinds: dict[str, type[Shape]] = {
        "service_account": GcpServiceAccountKey,
        "external_account": GcpWorkloadIdentity,
    }
    kind = fields.get("type")
    if not isinstance(kind, str) or kind not in kinds:
        problem = "must be service_account or external_account, as in the file from Google"
        raise InvalidInputError([FieldProblem(f"{pointer}/type", problem)])
    return kinds[kind]


def _by_field(choices: Mapping[str, type[Shape]], needed: str) -> Callable[..., type[Shape]]:
    def choose(fields: Mapping[str, Any], pointer: str) -> type[Shape]:
        for name, shape in choices.items():
            if name in fields:
                return shape
        raise InvalidInputError([FieldProblem(pointer, needed)])

    return choose


_CHOOSE: Mapping[Provider, Callable[[Mapping[str, Any], str], type[Shape]]] = {
    "GCP": _gcp,
    "AWS": _by_field(
        {
            "role_arn": AwsRole,
            "external_id": AwsRole,
            "access_key_id": AwsAccessKeys,
            "secret_access_key": AwsAccessKeys,
        },
        "must hold role_arn and external_id, or access_key_id and secret_access_key",
    ),
    "AZURE": _by_field(
        {"federated_token": AzureFederated, "client_secret": AzureClientSecret},
        "must hold tenant_id and client_id, with client_secret or federated_token",
    ),
}


def _problem(found: Any, pointer: str) -> FieldProblem:
    """A finding of pydantic's, without anything of what was sent."""
    place = list(found["loc"])
    if found["type"] == "extra_forbidden":
        name = str(place[-1])
        if _FIELD_NAME.fullmatch(name):
            return FieldProblem(_pointer(place, pointer), "is not a field of these credentials")
        return FieldProblem(_pointer(place[:-1], pointer), "holds a field that has no place here")
    if found["type"] == "missing":
        return FieldProblem(_pointer(place, pointer), "is required")
    message = str(found["msg"]).removeprefix("Value error, ")
    return FieldProblem(_pointer(place, pointer), message[:1].lower() + message[1:])


def _pointer(place: list[int | str], pointer: str) -> str:
    known = [str(part) for part in place if _FIELD_NAME.fullmatch(str(part))]
    return "/".join([pointer, *known])


@cache
def json_schemas() -> list[dict[str, Any]]:
    """Every shape as JSON schema, without references; for the API's description."""
    shapes = [shape for provider in PROVIDERS for shape in SHAPES[provider]]
    return [_inline(shape.model_json_schema()) for shape in shapes]


def _inline(schema: dict[str, Any]) -> dict[str, Any]:
    definitions = schema.pop("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                target = resolved(definitions[part["$ref"].rpartition("/")[2]])
                return {**target, **{k: v for k, v in part.items() if k != "$ref"}}
            return {key: resolved(value) for key, value in part.items()}
        return [resolved(item) for item in part] if isinstance(part, list) else part

    whole: dict[str, Any] = resolved(schema)
    return whole
