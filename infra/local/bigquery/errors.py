"""BigQuery's errors: reason, HTTP status, text and JSON body, as the REST API answers them.

Reasons and statuses follow Google's page "Error messages" (BigQuery, troubleshoot errors).
"""

from dataclasses import dataclass, field
from typing import Any, Self

_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}

STATUS_BY_REASON = {
    "accessDenied": 403,
    "backendError": 503,
    "badRequest": 400,
    "billingTierLimitExceeded": 400,
    "blocked": 403,
    "bytesBilledLimitExceeded": 400,
    "conditionNotMet": 412,
    "duplicate": 409,
    "internalError": 500,
    "invalid": 400,
    "invalidQuery": 400,
    "invalidParameter": 400,
    "jobBackendError": 400,
    "jobInternalError": 400,
    "jobRateLimitExceeded": 400,
    "notFound": 404,
    "notImplemented": 501,
    "parseError": 400,
    "quotaExceeded": 403,
    "rateLimitExceeded": 403,
    "required": 400,
    "resourceInUse": 400,
    "resourcesExceeded": 400,
    "responseTooLarge": 403,
    "stopped": 400,
    "tableUnavailable": 400,
    "timeout": 400,
}


@dataclass
class ApiError(Exception):
    """One refused call or failed job.

    Attributes:
        reason: BigQuery's reason code, such as "notFound".
        message: the sentence that the client shows.
        status: the HTTP status of a refused call; by the reason when not given.
        location: what the error is about ("query", a field, a file), where known.
        errors: further errors of the same call, each {"reason", "message", "location"}.
    """

    reason: str
    message: str
    status: int = 0
    location: str | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.message)
        if not self.status:
            self.status = STATUS_BY_REASON.get(self.reason, 400)

    def __str__(self) -> str:
        return self.message

    def proto(self) -> dict[str, Any]:
        """The ErrorProto of a job's `errorResult` and `errors`."""
        body: dict[str, Any] = {"reason": self.reason, "message": self.message}
        if self.location is not None:
            body["location"] = self.location
        return body

    def protos(self) -> list[dict[str, Any]]:
        """Every ErrorProto of this error, the leading one first."""
        return [self.proto(), *self.errors]

    def body(self) -> dict[str, Any]:
        """The JSON body of the HTTP answer."""
        entries = []
        for proto in self.protos():
            entry = {"message": proto["message"], "domain": "global", "reason": proto["reason"]}
            if proto.get("location"):
                entry["location"] = proto["location"]
                entry["locationType"] = "other" if self.reason == "invalidQuery" else "parameter"
            entries.append(entry)
        return {
            "error": {
                "code": self.status,
                "message": self.message,
                "errors": entries,
                "status": _STATUS_NAMES.get(self.status, "UNKNOWN"),
            }
        }

    @classmethod
    def not_found(cls, kind: str, name: str) -> Self:
        """`kind` is "Dataset", "Table" or "Job"; `name` as "project:dataset.table"."""
        return cls("notFound", f"Not found: {kind} {name}")

    @classmethod
    def duplicate(cls, kind: str, name: str) -> Self:
        """The name is taken; `kind` and `name` as in `not_found`."""
        return cls("duplicate", f"Already Exists: {kind} {name}")

    @classmethod
    def invalid(cls, message: str, location: str | None = None) -> Self:
        """A value that BigQuery does not take."""
        return cls("invalid", message, location=location)

    @classmethod
    def required(cls, field_name: str) -> Self:
        """A field that the call must carry is missing."""
        return cls("required", f"Required parameter is missing: {field_name}", location=field_name)

    @classmethod
    def invalid_query(cls, message: str) -> Self:
        """The SQL is wrong; positions are in the message as "at [line:column]"."""
        return cls("invalidQuery", message, location="query")

    @classmethod
    def resource_in_use(cls, message: str) -> Self:
        """Something still hangs on the resource, such as tables on a dataset."""
        return cls("resourceInUse", message)

    @classmethod
    def access_denied(cls, message: str) -> Self:
        """The caller may not do this; answered with 403."""
        return cls("accessDenied", message)

    @classmethod
    def backend_error(cls, message: str = "Error encountered during execution. Try again.") -> Self:
        """A passing fault; the client retries it with the same job ID."""
        return cls("backendError", message)

    @classmethod
    def internal_error(cls, message: str) -> Self:
        """A defect of this server."""
        return cls("internalError", message)

    @classmethod
    def resources_exceeded(cls, message: str) -> Self:
        """A limit of the execution itself, such as queued DML statements on a table."""
        return cls("resourcesExceeded", message)

    @classmethod
    def stopped(
        cls, message: str = "Job execution was cancelled: User requested cancellation"
    ) -> Self:
        """A job that somebody cancelled."""
        return cls("stopped", message)

    @classmethod
    def not_implemented(cls, message: str) -> Self:
        """A feature of BigQuery that this server lacks; the message names it."""
        return cls("invalid", message)

    @classmethod
    def bytes_billed_limit(cls, limit: int, needed: int) -> Self:
        """The query would bill more than `maximumBytesBilled` (both in bytes)."""
        return cls(
            "bytesBilledLimitExceeded",
            f"Query exceeded limit for bytes billed: {limit}. {needed} or higher required.",
        )
