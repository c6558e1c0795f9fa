"""Helpdesk's list at 100,000 requests: what each filter and search costs, on the database that the suite runs on too.

``python -m tests.bench.request_list [--requests N] [--plans]``. Rows are put into the tables as they are.
"""

import argparse
import random
import statistics
import time
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, event, insert, text

from portal import clock
from portal.enrollment import journey
from portal.models import Certificate, Device, EnrollmentRequest, IssuedProfile, Person, SearchWord, new_id
from portal.models.people import search_words
from portal.services import Portal
from tests.bench import own
from tests.factories import Company
from tests.pages import Browser

SYLLABLES = "an ber chi dor eli fa gus han iv jo ka lu mar no os pet ro sa ti ul".split()  # noqa: SIM905
FACTS = (
    *("signed_in_at", "ownership", "ownership_at", "privacy_at", "passcode_verified_at", "passcode_used_at"),
    *("overview_at", "terms_version", "terms_accepted_at", "profile_id", "enrolled_at", "ended_at", "end_reason"),
)
BATCH_SIZE = 5000
VIEWS = {
    "newest": "",
    "search, few": "q=marpetrosa",
    "search, thousands": "q=mar",
    "search, nearly all": "q=an",
    "search, two words": "q=mar+pet",
    "search, nobody": "q=zzzz",
    "search by code": "q={code}",
    "status invited": "status=invited",
    "status expired": "status=expired",
    "status refused (rare)": "status=refused",
    "status cancelled": "status=cancelled",
    "status removed (3 of all)": "status=removed",
    "status enrolled": "status=enrolled",
    "step passcode": "step=passcode",
    "step profile": "step=profile",
    "older than a week": "age=older",
    "source admin (rare)": "source=admin",
    "any attention": "attention=any",
    "undelivered (none)": "attention=undelivered",
    "idle": "attention=idle",
    "silent": "attention=silent",
    "leaving": "attention=leaving",
    "locked, oldest first": "attention=locked&order=oldest",
    "status and search": "status=enrolled&q=lu",
}


