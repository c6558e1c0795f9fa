"""Ports for servers under test: nobody else gets one between the asking and the server's start."""

import subprocess
import sys

from portal.simulator.server import free_port

ASK = "from portal.simulator.server import free_port; print(*(free_port() for _ in range(20)))"


def test_another_process_is_not_given_a_port_that_waits_for_its_server():
    mine = {free_port() for _ in range(20)}
    few = f"from portal.simulator import server; server.FREE_PORTS = {sorted(mine)}; server.free_port()"
    refused = subprocess.run([sys.executable, "-c", few], capture_output=True, text=True)
    assert "no port of 127.0.0.1 is free" in refused.stderr
    theirs = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True).stdout.split()
    assert len({int(port) for port in theirs} - mine) == 20
