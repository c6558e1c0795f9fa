"""Where the portal asks the database, and what: seen with one database, it has to have been seen with the other, too.

Only part of the suite runs on the second database. With ``PORTAL_TEST_QUERY_SITES`` each run leaves in that folder what
it saw; ``python -m tests.query_sites FOLDER`` then fails if some place of the portal asked SQLite and never PostgreSQL.
"""

import os
import re
import sys
from pathlib import Path

from sqlalchemy import Engine, event

FOLDER = os.environ.get("PORTAL_TEST_QUERY_SITES", "")
PORTAL = str(Path(__file__).resolve().parent.parent / "portal") + "/"
MIGRATIONS, PASSED_ON = "migrations/", "database.py"
"""What makes tables, each database's in its way; what runs others' statements."""
CATALOGUE = "sqlite_"
"""Begins the names of what SQLite keeps about its own tables."""
UNIT_OF_WORK = "sqlalchemy/orm/unitofwork.py"
"""Writes what was changed, whenever that happens to be: no place of the portal's own."""
ASKS = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")
TABLE = re.compile(r"\b(?:INTO|UPDATE|FROM)\s+(\w+)")
ONE, OTHER = "sqlite", "postgresql"
seen: set[tuple[str, str]] = set()
"""(database, place) of this process."""


def watch() -> None:
    """Note every statement from now on."""
    event.listen(Engine, "before_cursor_execute", _note)


def _note(connection, _cursor, statement: str, *_rest: object) -> None:
    asks, table, frame = ASKS.match(statement), TABLE.search(statement), sys._getframe(1)
    if table is not None and table.group(1).startswith(CATALOGUE):
        return
    while asks is not None and frame is not None:
        name, place = frame.f_code.co_filename, ""
        below = name.removeprefix(PORTAL)
        if name.endswith(UNIT_OF_WORK):
            place = "anywhere"
        elif below.startswith(MIGRATIONS):
            return
        elif below not in (name, PASSED_ON):
            place = f"portal/{below}:{frame.f_lineno}"
        if place:
            seen.add((connection.dialect.name, f"{place} {asks.group(1)} {table.group(1) if table else ''}".rstrip()))
            return
        frame = frame.f_back


def leave() -> None:
    """Write down what this process saw."""
    for database in (ONE, OTHER):
        places = sorted(place for name, place in seen if name == database)
        if places:
            (Path(FOLDER) / f"{database}-{os.getpid()}.txt").write_text("\n".join(places) + "\n")


def main(folder: str) -> int:
    """Compare; 1 if there is something that only one database was asked."""
    found = {
        database: {line for file in Path(folder).glob(f"{database}-*.txt") for line in file.read_text().splitlines()}
        for database in (ONE, OTHER)
    }
    missing = sorted(found[ONE] - found[OTHER])
    for each in missing:
        print(f"no test asks PostgreSQL: {each}")
    print(f"{len(found[ONE])} places ask the database, {len(missing)} of them never PostgreSQL")
    return 1 if missing or not found[ONE] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
