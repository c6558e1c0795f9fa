"""Codes in words: texts are marked where a code is declared, and translated where somebody reads them."""

from collections.abc import Mapping
from typing import Any, cast

from jinja2 import pass_context
from jinja2.runtime import Context

ANYTHING_ELSE = "*"
"""At the end of a key: every code that begins with what stands before it."""


def N_(text: str) -> str:  # noqa: N802  (the name by which Babel finds it)
    """``text``, marked for the catalogues; it is translated when it is read."""
    return text


class Labels(dict[str, str]):
    """What codes are called. ``otherwise`` is said for a code without words of its own; None: the code itself."""

    def __init__(self, words: Mapping[str, str], otherwise: str | None = None) -> None:
        super().__init__({str(code): text for code, text in words.items()})
        self._beginnings = [key[:-1] for key in self if key.endswith(ANYTHING_ELSE)]
        self.otherwise = otherwise

    def find(self, code: str) -> str | None:
        """The untranslated text for ``code``."""
        found = self.get(code)
        if found is None:
            fitting = next((each for each in self._beginnings if code.startswith(each)), None)
            found = self.otherwise if fitting is None else self[fitting + ANYTHING_ELSE]
        return found


@pass_context
def words(context: Context, labels: Labels, code: str | None, **values: Any) -> str:
    """For templates: what ``code`` is called in the language of the page or mail; a code without words as it is."""
    text = labels.find(str(code)) if code is not None else ""
    if not text:
        return "" if text == "" else str(code)
    return cast(str, context.call(context.resolve("gettext"), text, **values))
