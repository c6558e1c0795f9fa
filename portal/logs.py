"""Log lines are events with fields; requests are logged by their route, so no token of an address gets in."""

import logging
import sys
import time

import click
from flask import Flask, Response, g, request

log = logging.getLogger("portal.http")


def init_app(app: Flask) -> None:
    """Write the portal's events to standard error and one line for each request.

    A command's output is its own: beside it only warnings are shown. The worker is no such command.
    """
    root = logging.getLogger("portal")
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        root.addHandler(handler)
        in_command = click.get_current_context(silent=True) is not None and "worker" not in sys.argv
        root.setLevel(logging.WARNING if in_command else logging.INFO)
        root.propagate = True

    @app.before_request
    def start_clock() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def log_request(response: Response) -> Response:
        if request.endpoint != "static":
            route = request.url_rule.rule if request.url_rule else "-"
            elapsed = (time.perf_counter() - g.get("started", time.perf_counter())) * 1000
            log.info(
                "request method=%s route=%s status=%s ms=%.0f", request.method, route, response.status_code, elapsed
            )
        return response
