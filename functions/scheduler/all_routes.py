"""Every route of the scheduler; the API describes them along with its own."""

from functions.scheduler import backfills, maintenance, queue, status, trigger

ROUTES = (
    *trigger.ROUTES,
    *queue.ROUTES,
    *maintenance.ROUTES,
    *status.ROUTES,
    *backfills.ROUTES,
)
