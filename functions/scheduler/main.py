"""What Cloud Scheduler calls: wiring only. Routes are declared beside their handlers."""

from functools import cache

import flask
import functions_framework
from werkzeug.wrappers import Response

from shared.settings import needs
from shared.telemetry import configure_logging

needs(
    "ADMIN_API_KEY_SECRET",
    "API_KEY_CHECKSUM_SECRET",
    "SCHEDULER_AUDIENCE",
    "SCHEDULER_SERVICE_ACCOUNT",
)
configure_logging()


@cache
def application() -> flask.Flask:
    """The application that knows the routes; made for the first request."""
    from functions.scheduler.all_routes import ROUTES
    from shared.http import cors
    from shared.http.routes import serve

    app = flask.Flask(__name__, static_folder=None)
    serve(app, ROUTES)
    cors.install(app)
    return app


@functions_framework.http
def scheduler(request: flask.Request) -> Response:
    """Hand the request to the application."""
    return Response.from_app(application().wsgi_app, request.environ)
