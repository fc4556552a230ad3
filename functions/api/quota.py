"""The tenant's quota: what it has used, what it may use, when the counts start again."""

import datetime as dt

from pydantic import Field

from shared.http import auth
from shared.http.routes import Route
from shared.models import Model


class Quota(Model):
    """Use and limits of this moment."""

    tenant_id: str
    plan_name: str = Field(description="Plan of the tenant's subscription.")
    subscription_status: str = Field(
        description="ACTIVE; SUSPENDED or CANCELLED, where nothing may start whatever remains.",
        examples=["ACTIVE"],
    )
    usage_date: dt.date = Field(description="The UTC day that `today` means.")
    pipelines_run_today: int
    daily_limit: int
    remaining_today: int
    pipelines_run_month: int = Field(description="In this calendar month, UTC.")
    monthly_limit: int
    remaining_month: int
    concurrent_pipelines_running: int
    concurrent_limit: int
    remaining_concurrent: int
    resets_at: dt.datetime = Field(description="When the daily count starts again.")
    month_resets_at: dt.datetime = Field(description="When the monthly count starts again.")


def show(tenant_id: str) -> Quota:
    """How many pipelines the tenant has run today and this month, how many run now, and the limits.

    What remains is never below zero, also after a change to a smaller plan. A run may start only
    where all three leave room. A suspended tenant may look, too.
    """
    from shared.tenancy import quota

    caller = auth.caller_for(tenant_id)
    usage = quota.look(caller.tenant_id)
    limits = usage.limits
    return Quota(
        tenant_id=caller.tenant_id,
        plan_name=limits.plan_name,
        subscription_status=usage.status,
        usage_date=usage.today,
        pipelines_run_today=usage.run_today,
        daily_limit=limits.daily,
        remaining_today=max(0, limits.daily - usage.run_today),
        pipelines_run_month=usage.run_this_month,
        monthly_limit=limits.monthly,
        remaining_month=max(0, limits.monthly - usage.run_this_month),
        concurrent_pipelines_running=usage.running,
        concurrent_limit=limits.concurrent,
        remaining_concurrent=max(0, limits.concurrent - usage.running),
        resets_at=quota.day_ends(usage.at),
        month_resets_at=quota.month_ends(usage.at),
    )


ROUTES = (
    Route(
        "GET",
        "/api/v1/tenants/{tenant_id}/quota",
        show,
        "Quota used and left",
        Quota,
        tag="tenants",
    ),
)
