"""Dashboard, audit trail, people and staff."""

import csv
import io

import pytest
from sqlalchemy import text

from portal import audit, clock, jobs
from portal.backends.base import Health
from portal.events import Event
from portal.models import Person
from portal.web import spreadsheets
from tests.factories import BASE, PASSWORD, phone
from tests.pages import Browser


@pytest.fixture
def admin(app, company, clock):
    company.person("adam", role="admin", name="Ada Admin")
    return Browser(app).staff_sign_in("adam", clock())


def rows_of(browser, path):
    """A CSV download as rows."""
    answer = browser.client.get(path, base_url=BASE, headers=browser.headers)
    assert answer.content_type == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["Content-Disposition"]
    return list(csv.reader(io.StringIO(answer.get_data(as_text=True).removeprefix("\ufeff"))))


# --- dashboard -----------------------------------------------------------------------------------------------------


def test_the_dashboard_counts_what_happened_and_names_nobody(app, admin, company, clock):
    done, stuck, gone = (company.invite(company.person(name)) for name in ("done", "stuck", "gone"))
    walker = Browser(app).walk_to("privacy", done)
    clock.forward(minutes=4)
    walker.submit(acknowledge="yes")
    walker.submit(passcode=done.passcode)
    walker.submit(**{"continue": "yes"})
    walker.submit(accept="yes")
    phone(app).install(walker.download())
    other = Browser(app, language="de").walk_to("passcode", stuck)
    other.submit(passcode="000000")
    admin.get("/admin")
    counts = [each.get_text() for each in admin.soup.select(".numbers dd")]
    assert counts == ["3", "2", "1", "4"] * 2
    table = {tuple(row[:2]): row[2] for row in rows_of(admin, "/admin/dashboard.csv")[1:]}
    assert table["today", "enrolled"] == "1"
    assert table["past step", "privacy"] == "2"
    assert table["past step", "finish"] == "1"
    assert (table["stopped at", "passcode"], table["stopped at", "sign-in"]) == ("1", "1")
    assert table["refused", "passcode.rejected wrong"] == "1"
    assert table["iOS", "17"] == "1"
    assert (table["language", "en"], table["language", "de"]) == ("1", "1")
    assert table["invited", f"{clock():%Y-%m-%d}"] == "3"
    page = admin.response.get_data(as_text=True) + str(table)
    assert not any(name in page for name in ("Done", "Stuck", "Gone", "@example.com", "erika"))
    assert gone


def test_the_chart_says_in_words_what_it_is_and_its_numbers_stand_in_a_table(admin, company):
    company.invite(company.person())
    admin.get("/admin")
    chart = admin.soup.find("svg", attrs={"role": "img"})
    assert all(admin.soup.find(id=each) for each in chart["aria-labelledby"].split())
    assert len(admin.soup.select_one("main details").select("tbody tr")) == 30


def test_an_empty_portal_has_a_dashboard_too(admin):
    assert admin.get("/admin").status == 200
    assert len(rows_of(admin, "/admin/dashboard.csv")) > 70


# --- audit ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def happened(app, company, clock):
    """Somebody enrolled; the next day somebody else was invited."""
    invitation = company.invite(company.person())
    phone(app).install(company.profile(invitation))
    clock.forward(days=1)
    company.invite(company.person("max"))
    return invitation


def shown(admin, query=""):
    admin.get(f"/admin/audit?{query}")
    return [row.find_all("td")[1].get_text(" ", strip=True) for row in admin.soup.select("tbody tr")]


def test_who_is_installing_is_at_the_end_and_whose_time_ran_out_is_counted_as_that(app, admin, company, clock):
    company.invite(company.person("late"))
    clock.forward(days=8)
    admin.staff_sign_in("adam", clock())
    installing = company.invite(company.person("anna"))
    held = phone(app)
    held.obtain_identity(held.open_profile(company.profile(installing)))
    table = {tuple(row[:2]): row[2] for row in rows_of(admin, "/admin/dashboard.csv")[1:]}
    assert {step: count for (what, step), count in table.items() if what == "stopped at"} == {
        "ran_out": "1",
        "finish": "1",
    }
    admin.get("/admin")
    assert "Ran out" in admin.text


