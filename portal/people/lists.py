"""Lists of people from a spreadsheet, read as data: bounded, in one of the encodings that spreadsheets write."""

import csv
import io
from collections.abc import Iterator

LARGEST_BYTES = 8 * 1024 * 1024
MOST_LINES = 50_000
COLUMN = "username"


class ListRefused(Exception):
    """The file cannot be a list. ``code``: large, encoding, binary, column, lines, empty; ``detail`` is the place."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


def rows(content: bytes, largest: int = LARGEST_BYTES) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each row of a spreadsheet of at most so many bytes. Raises ListRefused."""
    if len(content) > largest:
        raise ListRefused("large")
    return _rows(_text(content))


def usernames(content: bytes) -> list[tuple[int, str]]:
    """(line, username as typed) of every line that is not empty. Raises ListRefused."""
    lines = rows(content)
    header = [name.strip().casefold() for name in next(lines, (0, []))[1]]
    if COLUMN not in header:
        raise ListRefused("column", ", ".join(header)[:100])
    place = header.index(COLUMN)
    found: list[tuple[int, str]] = []
    for line, row in lines:
        if not any(cell.strip() for cell in row):
            continue
        if len(found) >= MOST_LINES:
            raise ListRefused("lines")
        found.append((line, row[place].strip() if place < len(row) else ""))
    if not found:
        raise ListRefused("empty")
    return found


def _text(content: bytes) -> str:
    """UTF-8, or UTF-16 where a byte order mark says so; anything else would be guessing at names."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start]
        raise ListRefused("encoding", str(before.count(b"\n") + 1)) from None
    if "\0" in text:
        raise ListRefused("binary")
    return text


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error:
        raise ListRefused("binary", str(reader.line_num)) from None
