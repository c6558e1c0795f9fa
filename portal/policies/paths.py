"""Dotted paths to what stands in a payload, such as ``PayloadContent.URL``; the parts of a list are numbered.

Each path leads to one value alone: a dot, or digits, that belong to a key itself have a backslash before them.
"""

from collections.abc import Sequence


def below(path: str, key: object) -> str:
    """The path of what stands under ``key`` of what is at ``path`` (nothing: at the top)."""
    name = str(key).replace("\\", "\\\\").replace(".", "\\.")
    if not name or name.isdigit():
        name = f"\\{name}"
    return f"{path}.{name}" if path else name


def names(path: str) -> Sequence[str]:
    """What the keys on the way are called, without the numbers."""
    return [part for part in path.split(".") if not part.isdigit()]
