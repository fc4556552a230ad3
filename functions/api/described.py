"""What the API describes: its own routes, and those that the gateway hands to the scheduler."""

from functions.api import all_routes
from functions.scheduler import all_routes as scheduler_routes

ROUTES = (*all_routes.ROUTES, *scheduler_routes.ROUTES)
