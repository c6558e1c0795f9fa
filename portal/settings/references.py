"""Secrets of a settings file, which stand there by reference: ``{ env = "NAME" }`` or ``{ file = "/path" }``.

Whoever writes such a file is not always who runs the import, and a secret goes to a server that the file names. So the
portal's own variables and the files in its data folder are no sources: they are meant for what they are called after.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST_FILE = 200_000
OURS = "PORTAL_"
"""Begins the names of the portal's own variables."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where references may point: the ``environment``, and files outside of the ``data`` folder."""

    environment: Mapping[str, str]
    data: Path

    def find(self, reference: Any, own: str = "") -> bytes | None:
        """What ``reference`` points to, None if nothing is there. ``own``: the variable of that very setting."""
        if not isinstance(reference, dict) or len(reference) != 1:
            return None
        ((kind, where),) = reference.items()
        if not isinstance(where, str):
            return None
        if kind == "env" and (not where.upper().startswith(OURS) or where == own):
            return self.environment.get(where, "").encode("utf-8", "surrogateescape") or None
        file = Path(where)
        if kind == "file" and file.is_file() and file.stat().st_size <= LARGEST_FILE and not self._is_ours(file):
            return file.read_bytes()
        return None

    def _is_ours(self, file: Path) -> bool:
        return file.resolve().is_relative_to(self.data.resolve())
