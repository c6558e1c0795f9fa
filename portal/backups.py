"""One file with all that a portal keeps but its secret keys, taken while it runs; from any database into any.

A line of the file is a sheet: a JSON list of the backup's id, the sheet's number and what it says, compressed and
sealed with the portal's secret keys. So whoever finds a backup reads nothing and changes nothing, and one that is cut
off, or was mixed from two, is told before anything of it counts. The first sheet tells what follows, the last how much
it was; all between are rows of one table. What columns there are is asked of the database, not of the models: a backup
of an earlier version is restored as it was and migrated then.
"""

import base64
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    cast,
    event,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.orm import Session

from portal import clock, installation
from portal.audit import Editor
from portal.database import Database
from portal.events import Actor, Event
from portal.models import PasskeyChallenge, SignInAttempt, WebSession, new_id
from portal.models.base import UTCDateTime
from portal.services import Portal
from portal.vault import Vault, VaultError

FORMAT = 1
ROWS_A_SHEET = 500
LEFT_OUT = {installation.VERSION_TABLE} | {
    model.__tablename__ for model in (WebSession, SignInAttempt, PasskeyChallenge)
}
"""Tables of what lasts minutes. Who was signed in then is not signed in after a restore: they may have been thrown out
since."""


class BackupRefused(Exception):
    """Cannot be restored; the words say why. The database is as it was."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What is in a backup: when it was made, of which version of the tables (``0027``), and how many rows."""

    made_at: datetime
    revision: str
    rows: int


def create(portal: Portal, file: Path) -> Backup:
    """Write a backup of ``portal`` as it is at this moment, while it goes on.

    ``file`` appears, or is replaced, when it is complete. Readable by its owner only. Raises OSError, VaultError.
    """
    fresh, made_at = file.with_name(file.name + ".new"), clock.now()
    fresh.unlink(missing_ok=True)
    try:
        with portal.database.snapshot() as session, open(fresh, "xb", opener=partial(os.open, mode=0o600)) as out:
            revision = installation.revision(session)
            told = {"format": FORMAT, "revision": revision, "made_at": made_at.isoformat()}
            rows = _write(out, portal.vault, told, _contents(session))
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
    return Backup(made_at, revision, rows)


def restore(portal: Portal, file: Path) -> Backup:
    """Fill the empty database of ``portal`` from a backup, and bring it to this version; all of it or nothing.

    Raises BackupRefused, OSError.
    """
    with file.open("rb") as lines:
        sheets = _sheets(lines, portal)
        told = next(sheets)
        if told["format"] > FORMAT or told["revision"] > installation.NEWEST:
            raise BackupRefused("A later version of the portal made this backup: restore it with that one.")
        made = Backup(datetime.fromisoformat(told["made_at"]), told["revision"], 0)
        _be_empty(portal.database)
        installation.migrate(portal.database, made.revision)
        with portal.database.transaction() as session:
            rows = _fill(session.connection(), sheets)
    installation.migrate(portal.database)
    portal.forget()
    with portal.database.transaction() as session:
        editor = Editor(session, portal.vault, Actor.COMMAND, clock.now())
        editor.record(Event.BACKUP_RESTORED, made_at=made.made_at.isoformat())
    return Backup(made.made_at, made.revision, rows)


def _tables(connection: Connection) -> Iterator[Table]:
    """What there is to keep, each table after those that its rows refer to."""
    metadata = MetaData()

    @event.listens_for(metadata, "column_reflect")
    def _as_we_store_it(_inspector: Any, _table: Table, column: dict[str, Any]) -> None:
        if isinstance(column["type"], DateTime):
            column["type"] = UTCDateTime()
        elif isinstance(column["type"], JSON):
            column["type"] = JSON(none_as_null=True)  # JSON's own null is told apart from nothing

    metadata.reflect(connection)
    return (table for table in metadata.sorted_tables if table.name not in LEFT_OUT)