def fill(portal: Portal, count: int) -> str:
    """``count`` requests in every state, most of them over; the short code of one of them."""
    dice, now = random.Random(7), clock.now()
    people, words, requests, profiles, numbers = [], [], [], [], []
    for number in range(count):
        first, last = ("".join(dice.choices(SYLLABLES, k=3)) for _ in range(2))
        person = {
            "id": new_id(),
            "username": f"{first}{number}",
            "name": f"{first.title()} {last.title()}",
            "email": f"{first}.{last}{number}@example.com",
            "managed_apple_account": f"{first}{number}@work.example.com",
            "locale": "en",
            "role": "employee",
            "source": "local",
            "created_at": now,
        }
        people.append(person)
        found = search_words(*(person[key] for key in ("name", "username", "email", "managed_apple_account")))  # type: ignore[arg-type]
        words += [{"word": word, "person_id": person["id"]} for word in found]
        request, profile = _request(dice, person["id"], number, count, now)  # type: ignore[arg-type]
        requests.append(request)
        profiles += [profile] if profile else []
        numbers += [number] if profile else []
    with portal.database.transaction() as session:
        for table, rows in (
            (Person, people),
            (SearchWord, words),
            (EnrollmentRequest, requests),
            (IssuedProfile, profiles),
            (Certificate, [_certificate(each, now) for each in profiles]),
            (Device, [_device(each, number, now) for each, number in zip(profiles, numbers, strict=True)]),
        ):
            for start in range(0, len(rows), BATCH_SIZE):
                session.execute(insert(table.__table__), rows[start : start + BATCH_SIZE])  # type: ignore[arg-type]
    outside_transactions(portal.database.engine, "VACUUM", "ANALYZE")
    return journey.short_code(str(requests[count // 2]["id"]))


def outside_transactions(engine: Engine, *statements: str) -> None:
    """Run statements that no transaction may hold."""
    if engine.dialect.name == "sqlite":
        held = engine.raw_connection()
        for statement in statements:
            held.driver_connection.execute(statement)  # type: ignore[union-attr]  # SQLAlchemy's own begins one
        held.close()
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(text(statement))


def _request(dice: random.Random, person_id: str, number: int, count: int, now):  # type: ignore[no-untyped-def]
    """A tenth is open, in every step; of the rest most enrolled, some ran out or were cancelled, three were removed."""
    is_open = number >= count * 0.9
    created = now - (timedelta(minutes=dice.uniform(1, 6 * 1440)) if is_open else timedelta(days=dice.uniform(10, 700)))
    at = created + timedelta(minutes=5)
    row: dict[str, object] = dict.fromkeys(FACTS)
    row |= {
        "id": new_id(),
        "person_id": person_id,
        "created_by": "bench",
        "created_at": created,
        "source": "admin" if number % 5000 == 0 else dice.choice(("helpdesk", "self")),
        "expires_at": created + timedelta(days=7),
        "managed_apple_account": "x@work.example.com",
        "passcode_secret_sealed": b"",
        "passcode_counter": 1,
        "passcode_sends": 1,
        "passcode_sent_at": created,
        "passcode_tries": 5 if is_open and number % 400 == 0 else 0,
    }
    steps = dice.randint(0, 7) if is_open else 7 if number % 10 else dice.randint(0, 4)
    facts = ({"signed_in_at": at}, {"ownership": "employee", "ownership_at": at}, {"privacy_at": at},
             {"passcode_verified_at": at, "passcode_used_at": at}, {"overview_at": at},
             {"terms_version": "1.0", "terms_accepted_at": at})  # fmt: skip
    for fact in facts[:steps]:
        row |= fact
    profile = None
    if steps == 7:
        profile = {"id": new_id(), "request_id": row["id"], "ticket_hash": new_id() * 4, "challenge_hash": new_id() * 4,
                   "way": "profile", "issued_at": at, "expires_at": at + timedelta(minutes=8), "downloaded_at": at,
                   "refused_at": at if is_open and number % 900 == 0 else None,
                   "certificate_at": None if is_open else at}  # fmt: skip
        row["profile_id"] = profile["id"]
        if not is_open:
            row["enrolled_at"] = at
    if not is_open and number % 25 == 0:
        row |= {"ended_at": at, "end_reason": "removed" if number < 75 else "cancelled"}
    return row, profile


def _certificate(profile: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {"fingerprint": profile["id"], "serial": profile["id"], "profile_id": profile["id"],
            "request_id": profile["request_id"], "der": b"", "issued_at": now, "expires_at": now}  # fmt: skip


def _device(profile: dict[str, Any], number: int, now: datetime) -> dict[str, Any]:
    """Managed; one in two thousand silent, one in three thousand asked to leave."""
    seen = now - timedelta(days=40) if number % 2000 == 1 else now
    return {"id": new_id(), "enrollment_id": profile["id"], "request_id": profile["request_id"],
            "profile_id": profile["id"], "certificate_fingerprint": profile["id"], "way": "profile",
            "authenticated_at": now, "enrolled_at": now, "last_seen_at": seen, "attributes": {}, "profiles": [],
            "leaving_at": now if number % 3000 == 1 else None}  # fmt: skip


def main() -> None:
    """Fill, ask everything many times, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--plans", action="store_true")
    chosen = parser.parse_args()
    with own.portals() as make:
        app = make()
        portal: Portal = app.extensions["portal"]
        began = time.perf_counter()
        code = fill(portal, chosen.requests)
        took = time.perf_counter() - began
        print(f"{chosen.requests} requests on {portal.database.engine.dialect.name}, filled in {took:.0f} s")
        Company(portal).person("hilda", role="helpdesk")
        browser = Browser(app).staff_sign_in("hilda", clock.now())
        _measure(portal, browser, code, chosen.repeat, chosen.plans)


def _measure(portal: Portal, browser: Browser, code: str, repeat: int, plans: bool) -> None:
    everything: list[float] = []
    for name, query in VIEWS.items():
        took, path = [], f"/helpdesk?{query.format(code=code)}"
        for _ in range(repeat):
            began = time.perf_counter()
            browser.get(path)
            took.append((time.perf_counter() - began) * 1000)
            assert browser.status == 200, (path, browser.text)
        everything += took
        size = len(browser.response.data) / 1024 if browser.response else 0
        rows = len(browser.soup.select("tbody tr"))
        print(
            f"{name:<28} p50 {statistics.median(took):6.1f} ms  max {max(took):6.1f} ms  {rows:3} rows {size:5.1f} KB"
        )
        if plans:
            _print_plan(portal, browser, path)
    everything.sort()
    print(f"all: p50 {statistics.median(everything):.1f} ms, p99 {everything[int(len(everything) * 0.99)]:.1f} ms")


def _print_plan(portal: Portal, browser: Browser, path: str) -> None:
    statements: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many):  # type: ignore[no-untyped-def]
        if "enrollment_requests" in statement and "LIMIT" in statement:
            statements.append((statement, parameters))

    event.listen(portal.database.engine, "before_cursor_execute", note)
    browser.get(path)
    event.remove(portal.database.engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if portal.database.engine.dialect.name == "sqlite" else "EXPLAIN ANALYZE "
    with portal.database.engine.connect() as connection:
        for statement, parameters in statements:
            for row in connection.exec_driver_sql(explain + statement, parameters):  # type: ignore[arg-type]
                print("      ", row[-1])


if __name__ == "__main__":
    main()
