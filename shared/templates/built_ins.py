"""Built-in variables: what every template may refer to without declaring it."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.templates import value_types
from shared.templates.value_types import ValueType


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltIns:
    """Facts of one run; the template adds `provider`, `domain`, `template_name`, `pipeline_id`."""

    tenant_id: str
    date: dt.date
    run_date: dt.date
    project_id: str
    """The deployment's own Google Cloud project."""
    pipeline_logging_id: str = ""
    trigger_by: str = ""
    company_name: str = ""
    billing_account_ids: tuple[str, ...] | list[str] = ()
    """The tenant's own billing accounts."""
    admin_email: str | None = None
    """From the tenant's profile; a template variable of that name or the body replaces it."""

    def values(self) -> dict[str, Any]:
        """The variables in JSON form."""
        return {
            "tenant_id": self.tenant_id,
            "date": self.date.isoformat(),
            "run_date": self.run_date.isoformat(),
            "project_id": self.project_id,
            "pipeline_logging_id": self.pipeline_logging_id,
            "trigger_by": self.trigger_by,
            "company_name": self.company_name,
            "billing_account_ids": list(self.billing_account_ids),
            "admin_email": self.admin_email,
        }


TYPES: Mapping[str, ValueType] = {
    "tenant_id": value_types.STRING,
    "provider": value_types.STRING,
    "domain": value_types.STRING,
    "template_name": value_types.STRING,
    "pipeline_id": value_types.STRING,
    "date": value_types.DATE,
    "run_date": value_types.DATE,
    "project_id": value_types.STRING,
    "pipeline_logging_id": value_types.STRING,
    "trigger_by": value_types.STRING,
    "company_name": value_types.STRING,
    "billing_account_ids": value_types.list_of(value_types.STRING),
    "admin_email": value_types.EMAIL,
}

IN_BODY = frozenset({"date", "trigger_by", "admin_email"})
"""Built-ins that a request body may give."""

OF_PATH = ("provider", "domain", "template_name")
"""Known from the template's path."""

IN_PIPELINE_ID = (*OF_PATH, "tenant_id")
"""A pipeline's ID names the pipeline, not a run of it."""

IN_SOURCES = (*IN_PIPELINE_ID, "pipeline_id", "project_id", "date", "run_date")
"""Built-ins no tenant can choose the text of: only they may widen what a query may read."""

REPLACEABLE = frozenset({"admin_email"})
"""Built-ins that a template may declare a variable of its own for."""

RUNNING = ("error_message", "failed_step")
"""Known only while a run is under way, for steps that report a failure."""

SAMPLE = BuiltIns(
    tenant_id="sample_tenant",
    date=dt.date(2025, 11, 15),
    run_date=dt.date(2025, 11, 16),
    project_id="sample-project",
    pipeline_logging_id="00000000-0000-4000-8000-000000000000",
    trigger_by="sample",
    company_name="Sample Company",
    billing_account_ids=("000000-000000-000000",),
    admin_email="someone@example.com",
)
"""Values for checking a template without a tenant."""
