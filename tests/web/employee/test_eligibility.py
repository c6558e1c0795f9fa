"""Which browser gets which page."""

import pytest

from portal.enrollment.eligibility import Verdict, judge
from tests.pages import Browser

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS {} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
IPAD = IPHONE.replace("iPhone;", "iPad;").replace("iPhone OS", "OS")
SAFARI = "Version/{} Mobile/15E148 Safari/604.1"

AGENTS = [
    (IPHONE.format("17_6_1") + SAFARI.format("17.6"), Verdict.OK, (17, 6)),
    (IPHONE.format("13_1") + SAFARI.format("13.0.1"), Verdict.OK, (13, 1)),
    (IPHONE.format("15_8_3") + SAFARI.format("15.6.6"), Verdict.OK, (15, 8)),
    (IPAD.format("16_5") + SAFARI.format("16.5"), Verdict.OK, (16, 5)),
    (IPHONE.format("13_0") + SAFARI.format("13.0"), Verdict.IOS_TOO_OLD, (13, 0)),
    (IPHONE.format("12_5_7") + SAFARI.format("12.1.2"), Verdict.IOS_TOO_OLD, (12, 5)),
    (IPHONE.format("18_0") + SAFARI.format("18.0"), Verdict.OK, (18, 0)),
    (IPHONE.format("18_6") + SAFARI.format("26.0"), Verdict.OK, (26, 0)),
    (IPHONE.format("17_6") + SAFARI.format("18.1"), Verdict.OK, (18, 1)),
    ("Mozilla/5.0 (iPhone; like Mac OS X) AppleWebKit Version/17.0 Safari/604.1", Verdict.OK, None),
    (IPHONE.format("17_6") + "CriOS/126.0 Mobile/15E148 Safari/604.1", Verdict.OTHER_BROWSER, (17, 6)),
    (IPHONE.format("17_6") + "FxiOS/127.0 Mobile/15E148 Safari/605.1.15", Verdict.OTHER_BROWSER, (17, 6)),
    (IPHONE.format("17_6") + "Version/17.0 EdgiOS/125.0 Mobile/15E148 Safari/604.1", Verdict.OTHER_BROWSER, (17, 6)),
    (IPHONE.format("17_6") + "Mobile/15E148", Verdict.IN_APP, (17, 6)),
    (IPHONE.format("17_6") + "Mobile/15E148 [FBAN/FBIOS]", Verdict.IN_APP, (17, 6)),
    ("Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36", Verdict.ANDROID,
     None),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.5 Safari/605.1.15",
     Verdict.COMPUTER, None),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/126.0", Verdict.COMPUTER, None),
    ("", Verdict.COMPUTER, None),
    ("curl/8", Verdict.COMPUTER, None),
]  # fmt: skip


@pytest.mark.parametrize(("agent", "verdict", "version"), AGENTS, ids=[agent[:90] for agent, _, _ in AGENTS])
def test_the_user_agent_decides(agent, verdict, version):
    browser = judge(agent)
    assert (browser.verdict, browser.version) == (verdict, version)


HEADINGS = {
    Verdict.IOS_TOO_OLD: "Update your device first",
    Verdict.ANDROID: "This works on an iPhone or iPad",
    Verdict.OTHER_BROWSER: "Open this in Safari",
    Verdict.IN_APP: "Open this in Safari",
    Verdict.COMPUTER: "Continue on your iPhone",
}


@pytest.mark.parametrize(("agent", "verdict", "version"), AGENTS, ids=[agent[:90] for agent, _, _ in AGENTS])
def test_each_kind_of_browser_gets_its_own_page(app, company, agent, verdict, version):
    invitation = company.invite(company.person())
    browser = Browser(app, agent).open_link(invitation)
    if verdict is Verdict.OK:
        assert browser.path == "/enroll/sign-in"
        return
    assert browser.heading == HEADINGS[verdict]
    address = f"https://portal.example.com/e/{invitation.token}"
    if verdict in (Verdict.OTHER_BROWSER, Verdict.IN_APP, Verdict.COMPUTER):
        assert browser.soup.find(id="address").text == address
    assert bool(browser.soup.find("svg", class_="qr")) == (verdict is Verdict.COMPUTER)
    assert browser.get("/enroll/sign-in").heading == HEADINGS[verdict]  # nor by another address
    assert company.events(invitation) == [("request.created", "helpdesk")]


def test_in_the_demo_any_browser_may_go_on(make_app):
    browser = Browser(make_app(demo=True), "curl/8").get("/enroll")
    assert browser.path == "/enroll/sign-in"
    assert "Outside the demo" in browser.soup.get_text()
