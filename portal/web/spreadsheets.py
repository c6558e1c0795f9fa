"""CSV that no spreadsheet takes for a program: cells that could begin a formula are quoted with an apostrophe.

https://owasp.org/www-community/attacks/CSV_Injection
"""

import csv
import io
from collections.abc import Iterable, Iterator

FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n")


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
    return f"'{text}" if text.startswith(FORMULA_BEGINS) else text


def as_file(name: str) -> dict[str, str]:
    """Headers of a download."""
    return {"Content-Disposition": f'attachment; filename="{name}"', "Content-Type": "text/csv; charset=utf-8"}
