"""What a request sends, as models: its JSON body and its query parameters."""

import datetime as dt
import json
import re
from typing import Annotated, Any

from flask import request
from pydantic import BaseModel, BeforeValidator, ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from shared.errors import FieldProblem, InvalidInputError

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})"
)


def _written_day(day: object) -> object:
    """A number, also one in a text, would pass as seconds since 1970; a date is written out."""
    if day is not None and not (isinstance(day, str) and _DAY.fullmatch(day)):
        raise ValueError("must be a date written YYYY-MM-DD, such as 2025-11-15")
    return day


def _written_moment(moment: object) -> object:
    if moment is not None and not (isinstance(moment, str) and _MOMENT.fullmatch(moment)):
        raise ValueError("must be a time with its offset, such as 2026-01-31T12:00:00Z")
    return moment


Day = Annotated[dt.date, BeforeValidator(_written_day)]
"""A date in a request."""
Moment = Annotated[dt.datetime, BeforeValidator(_written_moment)]
"""A moment in a request: RFC 3339, with offset."""


def parse_body(model: type[BaseModel]) -> BaseModel:
    """The request's JSON body as `model`; an empty body counts as `{}`.

    JSON is also taken where a client forgot to say so: `curl -d` calls it a form. What was sent is
    not repeated by the errors of a model that is configured with `hide_input_in_errors`.

    Raises:
        InvalidInputError: not JSON, or not the model's; names every bad field.
        UnsupportedMediaType: the content type says that it is something else.
    """
    kind = (request.mimetype or "application/json").lower()
    if not (kind.endswith(("/json", "+json")) or kind == "application/x-www-form-urlencoded"):
        raise UnsupportedMediaType
    text = request.get_data(parse_form_data=False)
    try:
        content = json.loads(text, parse_constant=_no_number) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise InvalidInputError([FieldProblem("", f"must be JSON: {error}")]) from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        hide = bool(model.model_config.get("hide_input_in_errors"))
        raise InvalidInputError(field_problems(error, hide_values=hide)) from None


def parse_query(model: type[BaseModel]) -> BaseModel:
    """The request's query parameters as `model`; of a repeated one the first counts.

    Raises:
        InvalidInputError: names every bad parameter, by its name.
    """
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise InvalidInputError(
            [
                FieldProblem(
                    found.pointer.removeprefix("/"),
                    found.problem.replace("a field of this request", "a parameter of this route"),
                    found.value,
                )
                for found in field_problems(error)
            ]
        ) from None


def idempotency_key() -> str | None:
    """The request's `Idempotency-Key`, None without one.

    Raises:
        InvalidInputError: it is empty, too long or not printable ASCII.
    """
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise InvalidInputError(
            [FieldProblem("Idempotency-Key", "must be 1 to 255 printable ASCII characters", key)]
        )
    return key


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")


def field_problems(error: ValidationError, *, hide_values: bool = False) -> list[FieldProblem]:
    """Pydantic's findings with JSON pointers and sentences of ours.

    Args:
        error: what pydantic found.
        hide_values: for a body that carries secrets: nothing of what was sent is repeated.
    """
    return [
        FieldProblem(
            "".join(f"/{_pointer_part(part)}" for part in found["loc"]),
            _sentence(found),
            None if hide_values or found["type"] == "missing" else found["input"],
        )
        for found in error.errors(include_url=False)
    ]


def _pointer_part(part: int | str) -> str:
    """A key as a JSON pointer has it (RFC 6901, section 3)."""
    return str(part).replace("~", "~0").replace("/", "~1")


def _sentence(found: Any) -> str:
    if found["type"] == "missing":
        return "is required"
    if found["type"] == "extra_forbidden":
        return "is not a field of this request"
    message = str(found["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
