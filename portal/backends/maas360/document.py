"""The table of what is unverified in ``docs/backends.md``, made from ``names``."""

from pathlib import Path

from portal.backends.maas360.names import NAMES
from portal.settings import ROOT

PAGE = ROOT / "docs" / "backends.md"
MARK = "<!-- The table is made from portal/backends/maas360/names.py: make settings -->\n"


def page(text: str) -> str:
    """``text`` of the page with its table as it should be now."""
    rows = ["| name | as the portal says it | how sure | what it is |", "|---|---|---|---|"]
    for name, each in NAMES.items():
        word = f"`{each.default}`".replace("|", "\\|") if each.default else "nothing"
        rows.append(f"| `{name}` | {word} | {each.evidence} | {each.says} |")
    return text.partition(MARK)[0] + MARK + "\n" + "\n".join(rows) + "\n"


def write(path: Path = PAGE) -> None:
    """Bring the page up to date."""
    path.write_text(page(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    write()
