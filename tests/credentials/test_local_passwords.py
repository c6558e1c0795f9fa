"""Local passwords: a one-time link, changing it, and what is good enough."""

import os
import re
import signal
import threading
from types import SimpleNamespace

import pytest

from portal.credentials import local, passwords
from portal.credentials import sign_in as corporate
from portal.credentials.base import Found
from portal.credentials.passwords import PasswordRefused
from tests.conftest import START
from tests.factories import PASSWORD
from tests.pages import Browser

GOOD = "violet tractor hums loudly"


@pytest.fixture
def erika(company):
    return company.person()


def link(app, *more):
    done = app.test_cli_runner().invoke(args=["people", "password-link", "erika", *more])
    return done.output.strip().removeprefix("https://portal.example.com")


def test_a_link_sets_the_password_once(app, erika, company):
    path = link(app)
    browser = Browser(app).get(path)
    assert browser.heading == "Choose your password"
    browser.submit(new=GOOD, again=GOOD)
    assert browser.heading == "Your password is changed"
    assert Browser(app).get("/enroll").sign_in("erika", GOOD).heading == "Whose device is this?"
    assert Browser(app).get("/enroll").sign_in("erika", PASSWORD).status == 422
    again = Browser(app).get(path)
    assert (again.status, again.heading) == (404, "This link no longer works")
    assert "password.changed" in [event.kind for event in company.all_events()]


def test_a_link_dies_after_a_day_or_with_the_next_one(app, erika, clock):
    first = link(app)
    second = link(app)
    assert Browser(app).get(first).status == 404
    assert Browser(app).get(second).status == 200
    clock.forward(hours=24)
    assert Browser(app).get(second).status == 404
    assert Browser(app).get("/account/password/unknown").status == 404


def test_a_refused_password_leaves_the_link_good(app, erika):
    browser = Browser(app).get(link(app))
    browser.submit(new="short", again="short")
    assert "at least 15 characters" in browser.error_of("new")
    browser.submit(new=GOOD, again=GOOD + "x")
    assert "not the same" in browser.error_of("again")
    browser.submit(new=GOOD, again=GOOD)
    assert browser.heading == "Your password is changed"


def test_the_link_is_mailed_and_not_logged(app, erika, portal, caplog):
    from portal.jobs import Worker

    caplog.set_level("DEBUG")
    assert link(app, "--mail") == "Mailed to erika@example.com."
    Worker(portal.settings).deliver()
    mail = next((portal.settings.data / "outbox").glob("*.eml")).read_text()
    token = re.search(r"/account/password/([0-9a-f]{40})", mail.replace("=\n", ""))[1]
    assert token not in caplog.text
    assert Browser(app).get(f"/account/password/{token}").status == 200


def test_the_owner_changes_it_with_the_old_one_and_is_signed_out_everywhere(app, erika, company):
    signed_in = Browser(app).open_link(company.invite(erika)).sign_in()
    browser = Browser(app).get("/account/password")
    browser.submit(username="erika", password="wrong", new=GOOD, again=GOOD)
    assert "don't match" in browser.error_of("password")
    browser.submit(username="erika", password=PASSWORD, new=GOOD, again=GOOD)
    assert browser.heading == "Your password is changed"
    assert signed_in.get("/enroll/continue").path == "/enroll/sign-in"
    assert Browser(app).get("/enroll").sign_in("erika", GOOD).heading == "Whose device is this?"


def test_guessing_the_old_one_here_counts_like_a_sign_in(app, erika):
    browser = Browser(app).get("/account/password")
    for _ in range(11):
        browser.submit(username="erika", password="wrong", new=GOOD, again=GOOD)
    assert "Too many tries" in browser.error_of("username")


def test_whoever_signs_in_elsewhere_gets_no_link(app, company):
    company.person("erika", source="directory", subject="1")
    done = app.test_cli_runner().invoke(args=["people", "password-link", "erika"])
    assert (done.exit_code, "signs in elsewhere" in done.output) == (1, True)


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        (GOOD, None),
        ("violettractorhumsloudly", None),
        ("Ünïcödé wörds ärë fïne", None),
        ("x" * 14, "password_short"),
        ("passwordpassword", "password_guessable"),
        ("aaaaaaaaaaaaaaaa", "password_guessable"),
        ("123456789012345678", "password_guessable"),
        ("qwertyuiopasdfgh", "password_guessable"),
        ("erikaerikaerika1", "password_guessable"),
        ("examplecompany2026", "password_guessable"),
        (GOOD * 40, None),
    ],
)
def test_length_and_a_blocklist_decide_not_kinds_of_characters(erika, settings, password, reason):
    try:
        passwords.judged(password, erika, settings)
        refused = None
    except PasswordRefused as refusal:
        refused = refusal.reason
    assert refused == reason


