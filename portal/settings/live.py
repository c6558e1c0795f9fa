"""The settings as they are now: the files' with what admins saved over them, read again when somebody saved."""

import json
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from portal.database import Database
from portal.models import SettingsVersion, SettingValue
from portal.settings import Settings, overlay
from portal.settings.overlay import NotValid
from portal.vault import Vault, VaultError

LOOK_EVERY_SECONDS = 1.0
"""How old settings may be in a process that did not save them itself."""

log = logging.getLogger("portal.settings")


class Live:
    """Holds ``current``; immutable snapshots replace one another. ``base`` are the settings of files and variables."""

    def __init__(self, base: Settings, database: Database, vault: Callable[[], Vault]) -> None:
        self.base = base
        self.current = base
        self._database = database
        self._vault = vault
        self._version = 0
        self._looked = -math.inf
        self._reading = threading.Lock()

    def refresh(self, max_age: float = LOOK_EVERY_SECONDS) -> Settings:
        """``current``, looked up again if that was more than ``max_age`` seconds ago.

        Without a database, or before setup, the last known settings go on.
        """
        never = self._looked == -math.inf
        if time.monotonic() - self._looked < max_age or not self._reading.acquire(blocking=never or not max_age):
            return self.current  # fresh enough, or another thread is looking right now
        try:
            if not (never and self._looked != -math.inf):  # else another thread looked while this one waited
                self._read()
        finally:
            self._reading.release()
        return self.current

    def _read(self) -> None:
        try:
            with self._database.session() as session:
                version = newest_version(session)
                if version != self._version:
                    self.current = effective(self.base, stored(session, self._vault()))
                    self._version = version
        except (DBAPIError, VaultError) as error:
            level = logging.WARNING if self._version else logging.INFO  # before setup there is nothing to read
            log.log(level, "settings.not_read error=%s", type(error).__name__)
        finally:
            self._looked = time.monotonic()


def newest_version(session: Session) -> int:
    """The number of the last save; 0 if nothing was ever saved."""
    return session.scalar(select(func.max(SettingsVersion.id))) or 0


def stored(session: Session, vault: Vault) -> dict[str, Any]:
    """What admins saved: section.key -> JSON value."""
    rows = session.execute(select(SettingValue.name, SettingValue.value_sealed))
    return {name: json.loads(vault.open(sealed)) for name, sealed in rows}


def effective(base: Settings, values: dict[str, Any]) -> Settings:
    """The settings that count. A saved value that does not fit (any more) is left out and logged, the rest counts."""
    free = {name: value for name, value in values.items() if name not in overlay.pinned()}
    while True:
        try:
            return overlay.lay_over(base, free)
        except NotValid as refused:
            wrong = {problem.name for problem in refused.problems}
            left_out = {name for name in free if name in wrong or name.split(".")[0] in wrong} or set(free)
            log.error("settings.saved_value_left_out names=%s", ",".join(sorted(left_out)))
            free = {name: value for name, value in free.items() if name not in left_out}
