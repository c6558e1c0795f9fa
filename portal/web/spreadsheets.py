"""CSV that no spreadsheet takes for a program: cells that could begin a formula are quoted with an apostrophe.

https://owasp.org/www-community/attacks/CSV_Injection
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator

_BEGINS = "=+\\-@\uff1d\uff0b\uff0d\uff20"
"""What begins a formula, full-width forms too."""
_FORMULA = re.compile(rf"(^|[;,|])([\s\"']*)(?=[{_BEGINS}])")
"""Also after whatever a reader of another country may take for a separator, and behind its quotes."""
_BREAKS = re.compile(r"[\t\r\n\0]+")


def lines(rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """``rows`` as CSV (RFC 4180), a line at a time; with a byte order mark, so that umlauts survive Excel."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    yield "\ufeff"
    for row in rows:
        writer.writerow([safe(cell) for cell in row])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def safe(cell: object) -> object:
    """The cell as data; numbers stay numbers."""
    if isinstance(cell, int | float):
        return cell
    text = "" if cell is None else str(cell)
    return _FORMULA.sub(r"\1\2'", _BREAKS.sub(" ", text))


def as_file(name: str) -> dict[str, str]:
    """Headers of a download."""
    return {"Content-Disposition": f'attachment; filename="{name}"', "Content-Type": "text/csv; charset=utf-8"}
