"""Refusals of a request, in the words of Google's service where they are known."""

from typing import Any

import grpc

_SHORT = 3  # "projects/p/topics/NAME": the fourth part is what the service names in its texts


class RequestError(Exception):
    """A call ends with this gRPC status; the text is what the client's exception shows."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def invalid(text: str) -> RequestError:
    """INVALID_ARGUMENT: the same request can never succeed."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, text)


def too_small(field: str, value: Any, minimum: Any) -> RequestError:
    """INVALID_ARGUMENT with the service's text for a value below its minimum."""
    return invalid(
        f"The value for {field} is too small. You passed {value} in the request, "
        f"but the minimum value is {minimum}."
    )


def too_large(field: str, value: Any, maximum: Any) -> RequestError:
    """INVALID_ARGUMENT with the service's text for a value above its maximum."""
    return invalid(
        f"The value for {field} is too large. You passed {value} in the request, "
        f"but the maximum value is {maximum}."
    )


def out_of_range(error: RequestError) -> RequestError:
    """The same text as OUT_OF_RANGE, which a dead-letter policy answers with."""
    return RequestError(grpc.StatusCode.OUT_OF_RANGE, error.text)


def not_found(name: str) -> RequestError:
    """NOT_FOUND of a topic or subscription."""
    return RequestError(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={_short(name)}).")


def already_exists(name: str) -> RequestError:
    """ALREADY_EXISTS of a topic or subscription."""
    return RequestError(
        grpc.StatusCode.ALREADY_EXISTS,
        f"Resource already exists in the project (resource={_short(name)}).",
    )


def failed_precondition(text: str) -> RequestError:
    """FAILED_PRECONDITION: the resource is of the wrong kind for this call."""
    return RequestError(grpc.StatusCode.FAILED_PRECONDITION, text)


def unimplemented(what: str) -> RequestError:
    """UNIMPLEMENTED: Google's service has it, the local one does not."""
    return RequestError(grpc.StatusCode.UNIMPLEMENTED, f"The local Pub/Sub does not offer {what}.")


def _short(name: str) -> str:
    parts = name.split("/", _SHORT)
    return parts[_SHORT] if len(parts) > _SHORT else name