def test_the_trail_is_searched_by_what_who_where_and_when(app, happened, admin, company, clock):
    admin.staff_sign_in("adam", clock())
    assert "Device enrolled" in shown(admin)
    assert set(shown(admin, "kind=passcode.")) == {"Passcode entered"}
    assert "Privacy notice acknowledged" in shown(admin, "kind=steps.")
    assert "Device enrolled" in shown(admin, f"request={happened.request.id}")
    assert shown(admin, f"since={clock():%Y-%m-%d}&kind=request.") == ["Request created helpdesk"]
    assert "Device enrolled" not in shown(admin, "since=2026-03-03")
    assert "Device enrolled" in shown(admin, "until=2026-03-02")
    assert shown(admin, "kind=nonsense&since=never") == shown(admin)
    company.person("moritz")
    admin.get("/helpdesk").submit("/helpdesk/requests", username="moritz")
    assert "Request created admin" in shown(admin, "who=adam")
    assert shown(admin, "who=adam&kind=request.") == ["Request created admin"]
    assert "Nothing found" in admin.get("/admin/audit?who=nobody").text


def test_the_trail_goes_on_page_after_page(admin, portal, session):
    with portal.database.transaction() as writing:
        for number in range(130):
            audit.record(writing, audit.SETTINGS, Event.KEYS_ROTATED, clock.now(), detail={"count": number})
    admin.get("/admin/audit?kind=keys.")
    first = len(admin.soup.select("tbody tr"))
    admin.get(admin.soup.find("a", rel="next")["href"])
    assert (first, len(admin.soup.select("tbody tr"))) == (100, 30)
    assert admin.soup.find("a", rel="next") is None
    assert len(rows_of(admin, "/admin/audit.csv?kind=keys.")) == 131


def test_no_cell_of_an_export_starts_a_formula(admin, company, portal):
    with portal.database.transaction() as session:
        audit.record(session, "=cmd|' /C calc'!A0", Event.REQUEST_REFUSED, clock.now(), reason="+1", actor="@SUM(1)")
    line = rows_of(admin, "/admin/audit.csv")[1]
    assert (line[1], line[4], line[5]) == ("'=cmd|' /C calc'!A0", "'+1", "'@SUM(1)")
    assert spreadsheets.safe(-5) == -5
    assert [spreadsheets.safe(each) for each in ("-5", "\t=1", "plain", None)] == ["'-5", " '=1", "plain", ""]


def test_every_chain_is_checked_when_asked_and_a_change_is_named(admin, company, portal, happened, clock):
    admin.staff_sign_in("adam", clock())
    admin.get("/admin/audit").submit("/admin/audit/verify")
    assert "Being checked" in admin.text
    jobs.Worker(portal.live.base).deliver()
    assert "Every chain held" in admin.get("/admin/audit").text
    with portal.database.transaction() as session:
        drop_triggers(session)
        session.execute(text("UPDATE audit_events SET reason = 'changed' WHERE kind = 'device.enrolled'"))
    admin.get("/admin/audit").submit("/admin/audit/verify")
    jobs.Worker(portal.live.base).deliver()
    assert f"request:{happened.request.id}, event" in admin.get("/admin/audit").text
    assert "the event was changed" in admin.text


def drop_triggers(session):
    """What an intruder with the database's password would do first."""
    if session.get_bind().dialect.name == "sqlite":
        names = session.scalars(
            text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_events'")
        ).all()
        for name in names:
            session.execute(text(f"DROP TRIGGER {name}"))
    else:
        session.execute(text("ALTER TABLE audit_events DISABLE TRIGGER ALL"))


# --- people --------------------------------------------------------------------------------------------------------


def add(admin, **values):
    admin.get("/admin/people")
    fields = {"username": "nina", "name": "Nina New", "email": "nina@example.com", "managed_apple_account": "",
              "role": "helpdesk"}  # fmt: skip
    return admin.post("/admin/people", admin.filled(holding="username") | fields | values)


