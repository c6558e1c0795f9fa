"""``make bench``: many simulated employees through the whole journey, against a portal of its own on loopback.

Both ways, one after the other: with a profile from Safari, and from Settings with everything asked in the web view.

The floor is measured in the same run: what the password hash, the RSA operations and an equal number of empty
pages cost on the same server. Figures are printed, never asserted: machines differ.
"""

import argparse
import os
import re
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from portal import clock
from portal.credentials import local
from portal.enrollment import invitations
from portal.enrollment.invitations import Asker
from portal.models import Person
from portal.services import Portal
from portal.settings import load
from portal.simulator.employee import Employee
from portal.simulator.iphone import IPhone
from portal.simulator.model import MODELS
from portal.simulator.server import Server, running
from portal.simulator.settings_app import SettingsApp
from portal.storage.cases import Cases

PASSWORD = "a password of the bench"
BENCH = "bench-"
RSA_PRIVATE = 5
"""Private-key operations of one enrollment: profile signature, SCEP decryption, certificate, its reply, mail aside."""
RSA_PUBLIC = 8
"""Public-key operations: SCEP message and CSR, and signature and certificate of five device messages, rounded."""
WARM_UP = 4
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Timings:
    """Milliseconds of every request, by address; filled by httpx hooks from many threads."""

    by_address: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    sizes: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def watch(self, client: httpx.Client) -> httpx.Client:
        """Measure everything ``client`` sends."""

        def begin(request: httpx.Request) -> None:
            request.extensions["began"] = time.perf_counter()

        def end(response: httpx.Response) -> None:
            response.read()
            elapsed = (time.perf_counter() - response.request.extensions["began"]) * 1000
            address = f"{response.request.method} {_route(response.request.url.path)}"
            with self.lock:
                self.by_address[address].append(elapsed)
                if response.status_code == 200:
                    self.sizes[address] = len(response.content)
                if response.status_code >= 400 and "WWW-Authenticate" not in response.headers:
                    self.failures.append(f"{address}: {response.status_code}")

        client.event_hooks = {"request": [begin], "response": [end]}
        return client


def _route(path: str) -> str:
    return re.sub(r"^/(p|e|apple/sign-in)/.*", r"/\1/<token>", path)


def prepare(server: Server, count: int, name: str) -> list[tuple[str, str, str]]:
    """``count`` employees with a request each: (username, link, passcode). ``name`` begins their usernames."""
    values = {key: server.environment[key] for key in ("PORTAL_DATA_DIR", "PORTAL_PUBLIC_URL")}
    database = server.environment.get("PORTAL_DATABASE_URL", "")
    settings = load(
        demo=True,
        data_dir=Path(values["PORTAL_DATA_DIR"]),
        public_url=values["PORTAL_PUBLIC_URL"],
        database_url=database,
    )
    portal, made = Portal(settings), []
    hashed = None
    with portal.database.transaction() as session:
        for number in range(count):
            username = f"{name}{number}"
            person = Person(
                username=username,
                name=f"Bench {number}",
                email=f"{username}@example.com",
                managed_apple_account=f"{username}@work.example.com",
                role="employee",
                locale="en",
                created_at=clock.now(),
            )
            session.add(person)
            account = local.set_password(session, person, PASSWORD) if hashed is None else None
            hashed = hashed or (account.password_hash if account else None)
            if account is None:
                session.add(local.LocalAccount(person=person, password_hash=hashed))
            session.flush()
            cases = Cases(session, portal)
            invitation = invitations.invite(cases, person, "command", Asker("command", "Bench"))
            made.append((username, settings.url(f"/e/{invitation.token}"), invitation.passcode))
    portal.database.engine.dispose()
    return made


Way = Callable[[Server, Employee, IPhone, tuple[str, str, str]], None]


def with_a_profile(server: Server, employee: Employee, phone: IPhone, person: tuple[str, str, str]) -> None:
    """From the link in Safari to the first commands answered."""
    username, link, passcode = person
    phone.install(employee.walk(link, username, PASSWORD, lambda: passcode))
    employee.open("/enroll/finish")
    if employee.heading != "You are ready for work":
        raise RuntimeError(employee.heading)


def from_settings(server: Server, employee: Employee, phone: IPhone, person: tuple[str, str, str]) -> None:
    """From discovery through the web view to the first commands answered."""
    username, _, passcode = person
    phone.model = MODELS[18]

    def owner(url: str) -> str:
        return employee.walk_web_view(url, username, PASSWORD, lambda: passcode)

    SettingsApp(phone).sign_in(f"{username}@work.example.com", owner, server.url)


def enroll(way: Way, server: Server, timings: Timings, person: tuple[str, str, str], key: rsa.RSAPrivateKey) -> None:
    """One employee; what fails is counted."""
    username = person[0]
    employee = Employee(server.url)
    timings.watch(employee.http)
    phone = IPhone(http=timings.watch(httpx.Client(timeout=30)), key=key)
    try:
        way(server, employee, phone, person)
    except Exception as error:
        with timings.lock:
            timings.failures.append(f"{username}: {error!r}")
    finally:
        employee.http.close()
        phone.http.close()


def web_processes(server: Server) -> list[int]:
    """The web server's master and workers."""
    assert server.web is not None
    master = server.web.pid
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return [master, *map(int, children)]


