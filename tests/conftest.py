"""A portal for each test, a clock that stands still, and the people in it."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import CodeType

import pytest
from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy.orm import Session
from werkzeug.routing import Rule

from portal import clock as portal_clock
from portal import create_app
from portal.database import WRITING
from portal.services import Portal
from portal.settings import Settings, saving
from tests import databases, query_sites
from tests.databases import Template
from tests.factories import Company, editing_settings
from tests.pages import Browser

COMPILED: dict[str, CodeType] = {}
"""Templates by Jinja's key for their source, so that not every test's portal compiles them anew."""
STARTED_FIRST = {"browser", "peers"}
"""Folders with the longest tests."""
EACH_DATABASE = (
    *("apple_business", "audit", "cli", "credentials", "discovery", "enrollment", "lifecycle", "notifications"),
    *(
        "settings/test_loading.py",
        "settings/test_portable.py",
        "settings/test_saving.py",
        "settings/test_settings_effects.py",
    ),
    *("people", "storage", "test_backups.py", "test_faults.py", "test_jobs.py", "test_migrations.py", "web/api"),
    "apps/test_pages.py",
    *("backends/maas360/test_attacked.py", "backends/test_nanomdm_api.py", "backends/test_nanomdm_events.py"),
    *("policies/test_attacks.py", "policies/test_pages.py", "policies/test_portable.py"),
    *("web/admin/test_admin_pages.py", "web/admin/test_terms_and_texts.py", "web/helpdesk/test_campaigns.py"),
    *("web/apple/test_hostile_messages.py", "web/staff/test_fresh_proof.py", "web/test_bad_input.py"),
    *("web/test_permissions.py", "web/test_security.py", "web/test_whatever_is_sent.py"),
)
"""What runs on the second database, too, with what is marked ``each_database``: what decides by rows, what somebody
hostile sends, who waits for whom, and every place that asks (``query_sites``). What a page shows depends on neither."""
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


databases.share_statements()
if query_sites.FOLDER:
    query_sites.watch()


def share_routes() -> None:
    """Compile once for all tests' portals what builds the addresses of a route; that is most of what makes one slow."""
    compile_builder, compiled = Rule._compile_builder, {}

    def shared(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        key = rule.rule, repr(rule.defaults), append_unknown
        if key not in compiled:
            compiled[key] = compile_builder(rule, append_unknown)
        return compiled[key]

    Rule._compile_builder = shared


share_routes()


gc.set_threshold(20_000, 20, 20)
"""What is loaded stays: looking at all of it again in every other test is a fifth of their time."""


class SharedTemplates(BytecodeCache):
    """Compiled templates of this process."""

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = COMPILED.get(f"{bucket.key} {bucket.checksum}")

    def dump_bytecode(self, bucket: Bucket) -> None:
        COMPILED[f"{bucket.key} {bucket.checksum}"] = bucket.code


class Clock:
    """Time under the test's control."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def forward(self, **amount: float) -> None:
        """Let time pass, e.g. ``minutes=8``."""
        self.time += timedelta(**amount)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    portal_clock.use(lambda: START)
    made = Template(tmp_path_factory.mktemp("template"))
    portal_clock.use(None)
    yield made
    made.close()


@pytest.fixture
def clock() -> Iterator[Clock]:
    held = Clock()
    portal_clock.use(held)
    yield held
    portal_clock.use(None)


@pytest.fixture
def meanwhile(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int, Callable[[], object]], Callable[[], int]]:
    """Has something done just before a request's so many-th transaction; afterwards tells how many there were."""

    def arrange(number: int, do: Callable[[], object]) -> Callable[[], int]:
        real, seen = portal.database.transaction, []  # type: ignore[var-annotated]

        @contextmanager
        def transaction(session: Session | None = None) -> Iterator[Session]:
            if session is None or WRITING not in session.info:
                seen.append(None)
                if len(seen) == number:
                    monkeypatch.setattr(portal.database, "transaction", real)
                    do()
                    monkeypatch.setattr(portal.database, "transaction", transaction)
            with real(session) as writing:
                yield writing

        monkeypatch.setattr(portal.database, "transaction", transaction)

        def count() -> int:
            monkeypatch.setattr(portal.database, "transaction", real)
            return len(seen)

        return count

    return arrange


@pytest.fixture
def make_app(template: Template, tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Flask]]:
    """Make the test's portal with settings of its own."""
    yield from portals(template, tmp_path)


def portals(template: Template, data: Path) -> Iterator[Callable[..., Flask]]:
    """What makes portals on one copy of the template, with settings of their own; closed afterwards."""
    url, clean_up = template.copy(data)
    apps: list[Flask] = []

    def make(**overrides: object) -> Flask:
        app = create_app(template.settings(data, url, **overrides))
        app.testing = False
        app.jinja_env.bytecode_cache = SharedTemplates()
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.extensions["portal"].database.engine.dispose()
    clean_up()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app()


@pytest.fixture
def portal(app: Flask) -> Portal:
    return app.extensions["portal"]


@pytest.fixture
def settings(portal: Portal) -> Settings:
    return portal.settings


@pytest.fixture
def session(portal: Portal) -> Iterator[Session]:
    with portal.database.session() as held:
        yield held


@pytest.fixture
def company(portal: Portal, clock: Clock) -> Company:
    return Company(portal)


@pytest.fixture
def configure(portal: Portal, clock: Clock) -> Callable[..., None]:
    """Save settings as an admin would, ``section__key=value``; they count at once."""

    def save(**values: object) -> None:
        named = {name.replace("__", "."): value for name, value in values.items()}
        with portal.database.transaction() as session:
            saving.save(editing_settings(portal, session, clock()), "test", named)
        portal.refresh(0)

    return save


@pytest.fixture
def browser(app: Flask) -> Browser:
    """An iPhone's Safari."""
    return Browser(app)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What a module shares is made once; on the second database run those tests that a database can fail."""
    for item in items:
        fixtures = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]
        if any(each[-1].scope == "module" for each in fixtures.values()):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    items.sort(key=lambda item: STARTED_FIRST.isdisjoint(item.path.parts))
    if not databases.SERVER:
        return
    chosen = [each for each in items if _depends_on_the_database(each)]
    config.hook.pytest_deselected(items=[each for each in items if each not in set(chosen)])
    items[:] = chosen


def _depends_on_the_database(item: pytest.Item) -> bool:
    below = item.path.relative_to(Path(__file__).parent).as_posix()
    opens_one = "template" in item.fixturenames  # type: ignore[attr-defined]
    always = any(below == each or below.startswith(f"{each}/") for each in EACH_DATABASE)
    return (opens_one and always) or item.get_closest_marker("each_database") is not None


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Where everything must run, a skipped test is a failure."""
    if query_sites.FOLDER:
        query_sites.leave()
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("PORTAL_TESTS_MUST_RUN") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = 1