def _contents(session: Session) -> Iterator[dict[str, Any]]:
    """What the sheets with rows say."""
    for table in _tables(session.connection()):
        columns = list(table.columns)
        as_kept = [cast(each, Text) if isinstance(each.type, JSON) else each for each in columns]
        query = select(*as_kept).order_by(*table.primary_key.columns)
        names = [each.name for each in columns]
        for rows in session.execute(query.execution_options(yield_per=ROWS_A_SHEET)).partitions():
            yield {"table": table.name, "columns": names, "rows": [[_told(value) for value in row] for row in rows]}


def _told(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value


def _kept(column: Column[Any], told: Any) -> Any:
    """What was told of a value, as ``column`` takes it."""
    if told is None:
        return None
    if isinstance(column.type, UTCDateTime):
        return datetime.fromisoformat(told)
    if isinstance(column.type, LargeBinary):
        return base64.b64decode(told)
    if isinstance(column.type, JSON):
        value = json.loads(told)
        return JSON.NULL if value is None else value
    return told


def _write(out: IO[bytes], vault: Vault, told: dict[str, Any], contents: Iterable[dict[str, Any]]) -> int:
    """All sheets; returns the number of rows."""
    backup_id, number, rows = new_id(), 0, 0

    def write(sheet: dict[str, Any]) -> None:
        nonlocal number
        out.write(vault.seal(zlib.compress(json.dumps([backup_id, number, sheet]).encode())) + b"\n")
        number += 1

    write(told)
    for sheet in contents:
        write(sheet)
        rows += len(sheet["rows"])
    write({"end": rows})
    return rows


def _sheets(lines: IO[bytes], portal: Portal) -> Iterator[dict[str, Any]]:
    """What the sheets of one backup say, in order, the first and the last included. Raises BackupRefused."""
    try:
        vault = portal.vault
    except VaultError:
        raise BackupRefused("The secret keys of the portal that was backed up have to be in place first.") from None
    first: str | None = None
    for number, line in enumerate(lines):
        try:
            backup_id, its_number, told = json.loads(zlib.decompress(vault.open(line.strip())))
        except VaultError:
            reason = "None of the secret keys here opens it." if first is None else f"Line {number + 1} is damaged."
            raise BackupRefused(f"Not a backup of this portal, or a damaged one. {reason}") from None
        first = backup_id if first is None else first
        if (backup_id, its_number) != (first, number):
            raise BackupRefused(f"Line {number + 1} belongs elsewhere: the file was mixed from several.")
        yield told
        if "end" in told:
            return
    raise BackupRefused("The backup is cut off: its end is missing.")


def _be_empty(database: Database) -> None:
    """Raises BackupRefused if ``database`` holds anything."""
    with database.session() as session:
        connection = session.connection()
        some = {each.name: select(literal(1)).select_from(each).limit(1) for each in _tables(connection)}
        held = sorted(name for name, query in some.items() if connection.execute(query).first())
    if held:
        raise BackupRefused(f"The database is not empty: there are {', '.join(held[:3])}. Restore into an empty one.")


def _fill(connection: Connection, sheets: Iterable[dict[str, Any]]) -> int:
    """Every row of the sheets; returns how many."""
    tables, rows = {table.name: table for table in _tables(connection)}, 0
    for sheet in sheets:
        if "end" in sheet:
            break
        table = tables[sheet["table"]]
        columns = [table.columns[name] for name in sheet["columns"]]
        values = [
            {column.name: _kept(column, told) for column, told in zip(columns, row, strict=True)}
            for row in sheet["rows"]
        ]
        connection.execute(insert(table), values)
        rows += len(values)
    if connection.dialect.name == "postgresql":
        for table in tables.values():
            _count_on(connection, table)
    return rows


def _count_on(connection: Connection, table: Table) -> None:
    """The next row's number comes after those that were filled in."""
    key = list(table.primary_key.columns)
    if len(key) != 1 or not isinstance(key[0].type, Integer):
        return
    sequence = func.pg_get_serial_sequence(table.name, key[0].name)
    newest = connection.scalar(select(func.max(key[0])))
    if newest is not None:
        connection.execute(select(func.setval(sequence, newest)).where(sequence.is_not(None)))
