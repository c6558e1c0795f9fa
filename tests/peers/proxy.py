"""nginx on loopback with TLS, as the examples in ``config/`` set it up."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from portal.settings import ROOT
from portal.simulator.server import free_port
from tests.servers import loopback_certificate

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="Debian's package nginx-light is not installed")
START_SECONDS = 10.0

AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
{user}
worker_processes 2;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


class Proxy:
    """nginx before a portal and, if it has one, its NanoMDM."""

    def __init__(self, folder: Path, portal_port: int, nanomdm_port: int | None = None) -> None:
        folder.mkdir(parents=True)
        self.folder, self.port = folder, free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.certificate, key = loopback_certificate(folder)
        ports = {"127.0.0.1:8000": f"127.0.0.1:{portal_port}", "127.0.0.1:9000": f"127.0.0.1:{nanomdm_port}"}
        site = (ROOT / "config" / "nginx.example.conf").read_text()
        site = site.replace("listen 443", f"listen 127.0.0.1:{self.port}")
        site = site.replace("listen 80;", f"listen 127.0.0.1:{free_port()};")
        site = re.sub(r"/etc/letsencrypt/\S+/fullchain.pem", str(self.certificate), site)
        site = re.sub(r"/etc/letsencrypt/\S+/privkey.pem", str(key), site)
        if nanomdm_port is not None:
            site = site.replace("#include /etc/nginx/enrollment-nanomdm.conf", f"include {folder}/nanomdm.conf")
        for name, text in (
            ("site.conf", site),
            ("nanomdm.conf", (ROOT / "config" / "nginx-nanomdm.example.conf").read_text()),
        ):
            for before, after in ports.items():
                text = text.replace(before, after)
            (folder / name).write_text(text)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder, user=user))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens, itself: it writes its process id once it has its ports."""
        assert NGINX is not None
        self._process = subprocess.Popen([NGINX, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")],
                                         stderr=(self.folder / "stderr.log").open("wb"))  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if (self.folder / "nginx.pid").exists():
                return
            time.sleep(0.02)
        self.stop()
        raise AssertionError((self.folder / "stderr.log").read_text())

    def stop(self) -> None:
        """Stop it by its process id."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None
