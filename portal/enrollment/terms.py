"""The license terms as somebody reads and accepts them; publishing them is in ``portal.storage.terms``."""

import hashlib
from collections.abc import Mapping

from portal.models import Terms

FALLBACK_LOCALE = "en"


class TermsMissing(Exception):
    """No terms were published yet (run ``flask --app app setup``), or not in the fallback language."""


def in_language(texts: Mapping[str, Terms], locale: str) -> Terms:
    """Of a version's texts the one in ``locale``, else in the fallback language. Raises TermsMissing."""
    for name in (locale, locale.split("_")[0], FALLBACK_LOCALE):
        if name in texts:
            return texts[name]
    raise TermsMissing


def sha256(text: str) -> str:
    """The hex digest that an acceptance records."""
    return hashlib.sha256(text.encode()).hexdigest()
