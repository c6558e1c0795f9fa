"""Texts that leave the portal other than as its pages: mails and the profile. Rendered in any language, anywhere."""

from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from babel.dates import format_date, get_timezone
from babel.support import NullTranslations, Translations
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context, select_autoescape
from jinja2.runtime import Context

from portal import labels
from portal.settings import ROOT
from portal.wording import words

TEMPLATES = ROOT / "templates"
TRANSLATIONS = Path(__file__).parent / "translations"
LANGUAGES = frozenset({"en", *(each.parent.parent.name for each in TRANSLATIONS.glob("*/LC_MESSAGES/messages.mo"))})
"""That there are texts in."""


def render(template: str, locale: str, **values: Any) -> str:
    """``template`` (below ``templates/``) in ``locale``; a missing value is an error, not an empty space.

    In a language that there is not, it is English.
    """
    locale = locale if locale in LANGUAGES else "en"
    return _environment(locale).get_template(template).render(locale=locale, **values).strip()


@lru_cache(maxsize=16)
def _environment(locale: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        extensions=["jinja2.ext.i18n"],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    translations = Translations.load(TRANSLATIONS, [locale]) or NullTranslations()
    environment.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]
    environment.globals.update(labels=labels, words=words)
    environment.filters["when"] = _when
    return environment


@pass_context
def _when(context: Context, at: datetime) -> str:
    """A moment in the company's time zone, which it names."""
    there = at.astimezone(get_timezone(context["company"].time_zone))
    return f"{format_date(there, 'long', context['locale'])}, {there:%H:%M %Z}"
