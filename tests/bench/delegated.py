"""What delegating device management to NanoMDM costs beside the embedded backend; part of ``make bench``.

The same employees, by the same way, once with each backend: CPU of web, worker and NanoMDM, and how long people wait
between the device's last word and "enrolled", and devices for their first commands.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from portal.simulator import nanomdm
from portal.simulator.employee import Employee
from portal.simulator.iphone import IPhone
from portal.simulator.server import Server, running
from tests.bench.__main__ import PASSWORD, TICKS, Timings, enroll, percentile, prepare, web_processes

PATIENCE_SECONDS = 30.0
Waits = dict[str, list[float]]


@contextlib.contextmanager
def started(backend: str, data: Path) -> Iterator[tuple[Server, dict[str, list[int]]]]:
    """A portal with that backend, and its processes by what they do."""
    if backend == "embedded":
        with running(data) as server:
            yield server, {"web": web_processes(server), "worker": [worker_of(server)]}
        return
    with nanomdm.managing(data) as (server, manager):
        yield server, {"web": web_processes(server), "worker": [worker_of(server)], "NanoMDM": [manager.pid]}


def worker_of(server: Server) -> int:
    """The worker's process id."""
    assert server.worker is not None
    return server.worker.pid


def cpu_seconds(pids: list[int]) -> float:
    """CPU time used so far."""
    total = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def measure(backend: str, count: int, concurrency: int, keys: list[rsa.RSAPrivateKey]) -> None:
    """Let ``count`` employees enroll and print what it took."""
    waits: Waits = {"until enrolled": [], "until the first commands": []}

    def way(_server: Server, employee: Employee, phone: IPhone, person: tuple[str, str, str]) -> None:
        username, link, passcode = person
        lines = phone.install(employee.walk(link, username, PASSWORD, lambda: passcode))
        began = time.perf_counter()
        while employee.open("/enroll/finish") is None and employee.heading != "You are ready for work":
            pause(began)
        waits["until enrolled"].append((time.perf_counter() - began) * 1000)
        while lines[-1].endswith("none") and not phone.connect():
            pause(began)
        waits["until the first commands"].append((time.perf_counter() - began) * 1000)

    with (
        tempfile.TemporaryDirectory(prefix="portal-bench-") as folder,
        started(backend, Path(folder)) as (server, pids),
    ):
        timings, people = Timings(), prepare(server, count, f"bench-{backend}-")
        before, began = {name: cpu_seconds(each) for name, each in pids.items()}, time.perf_counter()
        with ThreadPoolExecutor(concurrency) as pool:
            for number, person in enumerate(people):
                pool.submit(enroll, way, server, timings, person, keys[number % len(keys)])
        seconds = time.perf_counter() - began
        used = {name: (cpu_seconds(each) - before[name]) * 1000 / count for name, each in pids.items()}
    print(f"\n== {backend}: {count} enrollments, {concurrency} at once")
    print(f"enrolled        {len(waits['until the first commands'])} of {count}, {count / seconds:.1f}/s")
    print(f"CPU ms/enrollment: {', '.join(f'{name} {value:.1f}' for name, value in used.items())}; ", end="")
    print(f"together {sum(used.values()):.1f}")
    for name, values in waits.items():
        if values:
            print(f"{name:<26}p50 {percentile(values, 0.5):>7.0f} ms   p95 {percentile(values, 0.95):>7.0f} ms")
    print(f"failed          {len(timings.failures)} {timings.failures[:3] or ''}")


def pause(began: float) -> None:
    """A moment, but not for ever."""
    if time.perf_counter() - began > PATIENCE_SECONDS:
        raise TimeoutError
    time.sleep(0.1)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.delegated")
    parser.add_argument("--employees", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=10)
    options = parser.parse_args()
    keys = [rsa.generate_private_key(65537, 2048) for _ in range(options.concurrency)]
    if nanomdm.found_program() is None:
        print(f"\nThe delegated backend was not measured: go install {nanomdm.MODULE}", file=sys.stderr)
        return 0
    print(f"\n{os.cpu_count()} cores, shared with the load")
    for backend in ("embedded", "nanomdm"):
        measure(backend, options.employees, options.concurrency, keys)
    return 0


if __name__ == "__main__":
    sys.exit(main())
