"""Every route of the API: to serve them, and to describe them without serving."""

from functions.api import (
    api_keys,
    credentials,
    executions,
    key_rotation,
    quality,
    quota,
    readiness,
    run_control,
    runs,
    schedule_runs,
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
    *schedule_runs.ROUTES,
    *executions.ROUTES,
    *quality.ROUTES,
    *run_control.ROUTES,
    *key_rotation.ROUTES,
)
