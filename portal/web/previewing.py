"""Showing a page that is not for using: what one could press, type or follow is switched off, the rest can be read."""

import re

_CONTROLS = re.compile(r"<(button|input|select|textarea)\b")
_LINKS = re.compile(r'(<a\b[^>]*?)\shref="(?!#)[^"]*"')
_FORMS = re.compile(r"<form\b[^>]*>")


def unusable(html: str) -> str:
    """``html`` (one of our own pages) without forms, links and controls that do anything."""
    return _FORMS.sub("<form>", _LINKS.sub(r"\1", _CONTROLS.sub(r"<\1 disabled", html)))
