"""Bad input gets a clear 4xx, changes nothing, and never a trace or a 500."""

from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from portal.enrollment import invitations
from tests.pages import BASE, Browser

PAGES = ("/", "/e/x", "/e/%00", "/e/%ff%fe", "/p/x.mobileconfig", "/p/%00.mobileconfig", "/enroll/nothing",
         "/enroll/../admin", "/static/../app.py", "/static/nothing.css", "/helpdesk/requests/%00")  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_strange_addresses_get_a_calm_page(browser, company, path):
    company.person()
    answer = browser.client.get(path, base_url=BASE, headers=browser.headers)
    assert answer.status_code in (303, 400, 404)
    assert "Traceback" not in answer.get_data(as_text=True)


def test_wrong_methods_are_405_and_say_which_are_right(app, company):
    client = app.test_client()
    for method, path in (("DELETE", "/enroll/sign-in"), ("PUT", "/e/x"), ("GET", "/mdm/checkin"), ("PUT", "/scep")):
        answer = client.open(path, method=method, base_url=BASE)
        assert answer.status_code == 405, (method, path)
        assert answer.headers["Allow"]


@pytest.mark.parametrize(
    "fields",
    [
        {"username": "erika\x00", "password": "x"},
        {"username": "x" * 200, "password": "x"},
        {"username": "x", "password": "y" * 5000},
        {"username": "", "password": ""},
        {},
        {"username": "\ud800", "password": "x"},
    ],
    ids=["nul", "long username", "long password", "empty", "nothing", "surrogate"],
)
def test_bad_sign_ins_are_refused_in_words(browser, company, fields):
    invitation = company.invite(company.person())
    browser.open_link(invitation)
    data = {**browser.hidden(), **fields}
    encoded = "&".join(f"{key}={value}" for key, value in data.items()).encode("utf-8", "surrogatepass")
    answer = browser.client.post(
        "/enroll/sign-in", data=encoded, base_url=BASE, headers=browser.headers,
        content_type="application/x-www-form-urlencoded",
    )  # fmt: skip
    assert answer.status_code in (400, 413, 422)
    assert company.status(invitation) == "invited"


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "abcdef", "９９", "-" * 60, "١٢٣٤٥", "1\x002345"])
def test_bad_passcodes_are_refused_in_words(browser, company, typed):
    invitation = company.invite(company.person())
    browser.walk_to("passcode", invitation)
    browser.submit(passcode=typed)
    assert browser.status in (400, 422)
    assert company.step(invitation) == "passcode"


def test_unknown_ownership_is_refused(browser, company):
    browser.walk_to("ownership", company.invite(company.person()))
    browser.submit(ownership="alien")
    assert (browser.status, browser.path) == (422, "/enroll/ownership")


@pytest.mark.parametrize("path", ["/enroll/sign-in", "/scep?operation=PKIOperation", "/mdm/checkin"])
def test_ten_megabytes_are_refused(app, path):
    method = "PUT" if path.startswith("/mdm") else "POST"
    form = "application/x-www-form-urlencoded"
    answer = app.test_client().open(
        path, method=method, data=b"a=" + b"x" * 10_000_000, content_type=form, base_url=BASE
    )
    assert answer.status_code in (400, 413)


def test_the_scep_address_refuses_what_it_does_not_know(app):
    client = app.test_client()
    for query in ("", "?operation=GetCRL", "?operation=PKIOperation", "?operation=PKIOperation&message=%%%"):
        answer = client.get("/scep" + query, base_url=BASE)
        assert answer.status_code == 400
        assert answer.content_type.startswith("text/plain")
    assert client.post("/scep?operation=PKIOperation", data=b"\x30\x80junk", base_url=BASE).status_code == 400


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=400), header=st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=80)
)
def test_no_bytes_make_the_device_addresses_fail(app, body, header):
    client = app.test_client()
    for method, path in (
        ("PUT", "/mdm/checkin"),
        ("PUT", "/mdm/connect"),
        ("POST", "/scep?operation=PKIOperation"),
    ):
        answer = client.open(path, method=method, data=body, headers={"Mdm-Signature": header}, base_url=BASE)
        assert 400 <= answer.status_code < 500
        assert answer.status_code != 401


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    token=st.text(max_size=60), query=st.text(max_size=60), agent=st.text(st.characters(codec="latin-1"), max_size=60)
)
def test_no_address_makes_a_page_fail(app, company, token, query, agent):
    client = app.test_client()
    agent = agent.replace("\r", "").replace("\n", "")
    for path in ("/e/", "/p/", "/enroll/", "/helpdesk/"):
        url = (
            f"{path}{quote(token.encode('utf-8', 'surrogatepass'), safe='')}?{quote(query.encode('utf-8', 'replace'))}"
        )
        answer = client.get(url, base_url=BASE, headers={"User-Agent": agent})
        assert answer.status_code < 500


def test_a_bug_shows_a_calm_page_and_is_logged(app, company, monkeypatch, caplog):
    monkeypatch.setattr(invitations, "by_token", lambda *_: 1 / 0)
    browser = Browser(app).get("/e/x")
    assert (browser.status, browser.heading) == (500, "Something went wrong on our side")
    assert "ZeroDivisionError" not in browser.response.get_data(as_text=True)
    assert "ZeroDivisionError" in caplog.text


def test_a_database_out_of_reach_is_a_503_that_tries_again(app, company, monkeypatch):
    def down(*_):
        raise OperationalError("SELECT", {}, Exception("disk I/O error"))

    monkeypatch.setattr(invitations, "by_token", down)
    browser = Browser(app).get("/e/x")
    assert (browser.status, browser.heading) == (503, "We cannot go on right now")
    assert browser.response.headers["Retry-After"]
    assert browser.soup.find("meta", attrs={"http-equiv": "refresh"})
