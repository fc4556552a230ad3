"""What a backfill is asked for: a template, its variables and a range of dates."""

import datetime as dt
import json
from typing import Any

from pydantic import Field, field_validator

from shared.errors import FieldProblem, InvalidInputError
from shared.models import Model
from shared.schedules.definitions import path_part, without_own_names

MAX_DATES = 400
"""A year and a month. All of them fit into one request to BigQuery, which takes all or none."""
MAX_PARAMETERS_BYTES = 10_000
"""Every run carries them: 400 times this is well below what one request takes."""


class BackfillFields(Model):
    """What a backfill runs."""

    provider: str = Field(
        min_length=1, description="First part of the template's path.", examples=["GCP"]
    )
    domain: str = Field(
        min_length=1, description="Second part of the template's path.", examples=["COST"]
    )
    pipeline_template: str = Field(
        min_length=1, description="The template's name.", examples=["cost_billing"]
    )
    start_date: dt.date = Field(description="First date to process.", examples=["2025-10-01"])
    end_date: dt.date = Field(
        description=f"Last date, inclusive; not in the future, at most {MAX_DATES} dates.",
        examples=["2025-10-31"],
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Variables of the template that all runs replace."
    )
    max_concurrency: int = Field(
        default=1, ge=1, le=100, description="How many of its runs may run at once."
    )

    @field_validator("provider", "domain", "pipeline_template")
    @classmethod
    def _name(cls, text: str) -> str:
        return path_part(text)

    @field_validator("parameters")
    @classmethod
    def _parameters(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(parameters)) > MAX_PARAMETERS_BYTES:
            raise ValueError(f"must be at most {MAX_PARAMETERS_BYTES} bytes of JSON")
        return without_own_names(parameters)

    def dates(self) -> list[dt.date]:
        """The dates of the range, ascending.

        Raises:
            InvalidInputError: it is empty, too long, or reaches into the future.
        """
        today = dt.datetime.now(dt.UTC).date()
        first, last = self.start_date, self.end_date
        count = (last - first).days + 1
        problems = []
        if count < 1:
            problems.append(
                FieldProblem("/end_date", f"lies before start_date, {first}", str(last))
            )
        if last > today:
            text = f"lies in the future; today is {today}, UTC"
            problems.append(FieldProblem("/end_date", text, str(last)))
        if count > MAX_DATES:
            text = f"makes {count} dates; ask for at most {MAX_DATES} at a time"
            problems.append(FieldProblem("/start_date", text, str(first)))
        if problems:
            raise InvalidInputError(problems)
        return [first + dt.timedelta(days=day) for day in range(count)]