def do(admin, action, **fields):
    path = f"{admin.path.removesuffix(f'/{action}')}/{action}"
    return admin.post(path, {"csrf_token": admin.soup.find("input", attrs={"name": "csrf_token"})["value"], **fields})


def test_staff_is_added_chooses_a_password_and_gets_a_role(admin, portal, company):
    add(admin)
    assert admin.heading == "Nina New"
    assert "The mail with the link to choose a password is on its way" in admin.text
    jobs.Worker(portal.live.base).deliver()
    mail = next((portal.settings.data / "outbox").glob("*.eml")).read_bytes()
    assert b"/account/password/" in mail
    do(admin, "role", role="admin")
    assert "The role is changed" in admin.text
    assert [event.kind for event in company.all_events()][-3:] == [
        "person.added", "password.link_made", "person.role_changed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "field", "says"),
    [
        ({"username": ""}, "username", "Enter the username."),
        ({"username": "two words"}, "username", "A username has no spaces."),
        ({"username": "adam"}, "username", "Somebody has that username already."),
        ({"name": ""}, "name", "Enter the name as people know it."),
        ({"email": "nobody"}, "email", "Enter an e-mail address, like name@example.com."),
        ({"managed_apple_account": "nope"}, "managed_apple_account", "looks like name@work.example.com"),
        ({"managed_apple_account": "erika@work.example.com"}, "managed_apple_account", "Somebody else has that"),
    ],
)
def test_a_mistake_when_adding_is_told_and_nothing_is_lost(admin, company, values, field, says):
    company.person()
    add(admin, **values)
    assert admin.status == 422
    assert says in admin.error_of(field)
    assert admin.soup.find(id="email")["value"] == (values.get("email") or "nina@example.com")


def test_people_are_found_and_disabled_at_once(app, admin, company, browser):
    invitation = company.invite(company.person())
    browser.open_link(invitation).sign_in()
    admin.get("/admin/people?q=eri")
    admin.get(admin.soup.select_one("tbody a")["href"])
    do(admin, "disable")
    assert "Every session ended at once" in admin.text
    assert browser.get("/enroll/ownership").path == "/enroll/sign-in"
    do(admin, "enable")
    assert "They can sign in again" in admin.text
    browser.open_link(invitation).sign_in()
    assert browser.path == "/enroll/ownership"


def test_the_last_admin_stays(admin, company):
    admin.get("/admin/people")
    admin.get(next(link["href"] for link in admin.soup.select("tbody a") if "Ada" in link.text))
    for action, fields in (("disable", {}), ("role", {"role": "employee"}), ("erase", {"confirm": "adam"})):
        do(admin, action, **fields)
        assert "The last admin has to stay" in admin.text, action
    company.person("bea", role="admin")
    do(admin, "role", role="helpdesk")
    assert admin.path == "/staff/sign-in"  # the role changed, so every session ended


def test_a_forgotten_second_factor_is_set_up_anew_at_the_next_sign_in(app, admin, company, clock):
    company.person("hilda", role="helpdesk", name="Hilda Help")
    hilda = Browser(app).staff_sign_in("hilda", clock())
    admin.get("/admin/people")
    admin.get(next(link["href"] for link in admin.soup.select("tbody a") if "Hilda" in link.text))
    do(admin, "second-factor")
    assert hilda.get("/helpdesk").path == "/staff/sign-in"
    hilda.submit(username="hilda", password=PASSWORD, code="")
    assert hilda.path == "/staff/second-factor"
    assert hilda.soup.find("svg", class_="qr")


def test_erasing_asks_for_the_username_and_keeps_the_chains(admin, company, portal):
    company.invite(company.person())
    admin.get("/admin/people?q=erika")
    admin.get(admin.soup.select_one("tbody a")["href"])
    do(admin, "erase", confirm="somebody")
    assert "type erika exactly" in admin.error_of("confirm")
    do(admin, "erase", confirm="ERIKA")
    assert admin.heading == "Erased person"
    assert "erika" not in admin.get("/admin/people?q=erika").text.replace("erika@", "")
    assert audit.broken_links(portal.database) == []


