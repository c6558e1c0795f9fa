"""Log lines are events with fields; requests are logged by their route, so no token of an address gets in."""

import logging
import sys
import time

import click
from flask import Flask, Response, g, request

log = logging.getLogger("portal.http")


class OneLine(logging.Formatter):
    """Writes an event as one line, whatever is in it: only a traceback goes on, indented, below its own."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        record.exc_text = record.stack_info = None
        line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in super().format(_alone(record)))
        if not record.exc_info:
            return line
        traceback = self.formatException(record.exc_info).splitlines()
        return "\n".join([line, *("    " + "".join(filter(_harmless, each)) for each in traceback)])


def _alone(record: logging.LogRecord) -> logging.LogRecord:
    alone = logging.makeLogRecord(record.__dict__)
    alone.exc_info = None
    return alone


def _harmless(character: str) -> bool:
    return character.isprintable() or character == "\t"


def init_app(app: Flask) -> None:
    """Write the portal's events to standard error and one line for each request.

    A command's output is its own: beside it only warnings are shown. The worker is no such command.
    """
    root = logging.getLogger("portal")
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
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
