"""Rows that a load job cannot take: counting them against `maxBadRecords`, BigQuery's texts."""

from dataclasses import dataclass, field
from typing import Any

from infra.local.bigquery.errors import ApiError

_SHOWN = 5


@dataclass(slots=True)
class BadRecords:
    """The bad rows of one load job.

    Attributes:
        allowed: `maxBadRecords`.
        described: "JSON" or "CSV", for the texts.
    """

    allowed: int
    described: str
    count: int = 0
    rows_read: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)

    def add(self, message: str) -> None:
        """Note one bad row.

        Raises:
            ApiError: 400 invalid once there are more than allowed.
        """
        self.count += 1
        if len(self.errors) < _SHOWN:
            text = f"Error while reading data, error message: {message}"
            self.errors.append({"reason": "invalid", "message": text})
        if self.count > self.allowed:
            raise ApiError(
                "invalid",
                f"Error while reading data, error message: {self.described} table encountered too"
                f" many errors, giving up. Rows: {max(self.rows_read, 1)}; errors: {self.count}."
                " Please look into the errors[] collection for more details.",
                errors=self.errors,
            )