def test_none_of_the_commonest_passwords_is_taken_however_long(company, settings):
    """zxcvbn's list of 30,000, as it is and twice in a row."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    person = company.person()
    common = FREQUENCY_LISTS["passwords"]
    assert len(common) >= 30_000
    for password in [*common[:300], *[each for each in common if len(each) >= 12][:100]]:
        for longer in (password, password * 2):
            with pytest.raises(passwords.PasswordRefused):
                passwords.judged(longer, person, settings)


def test_nobody_s_account_takes_a_colleague_s_username(app, portal, company, clock, configure):
    """A username may look like an account, and a source may call somebody's account what it likes."""
    configure(managed_apple_account__source="email")
    company.person("ada@example.com", email="ada@example.com")
    told = Found("oidc:corp", "7", "mallory", "Mallory", "ada@example.com")
    corporate.store_person(portal.database, portal.settings, told, clock())
    ada = Browser(app).get("/enroll").submit(username="Ada@Example.com", password=PASSWORD)
    assert ada.path != "/enroll/sign-in"


SLOW = "1$+7@[976123|7|[562!362342|!036<8[%$%{26$+[{{$19|3(<98(3|!5([@@24<@5+2$!"
"""zxcvbn takes seconds for the whole of it."""


def test_no_password_takes_long_to_judge(erika, settings, monkeypatch):
    import zxcvbn

    judged, real = [], zxcvbn.zxcvbn
    monkeypatch.setattr(zxcvbn, "zxcvbn", lambda text, words: judged.append(text) or real(text, words))
    passwords.judged(SLOW, erika, settings)
    assert max(len(each) for each in judged) <= 24
    judged.clear()
    passwords.judged("four 5 and 6 quiet lamps on Tuesday!", erika, settings)
    assert judged == ["four 5 and 6 quiet lamps on Tuesday!"]


def test_a_new_password_is_judged_while_others_write(app, portal, company, monkeypatch):
    company.person("mallory")
    real, written = passwords.judged, []

    def judged(*arguments):
        with portal.database.transaction() as session:  # waits for ever within another
            written.append(session)
        return real(*arguments)

    monkeypatch.setattr(passwords, "judged", judged)
    browser = Browser(app).get("/account/password")
    browser.submit(username="mallory", password=PASSWORD, new=GOOD, again=GOOD)
    assert (len(written), browser.heading) == (1, "Your password is changed")


def test_new_passwords_are_counted(app, company, settings):
    """Each is told by mail, and judging one takes time."""
    company.person("mallory")
    browser, old = Browser(app), PASSWORD
    for number in range(settings.sign_in.account_tries + 1):
        new = f"a quite unguessable sentence {number}"
        browser.get("/account/password").get("/account/password")
        browser.submit(username="mallory", password=old, new=new, again=new)
        old = new
    assert "Too many tries" in browser.text


def test_however_many_sign_in_at_once_one_thread_of_a_process_makes_the_hashes(portal, erika, monkeypatch):
    seen = []
    verify = local._hasher.verify
    monkeypatch.setattr(
        local, "_hasher", SimpleNamespace(verify=lambda *each: seen.append(threading.get_ident()) or verify(*each))
    )

    def sign_in():
        with portal.database.session() as session:
            assert local.LocalAccounts().verify(session, "erika", PASSWORD, START) is not None

    threads = [threading.Thread(target=sign_in) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(seen) == 6
    assert len(set(seen)) == 1


def test_a_forked_process_makes_its_own_hashes():
    stored = local._hasher.hash(GOOD)
    assert local._fits(stored, GOOD)  # the thread is there
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # rather than wait for ever
        os._exit(0 if local._fits(stored, GOOD) and not local._fits(stored, PASSWORD) else 1)
    assert os.waitpid(child, 0)[1] == 0
