"""gunicorn: two processes with threads; enough for thousands of enrollments an hour on two cores."""

import os

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
wsgi_app = "app:app"
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108  (heartbeats, not on a slow disk)
