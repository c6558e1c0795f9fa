"""gunicorn: two processes with threads; enough for thousands of enrollments an hour on two cores.

The portal is loaded once, before the processes are forked, so that they share its memory. A reload (SIGHUP) loads it
anew and drops no request; one that cannot be loaded leaves the old one serving. After an upgrade that brings new
libraries, restart instead.
"""

import gc
import os
import sys
from typing import Any

bind = os.environ.get("BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
worker_class = "gthread"
threads = 4
keepalive = 5
graceful_timeout = 30
timeout = 60
limit_request_line = 8190  # SCEP clients may put a whole message into the query
accesslog = None  # addresses carry tokens; the portal logs its own line, by route
forwarded_allow_ips = ""  # the portal decides itself whom it believes ([proxy] trusted)
control_socket_disable = True  # whoever runs it uses signals
wsgi_app = "app:app"
preload_app = True
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108  (heartbeats, not on a slow disk)


EMPLOYEES_PAGES = ("layouts/", "components/", "employee/")


def pre_fork(server: Any, _worker: Any) -> None:
    """What is loaded stays: the garbage collector does not walk it, so its pages stay shared.

    Employees' pages are loaded, too: nobody waits for the first of each. A page leaves little that only the collector
    finds; looking for it every 700 objects costs some of its CPU.
    """
    pages = server.app.wsgi().jinja_env
    for name in pages.list_templates(filter_func=lambda name: name.startswith(EMPLOYEES_PAGES)):
        pages.get_template(name)
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def on_reload(server: Any) -> None:
    """Load the portal as it is on the disk now, for the processes that are forked next."""
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ("app", "portal")}
    old = server.app.callable
    try:
        for name in ours:
            del sys.modules[name]
        server.app.callable = None
        server.app.wsgi()
    except Exception:
        server.log.exception("reload failed, the portal goes on as it was")
        sys.modules.update(ours)
        server.app.callable = old
