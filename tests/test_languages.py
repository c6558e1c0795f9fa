"""English is complete by nature; German proves that every other language can be."""

import subprocess
import sys

import pytest
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

from portal.settings import ROOT
from portal.storage import terms
from tests.pages import Browser

CATALOGUE = ROOT / "portal" / "translations" / "de" / "LC_MESSAGES" / "messages.po"


@pytest.fixture(scope="module")
def german():
    with CATALOGUE.open("rb") as file:
        return read_po(file, locale="de")


def test_every_text_is_in_the_catalogue_and_translated(german, tmp_path_factory):
    pot = tmp_path_factory.mktemp("messages") / "messages.pot"
    pybabel = [sys.executable, "-m", "babel.messages.frontend"]
    subprocess.run(
        [*pybabel, "-q", "extract", "-F", "config/babel.cfg", "-o", str(pot), "."], cwd=ROOT, check=True, timeout=120
    )
    with pot.open("rb") as file:
        wanted = {message.id for message in read_po(file) if message.id}
    have = {message.id for message in german if message.id and not message.fuzzy and all(_strings(message))}
    assert wanted - have == set()


def test_translations_keep_every_placeholder(german):
    for message in german:
        if message.id:
            assert [str(error) for error in message.check(german)] == []


def test_the_compiled_catalogue_is_up_to_date(german):
    with CATALOGUE.with_suffix(".mo").open("rb") as file:
        compiled = read_mo(file)
    for message in german:
        if message.id:
            key = message.id[0] if isinstance(message.id, tuple) else message.id
            assert _strings(compiled[key]) == _strings(message), key


@pytest.mark.parametrize(("language", "heading"), [("de-CH,de;q=0.9", "Melden Sie sich an"), ("fr", "Sign in to begin"),
                                                   ("en", "Sign in to begin"), ("", "Sign in to begin")])  # fmt: skip
def test_the_browser_chooses_the_language(app, company, language, heading):
    browser = Browser(app, language=language).open_link(company.invite(company.person()))
    assert browser.heading == heading
    assert browser.soup.html["lang"] == ("de" if language.startswith("de") else "en")


def test_the_terms_accepted_in_german_are_the_german_text(app, company, session):
    invitation = company.invite(company.person())
    browser = Browser(app, language="de").walk_to("profile", invitation)
    assert browser.heading == "Laden Sie das Profil"
    assert company.request(invitation).terms_sha256 == terms.sha256(terms.text_of(session, "1.0", "de").text)


def _strings(message):
    return tuple(message.string) if isinstance(message.string, (tuple, list)) else (message.string,)