def test_what_the_directory_decides_cannot_be_changed_here(admin, company):
    company.person("dora", source="directory", name="Dora Directory")
    admin.get("/admin/people?q=dora")
    admin.get(admin.soup.select_one("tbody a")["href"])
    assert "Change the role" not in admin.text
    do(admin, "role", role="admin")
    assert "decided in the directory" in admin.text
    do(admin, "password-link")
    assert "decided in the directory" in admin.text
    assert admin.get("/admin/people/nobody").status == 404


def test_a_disabled_person_s_device_is_named_before_and_after(app, admin, company):
    invitation = company.invite(company.person("erika"))
    phone(app).install(company.profile(invitation))
    path = f"/admin/people/{invitation.request.person_id}"
    assert "their device is told to remove all work apps and data" in admin.get(path).text
    admin.submit(f"{path}/disable")
    assert "One device is told to remove its work data" in admin.text


def test_what_is_known_of_somebody_is_corrected(app, admin, company, portal, browser):
    erika, otto = company.person("erika"), company.person("otto")
    browser.open_link(company.invite(erika)).sign_in()
    path = f"/admin/people/{erika.id}"
    admin.get(path)
    details = admin.filled(f"{path}/details")
    assert details["managed_apple_account"] == "erika@work.example.com"
    for wrong, field in (
        ({"email": "nowhere"}, "email"),
        ({"managed_apple_account": otto.managed_apple_account}, "managed_apple_account"),
        ({"managed_apple_account": "no account"}, "managed_apple_account"),
        ({"name": ""}, "name"),
        ({"phone": "abc"}, "phone"),
    ):
        admin.post(f"{path}/details", details | wrong)
        assert (admin.status, bool(admin.error_of(field))) == (422, True), wrong
    fresh = {"name": "Erika Neu", "email": "neu@example.com", "managed_apple_account": "", "phone": "+49 170 1234567"}
    admin.post(f"{path}/details", details | fresh)
    assert "Changed." in admin.text
    with portal.database.session() as session:
        person = session.get_one(Person, erika.id)
        assert (person.name, person.email, person.managed_apple_account, person.phone) == (
            "Erika Neu", "neu@example.com", None, "+49 170 1234567",
        )  # fmt: skip
    assert browser.get("/enroll/ownership").path == "/enroll/sign-in"  # another address: they sign in anew
    changed = [each for each in company.all_events() if each.kind == "person.changed"]
    assert [each.detail["changed"] for each in changed] == [["email", "managed_apple_account", "name", "phone"]]
    admin.get("/helpdesk?q=neu")
    assert "Erika Neu" in admin.text


def test_of_whom_a_source_tells_only_the_account_is_changed_and_only_if_no_source_tells_it(
    admin, company, configure, portal
):
    dora = company.person("dora", source="directory", managed_apple_account=None)
    path = f"/admin/people/{dora.id}"
    typed = {"name": "Mallory", "email": "m@example.com", "managed_apple_account": "dora@work.example.com"}
    admin.get(path)
    admin.post(f"{path}/details", admin.hidden(f"{path}/disable") | typed)
    configure(managed_apple_account__source="import")
    before = portal.database
    admin.get(path)
    admin.post(f"{path}/details", admin.hidden(f"{path}/details") | typed)
    with before.session() as session:
        person = session.get_one(Person, dora.id)
        assert (person.name, person.managed_apple_account) == ("Dora", "dora@work.example.com")
    assert [each.kind for each in company.all_events()].count("person.changed") == 1


@pytest.mark.parametrize("path", ["/admin/nothing", "/helpdesk/requests/nothing"])
def test_staff_get_their_own_pages_of_errors(admin, path):
    admin.get(path)
    assert (admin.status, admin.soup.select("main .actions a")[0]["href"]) == (404, "/helpdesk")
    assert "e-mail" not in admin.text


def test_the_dashboard_says_that_the_device_management_is_away(admin, portal, monkeypatch):
    assert "does not answer" not in admin.get("/admin").text
    monkeypatch.setattr(type(portal.backend), "health", lambda _self: Health(ready=False, reason="unreachable"))
    assert "The device management does not answer" in admin.get("/admin").text
