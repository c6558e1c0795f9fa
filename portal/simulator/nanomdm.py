"""A real NanoMDM server beside a portal on loopback, for ``make demo BACKEND=nanomdm``, the tests and the bench."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from portal.simulator.server import NotStarted, free_port

VERSION = "v0.9.0"
MODULE = f"github.com/micromdm/nanomdm/cmd/nanomdm@{VERSION}"
START_SECONDS = 15.0
STOP_SECONDS = 5.0


class NanoMdm:
    """One server with its data in ``folder``, telling ``webhook_url`` what its devices say."""

    def __init__(self, folder: Path, webhook_url: str) -> None:
        self.folder = folder
        self.webhook_url = webhook_url
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api_key = secrets.token_hex(16)
        self.webhook_secret = secrets.token_hex(16)
        self.log = folder / "nanomdm.log"
        self._process: subprocess.Popen[bytes] | None = None

    def settings(self) -> dict[str, object]:
        """The portal's ``[nanomdm]`` for this server."""
        return {"api_url": self.url, "api_key": self.api_key, "webhook_secret": self.webhook_secret}

    def environment(self) -> dict[str, str]:
        """The same as variables; devices report to it directly, without a proxy that asks the portal about them."""
        named = {f"PORTAL_NANOMDM_{name.upper()}": str(value) for name, value in self.settings().items()}
        return {"PORTAL_MDM_BACKEND": "nanomdm", "PORTAL_NANOMDM_SERVER_URL": f"{self.url}/mdm", **named}

    def start(self, ca_pem: bytes) -> None:
        """Start it, with the devices' CA, and wait until it answers. Raises NotStarted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ca = self.folder / "ca.pem"
        ca.write_bytes(ca_pem)
        command = [program(), "-ca", str(ca), "-listen", f"127.0.0.1:{self.port}"]
        command += ["-storage", "filekv", "-storage-dsn", str(self.folder / "data"), "-webhook-url", self.webhook_url]
        keys = {"NANOMDM_API": self.api_key, "NANOMDM_WEBHOOK_HMAC_KEY": self.webhook_secret}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env={**os.environ, **keys}, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        said = self.log.read_text("utf-8", "replace")[-1000:]
        self.stop()
        raise NotStarted(f"NanoMDM did not start: {said}")

    def again(self) -> None:
        """Start it once more with the data it had."""
        self.start((self.folder / "ca.pem").read_bytes())

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Stop it by its process id."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None


def program() -> str:
    """Where NanoMDM is, or how to get it. Raises NotStarted."""
    gopath = os.environ.get("GOPATH") or str(Path.home() / "go")
    found = shutil.which("nanomdm") or shutil.which("nanomdm", path=str(Path(gopath) / "bin"))
    if found is None:
        raise NotStarted(f"NanoMDM is missing. With Go installed: go install {MODULE}")
    return found
