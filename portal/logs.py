"""Log lines are events with fields; requests are logged by their route, so no token of an address gets in."""

import logging
import sys
import time

from flask import Flask, Response, g, request

log = logging.getLogger("portal.http")


def init_app(app: Flask) -> None:
    """Write the portal's events to standard error and one line for each request."""
    root = logging.getLogger("portal")
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        root.addHandler(handler)
        root.setLevel(logging.INFO)
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
