"""The HTTPS API: wiring only. Routes are declared beside their handlers."""

from functools import cache

import flask
import functions_framework
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from shared.settings import needs
from shared.telemetry import configure_logging

needs("ADMIN_API_KEY_SECRET", "API_KEY_CHECKSUM_SECRET", "KMS_KEY_NAME")
configure_logging()


@cache
def application() -> flask.Flask:
    """The application that knows the routes; made for the first request.

    Importing the module is what a health probe and a scaled-out instance wait for, and it stays
    quick however many routes there are.
    """
    from functions.api import service
    from functions.api.all_routes import ROUTES
    from shared.http import cors
    from shared.http.routes import serve

    app = flask.Flask(__name__, static_folder=None)
    serve(app, ROUTES)
    cors.install(app)
    service.install_documentation(app)
    return app


def _answer(request: flask.Request) -> Response:
    return Response.from_app(application().wsgi_app, request.environ)


def _unrouted(error: NotFound) -> NotFound | Response:
    """Answer paths that the framework's pattern does not match, such as one with a newline.

    It matches `/robots.txt` and `/favicon.ico` itself; the one is how a probe knows the process.
    """
    return error if flask.request.url_rule else _answer(flask.request)


if flask.has_app_context():  # functions-framework imports this module in its application's context
    flask.current_app.register_error_handler(404, _unrouted)


@functions_framework.http
def api(request: flask.Request) -> Response:
    """Hand the request to the application."""
    return _answer(request)
