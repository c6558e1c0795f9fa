"""Settings that admins change while the portal runs: kept in the database, laid over the files.

Later wins: ``config/default.toml``, the portal's own file, what admins saved, ``PORTAL_*`` variables. A variable always
wins, so whoever can start the portal can also undo a setting that locks everybody out.
"""
