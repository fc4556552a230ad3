"""Every route of the API: to serve them, and to describe them without serving."""

from functions.api import (
    api_keys,
    credentials,
    executions,
    quota,
    readiness,
    run_control,
    runs,
    schedules,
    service,
    templates,
    tenant_admin,
    tenants,
)

ROUTES = (
    *service.ROUTES,
    *readiness.ROUTES,
    *tenants.ROUTES,
    *tenant_admin.ROUTES,
    *api_keys.ROUTES,
    *credentials.ROUTES,
    *quota.ROUTES,
    *templates.ROUTES,
    *runs.ROUTES,
    *schedules.ROUTES,
    *executions.ROUTES,
    *run_control.ROUTES,
)
