"""The second factor of staff: set up at the first sign-in, each code once, recovery codes, throttled."""

import re

import pyotp
import pytest
from sqlalchemy import delete

from portal.models import SecondFactor
from tests.factories import totp_code
from tests.pages import Browser


@pytest.fixture
def helen(company, portal):
    """Staff without a second factor, as somebody from a directory comes."""
    person = company.person("helen", "helpdesk")
    with portal.database.transaction() as session:
        session.execute(delete(SecondFactor))
    return person


def first_factor(app):
    browser = Browser(app).get("/staff/sign-in")
    return browser.submit(username="helen", password="correct horse battery", code="")


def set_up(browser, at):
    secret = browser.soup.find("span", class_="account").get_text()
    browser.submit(code=pyotp.TOTP(secret).at(at))
    return secret, re.findall(r"[0-9a-f]{7}(?:-[0-9a-f]{7}){3}", browser.text)


def test_whoever_has_none_sets_it_up_and_gets_ten_recovery_codes(app, helen, clock, company):
    browser = first_factor(app)
    assert browser.heading == "Set up your second factor"
    assert browser.soup.find("svg", class_="qr")
    assert Browser(app).get("/helpdesk").path == "/staff/sign-in"  # the first factor alone opens nothing
    secret, codes = set_up(browser, clock())
    assert (browser.heading, len(set(codes))) == ("Keep these recovery codes", 10)
    assert browser.get("/helpdesk").heading == "Enrollment requests"
    assert "second_factor.set_up" in [event.kind for event in company.all_events()]
    other = Browser(app).get("/staff/sign-in")
    other.submit(username="helen", password="correct horse battery", code=pyotp.TOTP(secret).at(clock()))
    assert other.status == 422  # the code that set it up is used
    clock.forward(seconds=60)
    other.submit(username="helen", password="correct horse battery", code=pyotp.TOTP(secret).at(clock()))
    assert other.path == "/helpdesk"


def test_a_recovery_code_works_once_however_it_is_typed(app, helen, clock):
    _, codes = set_up(first_factor(app), clock())
    browser = Browser(app).get("/staff/sign-in")
    browser.submit(username="helen", password="correct horse battery", code=f" {codes[0].upper()} ")
    assert browser.path == "/helpdesk"
    again = Browser(app).get("/staff/sign-in")
    again.submit(username="helen", password="correct horse battery", code=codes[0])
    assert again.status == 422


def test_a_wrong_code_sets_nothing_up_and_keeps_the_secret(app, helen, clock):
    browser = first_factor(app)
    secret = browser.soup.find("span", class_="account").get_text()
    browser.submit(code="000000" if pyotp.TOTP(secret).at(clock()) != "000000" else "111111")
    assert browser.error_of("code").startswith("That code is wrong")
    assert browser.soup.find("span", class_="account").get_text() == secret


def test_guessing_codes_is_throttled_even_with_an_old_cookie(app, helen, clock):
    browser = first_factor(app)
    hidden = browser.hidden()
    for _ in range(10):
        browser.post("/staff/second-factor", {**hidden, "code": "000000"})
    fresh = first_factor(app)
    fresh.submit(code="000000")
    assert "Too many tries" in fresh.text


def test_the_first_factor_is_good_for_ten_minutes(app, helen, clock):
    browser = first_factor(app)
    clock.forward(minutes=10)
    assert browser.get("/staff/second-factor").path == "/staff/sign-in"


def test_employees_never_get_there(app, company, clock):
    company.person()
    browser = Browser(app).get("/staff/sign-in")
    browser.submit(username="erika", password="correct horse battery", code="")
    assert browser.status == 422
    assert browser.get("/staff/second-factor").path == "/staff/sign-in"


def test_an_empty_code_is_wrong_for_whoever_has_a_second_factor(app, company, clock):
    company.person("ada", "admin")
    browser = Browser(app).get("/staff/sign-in")
    browser.submit(username="ada", password="correct horse battery", code="")
    assert browser.status == 422
    browser.submit(username="ada", password="correct horse battery", code=totp_code(clock()))
    assert browser.path == "/helpdesk"


def test_a_lost_one_is_replaced_by_a_command(app, company, clock):
    company.person("ada", "admin")
    done = app.test_cli_runner().invoke(args=["people", "second-factor", "ada"])
    secret = re.search(r"TOTP secret: (\w+)", done.output)[1]
    browser = Browser(app).get("/staff/sign-in")
    browser.submit(username="ada", password="correct horse battery", code=totp_code(clock()))
    assert browser.status == 422
    browser.submit(username="ada", password="correct horse battery", code=pyotp.TOTP(secret).at(clock()))
    assert browser.path == "/helpdesk"
