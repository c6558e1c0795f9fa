"""The table of every setting in ``docs/settings.md``, made from the defaults and their comments."""

import re
from pathlib import Path

from portal.settings import DEFAULTS, ROOT

PAGE = ROOT / "docs" / "settings.md"
MARK = "<!-- The table is made from config/default.toml: make settings -->\n"
_SECTION = re.compile(r"\[([\w.]+)\]")
_SETTING = re.compile(r"(\w+) = (.*?)\s+# (.*)")


def table(defaults: str) -> str:
    """The table for the text of a file of defaults, in Markdown."""
    rows, section = ["| section | setting | default | what it does |", "|---|---|---|---|"], ""
    for line in defaults.splitlines():
        header, setting = _SECTION.match(line), _SETTING.match(line)
        if header:
            section = f"`[{header[1]}]`"
        elif setting:
            value = setting[2].replace("|", "\\|")
            rows.append(f"| {section} | `{setting[1]}` | `{value}` | {setting[3]} |")
            section = ""
    return "\n".join(rows) + "\n"


def page(text: str) -> str:
    """``text`` of the page with its table as it should be now."""
    return text.partition(MARK)[0] + MARK + "\n" + table(DEFAULTS.read_text("utf-8"))


def write(path: Path = PAGE) -> None:
    """Bring the page up to date."""
    path.write_text(page(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    write()
