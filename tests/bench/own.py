"""Portals in this process, on a database that is thrown away afterwards, for measuring without a server."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from flask import Flask

from portal import create_app
from tests.databases import Template


@contextlib.contextmanager
def portals() -> Iterator[Callable[..., Flask]]:
    """What makes them, each with settings of its own, all on one database."""
    with tempfile.TemporaryDirectory() as folder:
        template, data = Template(Path(folder)), Path(folder) / "portal"
        data.mkdir()
        url, clean_up = template.copy(data)
        made: list[Flask] = []

        def make(**overrides: object) -> Flask:
            made.append(create_app(template.settings(data, url, **overrides)))
            return made[-1]

        try:
            yield make
        finally:
            for app in made:
                app.extensions["portal"].database.engine.dispose()
            clean_up()
            template.close()
