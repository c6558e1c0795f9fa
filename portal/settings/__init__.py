"""Typed settings, and those that admins change while the portal runs: kept in the database, laid over the files.

Later wins: ``config/default.toml``, the portal's own file, what admins saved, ``PORTAL_*`` variables. A variable always
wins, so whoever can start the portal can also undo a setting that locks everybody out.
"""

from portal.settings.loading import DEFAULTS, DEMO_FILE, ROOT, Settings, SettingsError, load, unknown_variables
from portal.settings.schema import TEXT_VARIABLES

__all__ = [
    "DEFAULTS",
    "DEMO_FILE",
    "ROOT",
    "TEXT_VARIABLES",
    "Settings",
    "SettingsError",
    "load",
    "unknown_variables",
]
