"""Service discovery: the answers to devices, the look from outside, the admin's page."""

import plistlib

import httpx
import pytest
from sqlalchemy import func, select

from portal import discovery
from portal.discovery import outside
from portal.models import Base, DiscoveryCheck
from portal.simulator.scep_client import InstallationFailed
from portal.simulator.settings_app import SettingsApp
from tests.factories import BASE, phone
from tests.pages import Browser

PATH = "/.well-known/com.apple.remotemanagement"
ACCOUNT = "erika@work.example.com"
FOUND = {"Servers": [{"Version": "mdm-byod", "BaseURL": f"{BASE}/apple/enroll"}]}


@pytest.fixture(autouse=True)
def someone(company):
    company.person()


def ask(app, identifier=ACCOUNT, family="iPhone", method="GET", **more):
    """A device asks; None leaves a value out."""
    query = {"user-identifier": identifier, "model-family": family, **more.pop("query", {})}
    known = {key: value for key, value in query.items() if value is not None}
    return app.test_client().open(PATH, method=method, query_string=known, base_url=BASE, headers=more)


@pytest.mark.parametrize("family", ["iPhone", "iPad", None])
def test_an_iphone_or_ipad_with_an_account_of_ours_is_told_where_to_enroll(app, family):
    answer = ask(app, family=family)
    assert (answer.status_code, answer.json) == (200, FOUND)
    assert answer.content_type == "application/json"
    assert "no-store" not in answer.headers["Cache-Control"]
    head = ask(app, family=family, method="HEAD")
    assert (head.status_code, head.data, head.content_type) == (200, b"", "application/json")


@pytest.mark.parametrize(
    ("identifier", "family", "reason"),
    [
        (ACCOUNT, "Mac", "other-device"),
        (ACCOUNT, "AppleTV", "other-device"),
        (ACCOUNT, "Watch", "other-device"),
        (ACCOUNT, "RealityDevice", "other-device"),
        (ACCOUNT, "iphone", "other-device"),
        ("erika@elsewhere.example.com", "iPhone", "other-domain"),
        ("erika@work.example.com.evil.example", "iPhone", "other-domain"),
        ("erika", "iPhone", "other-domain"),
        ("work.example.com", "iPhone", "other-domain"),
        ("erika@", "iPhone", "other-domain"),
        ("", "iPhone", "no-identifier"),
        (None, "iPhone", "no-identifier"),
        (None, None, "no-identifier"),
        ("x" * 300 + "@work.example.com", "iPhone", "no-identifier"),
    ],
)
def test_everyone_else_is_refused_with_a_sentence_for_the_person(app, identifier, family, reason):
    answer = ask(app, identifier, family)
    assert answer.status_code == 403
    assert (answer.json["code"], answer.json["description"]) == ("com.apple.well-known.failed", reason)
    assert answer.json["message"].endswith(".")


@pytest.mark.parametrize("identifier", ["ERIKA@WORK.EXAMPLE.COM", "odd@name@work.example.com"])
def test_the_domain_is_what_stands_behind_the_last_at_in_any_case(app, identifier):
    assert ask(app, identifier).status_code == 200


def test_nobody_learns_whether_an_account_exists(app):
    known, unknown = ask(app), ask(app, "nobody@work.example.com")
    assert (known.data, known.headers["Cache-Control"]) == (unknown.data, unknown.headers["Cache-Control"])


def test_a_refusal_speaks_the_language_and_the_format_that_is_asked_for(app):
    answer = ask(app, family="Mac", **{"Accept": "application/xml", "Accept-Language": "de"})
    assert plistlib.loads(answer.data)["code"] == "com.apple.well-known.failed"
    assert "iPhone oder iPad" in plistlib.loads(answer.data)["message"]
    assert ask(app, family="Mac", Accept="*/*").content_type == "application/json"
    assert "Accept" in answer.headers["Vary"]


def test_discovery_stores_nothing(app, portal):
    def rows():
        with portal.database.session() as session:
            tables = Base.metadata.sorted_tables
            return [session.scalar(select(func.count()).select_from(table)) for table in tables]

    before = rows()
    for answer in (ask(app), ask(app, family="Mac"), ask(app, "x@y")):
        assert "Set-Cookie" not in answer.headers
    assert rows() == before


def test_configured_domains_count_alone(make_app):
    rules = {"prefer": "auto", "minimum_ios": "15.0", "token_minutes": 10, "sign_in_again_days": 0, "device_roots": ""}
    app = make_app(account_driven={"domains": ("Example.ORG",), **rules})
    assert ask(app, "anyone@example.org").status_code == 200
    assert ask(app).status_code == 403


def test_the_address_registered_with_apple_works_without_the_query(app):
    assert ask(app, None, None, query={"via": "apple"}).json == FOUND
    assert ask(app, None, "Mac", query={"via": "apple"}).status_code == 403
    assert ask(app, "x@elsewhere.example", "iPhone", query={"via": "apple"}).status_code == 403


# --- through the company's own domain --------------------------------------------------------------------------------


def internet(app, company_site):
    """The way to an internet in which https://work.example.com is ``company_site`` and the portal is ``app``."""
    inside = httpx.WSGITransport(app=app.wsgi_app)

    def route(request):
        if request.url.host == "portal.example.com":
            answer = inside.handle_request(request)
            return httpx.Response(answer.status_code, headers=answer.headers, content=b"".join(answer.stream))
        return company_site(request)

    return httpx.MockTransport(route)


def redirect(location):
    return httpx.Response(302, headers={"Location": location})


def keeps_query(request):
    return redirect(f"{BASE}{PATH}?{request.url.query.decode()}")