def cpu_seconds(server: Server) -> float:
    """CPU time the web processes used so far."""
    total = 0.0
    for pid in web_processes(server):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def memory_mib(server: Server) -> float:
    """What web and worker take now: the proportional set sizes of all their processes, added up."""
    total = 0
    for pid in [*web_processes(server), *([server.worker.pid] if server.worker else [])]:
        found = re.search(r"Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())
        total += int(found[1]) if found else 0
    return total / 1024


def floor_crypto_ms(rounds: int = 40) -> tuple[float, float]:
    """CPU milliseconds of one password check, and of one enrollment's RSA operations, with every core busy.

    During the journey the cores are busy too; on an idle machine the same operation is cheaper.
    """
    stored = local._hasher.hash(PASSWORD)
    key = rsa.generate_private_key(65537, 2048)
    signature = key.sign(b"x", padding.PKCS1v15(), hashes.SHA256())

    def check_password() -> None:
        local._hasher.verify(stored, PASSWORD)

    def work_with_keys() -> None:
        for _ in range(RSA_PRIVATE):
            key.sign(b"x", padding.PKCS1v15(), hashes.SHA256())
        for _ in range(RSA_PUBLIC):
            key.public_key().verify(signature, b"x", padding.PKCS1v15(), hashes.SHA256())

    def cost(operation: Callable[[], None]) -> float:
        began = time.thread_time()
        for _ in range(rounds):
            operation()
        return (time.thread_time() - began) * 1000 / rounds

    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        password = list(pool.map(cost, [check_password] * cores))
        crypto = list(pool.map(cost, [work_with_keys] * cores))
    return sum(password) / cores, sum(crypto) / cores


def floor_pages_ms(server: Server, count: int, concurrency: int) -> float:
    """CPU milliseconds of one empty page on the same server, asked for by as many clients at once."""
    share = count // concurrency

    def web_session(_: int) -> None:
        for _ in range(share // 10):
            with httpx.Client(base_url=server.url) as client:  # connections as short as an employee's
                for _ in range(10):
                    client.get("/healthz")

    before = cpu_seconds(server)
    with ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(web_session, range(concurrency)))
    return (cpu_seconds(server) - before) * 1000 / (share // 10 * 10 * concurrency)


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def report(timings: Timings, count: int, seconds: float, portal_ms: float, floor: tuple[float, float, float]) -> None:
    """Print everything."""
    print(f"{'address':<34}{'count':>7}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'bytes':>8}")
    for address, values in sorted(timings.by_address.items()):
        figures = "".join(f"{percentile(values, share):>9.1f}" for share in (0.5, 0.95, 0.99))
        print(f"{address:<34}{len(values):>7}{figures}{timings.sizes.get(address, 0):>8}")
    password, crypto, pages = floor
    lowest = password + crypto + pages
    stuck = {failure for failure in timings.failures if failure.startswith(BENCH)}
    print(f"\nenrolled        {count - len(stuck)} of {count}")
    print(f"failed          {len(timings.failures)} {timings.failures[:5] or ''}")
    print(f"enrollments/s   {count / seconds:.1f}")
    print(f"CPU ms/enrollment: portal {portal_ms:.1f}; floor {lowest:.1f} ", end="")
    print(f"(password {password:.1f}, RSA {crypto:.1f}, empty pages {pages:.1f}); ratio {portal_ms / lowest:.2f}")


def first_view_bytes(server: Server, timings: Timings) -> None:
    """Transferred bytes of each employee page: on first view with its style and scripts, and after."""
    shared = 0
    with httpx.Client(base_url=server.url) as client:
        page = client.get("/enroll/sign-in", headers={"User-Agent": "bench"}).text
        for address in {*re.findall(r'(?:href|src)="(/static/[^"]+)"', page), "/static/waiting.js"}:
            shared += len(client.get(address).content)
    print(f"\nstyle, scripts and icon, fetched once: {shared} bytes")
    pages = {a: size for a, size in timings.sizes.items() if a.startswith("GET /enroll/") and "." not in a}
    for address, size in sorted(pages.items()):
        print(f"{address:<28} first view {shared + size:>6} bytes, after {size:>5} bytes")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--employees", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=20)
    options = parser.parse_args()
    database = os.environ.get("PORTAL_DATABASE_URL")
    keys = [rsa.generate_private_key(65537, 2048) for _ in range(options.concurrency)]  # phones make theirs themselves
    with (
        tempfile.TemporaryDirectory(prefix="portal-bench-") as folder,
        running(Path(folder), {"PORTAL_DATABASE_URL": database} if database else {}) as server,
    ):
        print(f"memory          {memory_mib(server):.0f} MiB (web and worker, just started)")
        for way in (with_a_profile, from_settings):
            print(f"\n== {way.__name__.replace('_', ' ')}\n")
            timings = measure(way, server, options.employees, options.concurrency, keys)
            if way is with_a_profile:
                first_view_bytes(server, timings)


def measure(way: Way, server: Server, count: int, concurrency: int, keys: list[rsa.RSAPrivateKey]) -> Timings:
    """Let ``count`` employees enroll, ``concurrency`` at once, and print what it took."""
    everyone = prepare(server, count + WARM_UP, f"{BENCH}{way.__name__}-")
    for person in everyone[:WARM_UP]:
        enroll(way, server, Timings(), person, keys[0])
    timings, before, began = Timings(), cpu_seconds(server), time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        for number, person in enumerate(everyone[WARM_UP:]):
            pool.submit(enroll, way, server, timings, person, keys[number % len(keys)])
    seconds = time.perf_counter() - began
    portal_ms = (cpu_seconds(server) - before) * 1000 / count
    pages = sum(map(len, timings.by_address.values())) / count
    password, crypto = floor_crypto_ms()
    empty = floor_pages_ms(server, concurrency * 100, concurrency) * pages
    report(timings, count, seconds, portal_ms, (password, crypto, empty))
    print(f"memory          {memory_mib(server):.0f} MiB (web and worker)")
    print(f"requests/enrollment {pages:.1f}, {concurrency} employees at once, {os.cpu_count()} cores")
    return timings


if __name__ == "__main__":
    main()
