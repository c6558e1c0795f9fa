"""A real NanoMDM server beside a portal on loopback, for ``make demo BACKEND=nanomdm``, the tests and the bench."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from portal.simulator.server import NotStarted, Server, free_port, running, wait_until_it_listens

VERSION = "v0.9.0"
MODULE = f"github.com/micromdm/nanomdm/cmd/nanomdm@{VERSION}"
START_SECONDS = 15.0
STOP_SECONDS = 5.0


class NanoMdm:
    """One server with its data in ``folder``, telling ``webhook_url`` what its devices say.

    ``storage`` is one of NanoMDM's with its data source name; filekv in ``folder`` by default.
    """

    def __init__(self, folder: Path, webhook_url: str, storage: tuple[str, str] | None = None) -> None:
        self.folder = folder
        self.storage = storage or ("filekv", str(folder / "data"))
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
        """The same as variables; devices report to the portal, which passes on what NanoMDM is to hear."""
        named = {f"PORTAL_NANOMDM_{name.upper()}": str(value) for name, value in self.settings().items()}
        return {"PORTAL_MDM_BACKEND": "nanomdm", **named}

    def start(self, ca_pem: bytes) -> None:
        """Start it, with the devices' CA, and wait until it answers. Raises NotStarted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ca = self.folder / "ca.pem"
        ca.write_bytes(ca_pem)
        command = [program(), "-ca", str(ca), "-listen", f"127.0.0.1:{self.port}"]
        command += ["-storage", self.storage[0], "-storage-dsn", self.storage[1], "-webhook-url", self.webhook_url]
        keys = {"NANOMDM_API": self.api_key, "NANOMDM_WEBHOOK_HMAC_KEY": self.webhook_secret}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env={**os.environ, **keys}, stdout=log, stderr=log, start_new_session=True
            )
        if wait_until_it_listens(self._process, self.port, START_SECONDS):
            return
        said = self.log.read_text("utf-8", "replace")[-1000:]
        self.stop()
        raise NotStarted(f"NanoMDM did not start: {said}")

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

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


@contextlib.contextmanager
def managing(data: Path, environment: Mapping[str, str] | None = None) -> Iterator[tuple[Server, "NanoMdm"]]:
    """A started portal with its data in ``data`` whose devices a NanoMDM of its own manages; both stopped at the end.

    Raises NotStarted.
    """
    program()
    port = free_port()
    nanomdm = NanoMdm(data / "nanomdm", f"http://127.0.0.1:{port}/hooks/nanomdm")
    try:
        variables = {**nanomdm.environment(), **(environment or {})}
        with running(data, variables, port, lambda server: nanomdm.start(server.ca())) as server:
            yield server, nanomdm
    finally:
        nanomdm.stop()


def program() -> str:
    """Where NanoMDM is; built into the virtual environment if only Go is there. Raises NotStarted."""
    found = found_program()
    if found is not None:
        return found
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise NotStarted(f"NanoMDM is missing, and so is Go to build it: {MODULE}")
    print(f"building NanoMDM {VERSION} with Go, once")
    folder = Path(sys.prefix) / "bin"
    done = subprocess.run([go, "install", MODULE], env={**os.environ, "GOBIN": str(folder)}, capture_output=True)
    if done.returncode:
        raise NotStarted(f"go install {MODULE}: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return str(folder / "nanomdm")


def found_program() -> str | None:
    """NanoMDM in the virtual environment, on the path, or where Go puts it."""
    gopath = os.environ.get("GOPATH") or str(Path.home() / "go")
    folders = [str(Path(sys.prefix) / "bin"), os.environ.get("PATH", ""), str(Path(gopath) / "bin")]
    return shutil.which("nanomdm", path=os.pathsep.join(folders))