def fails(error):
    def site(_request):
        raise error

    return site


SITES = [
    ("keeps the query", keeps_query, None),
    ("two redirects", lambda r: redirect(f"https://www.example.com{r.url.raw_path.decode()}")
     if r.url.host == "work.example.com" else keeps_query(r), None),
    ("static file", lambda _: httpx.Response(200, json=FOUND), None),
    ("loses the query", lambda _: redirect(BASE + PATH), "query_lost"),
    ("not there", lambda _: httpx.Response(404), "status"),
    ("a page", lambda _: httpx.Response(200, html="<h1>Welcome</h1>"), "content_type"),
    ("no list", lambda _: httpx.Response(200, json={"Servers": []}), "not_json"),
    ("no dictionary", lambda _: httpx.Response(200, json=[]), "not_json"),
    ("endless", lambda _: httpx.Response(200, stream=httpx.ByteStream(b" " * 70_000),
     headers={"Content-Type": "application/json"}), "not_json"),
    ("another server", lambda _: httpx.Response(200, json={"Servers": [{"Version": "mdm-byod", "BaseURL": "https://x"}]}),
     "other_server"),
    ("device enrollment", lambda _: httpx.Response(200, json={"Servers": [{"Version": "mdm-adde",
     "BaseURL": f"{BASE}/apple/enroll"}]}), "other_server"),
    ("plain http", lambda _: redirect("http://portal.example.com" + PATH), "not_https"),
    ("in circles", lambda r: redirect(str(r.url)), "redirects"),
    ("down", fails(httpx.ConnectError("refused")), "unreachable"),
    ("slow", fails(httpx.ReadTimeout("slow")), "timeout"),
    ("bad certificate", fails(httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]")), "tls"),
]  # fmt: skip


@pytest.mark.parametrize(("site", "problem"), [site[1:] for site in SITES], ids=[site[0] for site in SITES])
def test_the_look_from_outside_sees_what_an_iphone_would(app, site, problem):
    outcome = outside.check("work.example.com", f"{BASE}/apple/enroll", internet(app, site))
    assert outcome.problem == problem, outcome
    device = SettingsApp(phone(app))
    device.phone.http = httpx.Client(transport=internet(app, site))
    try:
        found = device.discover(ACCOUNT) == f"{BASE}/apple/enroll"
    except (InstallationFailed, httpx.HTTPError):
        found = False
    assert found == (problem is None) or problem in ("content_type", "not_https")


@pytest.mark.parametrize("charset", ["bz2", "base64", "rot13", "undefined", "no such"])
@pytest.mark.parametrize(("status", "problem"), [(200, "not_json"), (403, "status")])
def test_nothing_is_unpacked_by_what_a_website_calls_its_charset(charset, status, problem):
    headers = {"Content-Type": f"application/json; charset={charset}"}
    site = httpx.MockTransport(lambda _: httpx.Response(status, content=b"x" * 500, headers=headers))
    assert outside.check("work.example.com", BASE, site).problem == problem


def test_a_domain_that_is_not_ours_is_named(app):
    outcome = outside.check("elsewhere.example.com", f"{BASE}/apple/enroll", internet(app, keeps_query))
    assert outcome.problem == "other_domain"


@pytest.mark.parametrize(
    "domain", ["", "localhost", "127.0.0.1", "a b.example", "x.example/..", "user@x.example", "..", "[::1]"]
)
def test_only_names_of_domains_are_asked(domain):
    with pytest.raises(outside.NoDomain):
        outside.check(domain, BASE)


# --- the admin's page ------------------------------------------------------------------------------------------------


@pytest.fixture
def admin(app, company, clock):
    company.person("ada", "admin")
    return Browser(app).staff_sign_in("ada", clock()).get("/admin/discovery")


def test_the_page_has_the_rule_for_each_kind_of_server(admin):
    assert admin.heading == "Service discovery"
    for server in ("nginx", "apache", "caddy", "iis", "cloudflare"):
        rule = admin.get(f"/admin/discovery?server={server}").soup.find("pre").get_text()
        assert f"{BASE}{PATH}" in rule, server
    assert f"{BASE}/apple/enroll" in admin.get("/admin/discovery?server=static").soup.find("pre").get_text()
    assert f"{BASE}{PATH}?via=apple" in admin.text


def test_a_check_is_remembered_and_shown(admin, app, portal, monkeypatch):
    real = outside.check
    monkeypatch.setattr(outside, "check", lambda *given: real(*given, transport=internet(app, SITES[3][1])))
    admin.submit("/admin/discovery/work.example.com/check")
    assert "loses the query" in admin.text
    monkeypatch.setattr(outside, "check", lambda *given: real(*given, transport=internet(app, keeps_query)))
    admin.submit("/admin/discovery/work.example.com/check")
    assert "works" in admin.text
    with portal.database.session() as session:
        assert session.get(DiscoveryCheck, "work.example.com").problem is None
        assert discovery.is_verified(session, ACCOUNT)


def test_no_other_domain_can_be_asked_from_here(admin):
    hidden = admin.hidden("/admin/discovery/work.example.com/check")
    assert admin.post("/admin/discovery/internal.example/check", hidden).status == 404


def test_helpdesk_cannot_open_admin_pages(app, company, clock):
    company.person("helen", "helpdesk")
    browser = Browser(app).staff_sign_in("helen", clock())
    assert browser.get("/admin/discovery").status == 403
    assert browser.heading == "Only admins can open this page"
    assert Browser(app).get("/admin/discovery").path == "/staff/sign-in"
