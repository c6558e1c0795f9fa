"""Declarative management: what a device is told to be, and what it tells of itself, without a command for each.

``manifest`` is what the portal declares, ``status`` what a device reports; both are pure. Facts: Apple, "Integrating
declarative management" and "Leveraging the declarative management data model"; the schema's ``declarative/protocol``.
"""
