"""A fresh, set-up database for each test: a copied file for SQLite, a copied template for PostgreSQL.

``PORTAL_TEST_DATABASE_URL`` names a PostgreSQL server on which databases may be created; without it SQLite is used.
"""

import copy
import os
import shutil
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import sqlalchemy
from flask import Flask
from sqlalchemy import Dialect, make_url, text
from sqlalchemy.util import LRUCache

from portal import create_app, database, installation, vault
from portal.services import Portal
from portal.settings import Settings, load

SHARED: dict[str, Dialect] = {}
"""By kind of database the dialect of the first engine that connected."""
STATEMENTS: LRUCache[Any, Any] = LRUCache(5000)
"""Compiled statements of this process: the same for every test, though each has a database and engine of its own."""
SERVER = os.environ.get("PORTAL_TEST_DATABASE_URL", "")


def share_statements() -> None:
    """Have every engine that is opened from now on use them. SQLAlchemy keeps them by dialect."""
    opened = database.open_engine

    def open_engine(url: str) -> sqlalchemy.Engine:
        engine = opened(url)
        engine._compiled_cache = STATEMENTS
        kind = engine.dialect.name
        if kind in SHARED:
            engine.dialect = engine.pool._dialect = SHARED[kind]
        else:
            sqlalchemy.event.listen(engine, "engine_connect", lambda _: SHARED.setdefault(kind, engine.dialect))
        return engine

    database.open_engine = open_engine


_AT_THE_SERVER = ThreadPoolExecutor(max_workers=1)
"""Makes and drops databases, one after the other: no test waits for what the one before left behind."""


@cache
def _administration() -> sqlalchemy.Connection:
    return sqlalchemy.create_engine(SERVER, isolation_level="AUTOCOMMIT").connect()


def ask(statement: str) -> Future[object]:
    """Have the server do something, after what it was asked before."""
    return _AT_THE_SERVER.submit(lambda: _administration().execute(text(statement)))


def named(name: str) -> str:
    """The URL of a database of the test server."""
    return make_url(SERVER).set(database=name).render_as_string(hide_password=False)


def create(template: str | None = None) -> str:
    """A new database, empty or copied; returns its name."""
    name = f"portal_test_{uuid.uuid4().hex[:16]}"
    source = f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""  # a server of tests has no use for its log
    ask(f"CREATE DATABASE {name}{source}").result()
    return name


def drop(name: str) -> Future[object]:
    """Remove a database soon, whoever is still connected."""
    return ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class Template:
    """A portal that was set up once; every test starts from a copy of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = [vault.new_key()]
        self.database = create() if SERVER else ""
        portal = Portal(self.settings(folder, named(self.database) if SERVER else ""))
        installation.setup(portal)
        portal.database.engine.dispose()

    def settings(self, data: Path, database_url: str, **overrides: object) -> Settings:
        """Settings of a test portal in ``data``."""
        values: dict[str, object] = {
            "data_dir": data,
            "database_url": database_url,
            "public_url": "https://portal.example.com",
            "secret_keys": tuple(self.keys),
        }
        return load(**{**values, **overrides})

    def copy(self, data: Path) -> tuple[str, Callable[[], object]]:
        """(database URL, clean-up) of a fresh copy."""
        if SERVER:
            name = create(self.database)
            return named(name), partial(drop, name)
        for source in self.folder.glob("portal.sqlite3*"):
            shutil.copy(source, data / source.name)
        return "", lambda: None

    def further(self, folder: Path, act: Callable[[Flask], Any]) -> tuple["Template", Any]:
        """A template that goes on from this one after ``act(app)``, and what that returned."""
        url, _ = self.copy(folder)
        made = copy.copy(self)
        made.folder, made.database = folder, str(make_url(url).database) if url else ""
        app = create_app(made.settings(folder, url))
        try:
            return made, act(app)
        finally:
            app.extensions["portal"].database.engine.dispose()

    def close(self) -> None:
        """Remove the template."""
        if SERVER:
            drop(self.database).result()  # and, since they come in order, every one before it
