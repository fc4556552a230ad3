"""What data quality found for a tenant."""

from typing import Literal

from pydantic import Field

from shared.engine.quality import DqResult
from shared.http import auth
from shared.http.inputs import Day
from shared.http.routes import Route
from shared.models import Model
from shared.warehouse import pages


class DqQuery(Model):
    """Which results."""

    pipeline_logging_id: str | None = Field(
        default=None, max_length=64, description="Only results of this run."
    )
    status: Literal["PASSED", "FAILED", "ERROR"] | None = Field(
        default=None, description="Only rules that came out so.", examples=["FAILED"]
    )
    severity: Literal["warn", "fail"] | None = Field(
        default=None, description="Only rules of this severity.", examples=["fail"]
    )
    table: str | None = Field(
        default=None,
        min_length=1,
        max_length=300,
        description="Only results about this table: its name, or dataset.table.",
        examples=["billing_cost_daily"],
    )
    rule: str | None = Field(
        default=None, min_length=1, max_length=200, description="Only this rule, by its name."
    )
    date: Day | None = Field(
        default=None,
        description="Only checks of this date's partition.",
        examples=["2025-11-15"],
    )
    first_day: Day | None = Field(
        default=None,
        alias="from",
        description="Only checks made on or after this UTC day.",
        examples=["2025-11-01"],
    )
    last_day: Day | None = Field(
        default=None,
        alias="to",
        description="Only checks made on or before this UTC day.",
        examples=["2025-11-30"],
    )
    limit: int = Field(
        default=pages.DEFAULT_SIZE, ge=1, le=pages.MAX_SIZE, description="Results a page."
    )
    cursor: str | None = Field(
        default=None, max_length=2000, description="`next_cursor` of the page before."
    )


class DqResults(Model):
    """A page of results, newest first."""

    results: tuple[DqResult, ...]
    next_cursor: str | None = Field(
        description="Send it as `cursor` for the next page; null on the last."
    )


def list_results(tenant_id: str, query: DqQuery) -> DqResults:
    """What rules about the tenant's tables came to, newest first, page by page.

    One result a rule and attempt of a step; schema drift and reconciliations are among them.
    """
    from shared.engine.quality import Wanted, dq_results

    found = dq_results(
        auth.caller_for(tenant_id).tenant_id, Wanted(**query.model_dump(by_alias=False))
    )
    return DqResults(results=tuple(found.results), next_cursor=found.next_cursor)


ROUTES = (
    Route(
        "GET",
        "/api/v1/tenants/{tenant_id}/metadata/dq-results",
        list_results,
        "List data quality results",
        DqResults,
        query=DqQuery,
        problems=(404,),
        tag="runs",
    ),
)
