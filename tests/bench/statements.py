"""How many SQL statements each request of an enrollment runs (BEGIN included), and its CPU time; in one process."""

import argparse
import logging
import plistlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flask import Flask, g, request
from sqlalchemy import event

from portal.simulator.settings_app import SettingsApp
from tests.account_driven.steps import walking
from tests.bench import own
from tests.factories import BASE, Company, phone
from tests.pages import Browser


@dataclass
class Request:
    """What one request did. ``statements`` as they were sent, ``ms`` of CPU."""

    address: str
    statements: list[str] = field(default_factory=list)
    ms: float = 0.0


def watch(app: Flask) -> list[Request]:
    """Every request that ``app`` answers from now on, filled in as it goes."""
    seen: list[Request] = []
    engine = app.extensions["portal"].database.engine

    def begin() -> None:
        address = f"{request.method} {request.url_rule.rule if request.url_rule else request.path}"
        seen.append(Request(" ".join([address, *message_of(request.get_data())])))
        g.began = time.process_time()

    def end(_error: BaseException | None) -> None:
        seen[-1].ms = (time.process_time() - g.began) * 1000

    @event.listens_for(engine, "before_cursor_execute")
    def count(_connection, _cursor, statement, *_rest) -> None:
        if seen:
            seen[-1].statements.append(" ".join(statement.split()))

    if engine.dialect.name != "sqlite":  # there BEGIN is a statement of its own

        @event.listens_for(engine, "begin")
        def count_begin(_connection) -> None:
            if seen:
                seen[-1].statements.append("BEGIN")

    app.before_request_funcs.setdefault(None, []).insert(0, begin)
    app.teardown_request_funcs.setdefault(None, []).append(end)
    return seen


def message_of(body: bytes) -> list[str]:
    """What a device's message calls itself, as ``DeclarativeManagement tokens``; nothing of any other body."""
    if not body.startswith(b"<?xml"):
        return []
    message = plistlib.loads(body)
    return [str(message[key]) for key in ("MessageType", "Endpoint", "Status") if key in message]


def walk(app: Flask, username: str) -> None:
    """One employee with a profile from Safari, until the first commands are answered."""
    company = Company(app.extensions["portal"])
    invitation = company.invite(company.person(username))
    browser = Browser(app)
    device = phone(app)
    device.install(browser.walk_to("profile", invitation).download())
    browser.get("/enroll/finish")
    assert browser.heading == "You are ready for work", browser.text


def walk_from_settings(app: Flask, username: str) -> None:
    """The same from the Settings app of a newer iPhone."""
    company = Company(app.extensions["portal"])
    walker = walking(app, company.invite(company.person(username)), username)
    SettingsApp(phone(app, ios=18)).sign_in(f"{username}@work.example.com", walker, BASE)


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.statements")
    parser.add_argument("--show", default="", help="print the statements of addresses that contain this")
    parser.add_argument("--times", type=int, default=20, help="enrollments over which the time is taken")
    parser.add_argument("--from-settings", action="store_true", help="the way that begins in Settings, not in Safari")
    options = parser.parse_args()
    way = walk_from_settings if options.from_settings else walk
    with own.portals() as make:
        app = make()
        logging.disable(logging.INFO)
        seen = watch(app)
        for number in range(2):
            way(app, f"warm{number}")
        report(lambda username: way(app, username), seen, options.times, options.show)


def report(walk_once: Callable[[str], None], seen: list[Request], times: int, show: str) -> None:
    """One enrollment's statements by request, then the time of many."""
    seen.clear()
    walk_once("counted")
    once = [each for each in seen if urlsplit(each.address).path]
    for each in once:
        print(f"{each.address:<62}{len(each.statements):>4}")
        if show and show in each.address:
            for statement in each.statements:
                print("      ", statement[:500])
    print(f"{'statements of an enrollment':<62}{sum(len(each.statements) for each in once):>4}")
    kinds = Counter(statement.split()[0] for each in once for statement in each.statements)
    print(", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))
    seen.clear()
    for number in range(times):
        walk_once(f"timed{number}")
    total: Counter[str] = Counter()
    for each in seen:
        total[each.address] += each.ms
    print(f"{'CPU ms of an enrollment':<62}{sum(total.values()) / times:>7.1f}")
    for address, ms in total.most_common():
        print(f"  {address:<60}{ms / times:>7.1f}")


if __name__ == "__main__":
    main()
