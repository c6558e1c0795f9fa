"""An HTTP/2 server on loopback that asks for a client certificate and answers as Apple's push service documents."""

import json
import os
import queue
import shutil
import subprocess
import threading
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from portal.simulator.server import free_port
from tests.servers import loopback_certificate

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")
PATIENCE_SECONDS = 20.0


class ApplePushService:
    """One server; ``clients`` are the certificates (PEM files) that it trusts."""

    def __init__(self, folder: Path, clients: list[Path]) -> None:
        assert NODE is not None
        self.certificate, key = loopback_certificate(folder)
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._heard: queue.Queue[dict[str, Any]] = queue.Queue()
        self._pushes: deque[dict[str, Any]] = deque()
        values = {"port": self.port, "certificate": str(self.certificate), "key": str(key),
                  "clients": [str(each) for each in clients]}  # fmt: skip
        script = Path(__file__).with_name("apple_push.mjs")
        self._process = subprocess.Popen(
            [NODE, script],
            env={**os.environ, "APPLE_PUSH": json.dumps(values)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.connections = 0
        self._answer: dict[str, Any] = {"status": 200}
        threading.Thread(target=self._listen, daemon=True).start()
        self._until("ready")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._heard.put(json.loads(line))

    def _until(self, word: str) -> Any:
        while True:
            heard = self._heard.get(timeout=PATIENCE_SECONDS)
            if word in heard:
                return heard[word]
            self._keep(heard)

    def _keep(self, heard: dict[str, Any]) -> None:
        self.connections += "connected" in heard
        if "push" in heard:
            self._pushes.append(heard["push"])

    def answer(self, **how: Any) -> None:
        """From now on: ``status`` and ``reason``; or once ``hang_up`` in the middle of a request."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(how) + "\n")
        self._process.stdin.flush()
        self._answer = how
        self._until("told")

    def next_push(self) -> dict[str, Any]:
        """The oldest push not asked for yet, or the next: ``headers``, ``body``, and whose certificate (``uid``)."""
        return dict(self._pushes.popleft() if self._pushes else self._until("push"))

    def pushes(self) -> list[dict[str, Any]]:
        """Those that came since this was last asked. A push that was answered is among them."""
        self.answer(**self._answer)
        found = list(self._pushes)
        self._pushes.clear()
        return found

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
