"""An admin gives work apps: token up, three apps, a group, a configuration; what phones and people make of it."""

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from portal import clock as portal_clock
from portal.models import Device, EnrollmentRequest, Person
from portal.people import audiences
from portal.simulator import apps_and_books
from portal.storage import app_rounds, policy_rounds
from portal.storage.cases import CaseServices
from portal.storage.licenses import exchanging
from tests.browser import engines
from tests.factories import PASSWORD, phone
from tests.pages import Browser

pytestmark = pytest.mark.skipif(not engines.CHROMIUM, reason="no Chromium")


@pytest.fixture
def apple():
    """Apps and Books, on this machine."""
    with apps_and_books.serving() as location:
        yield location


@pytest.fixture
def office(scene, clock, apple):
    """An admin before the pages, and two people with their iPhones."""
    staged = scene(apps={"enabled": True, **apple.settings()})
    staged.phones = {}
    for number, name in enumerate(("erika", "max")):
        person = staged.company.person(name)
        held = phone(staged.app, number)
        held.apps.store = lambda adam_id: apple.assets[adam_id].bundle_id
        held.apps.licensed = lambda adam_id, name=name: (
            f"{name}@work.example.com" in apple.holders(apple.assets[adam_id])
        )
        held.install(Browser(staged.app).walk_to("profile", staged.company.invite(person)).download())
        staged.phones[name] = held
        with staged.portal.database.transaction() as session:
            audiences.set_groups(session, person.id, "oidc", ["Sales"] if name == "erika" else [])
    staged.sign_in_as_staff("admin", clock())
    return staged


def wait_for_note(office, text):
    expect(office.engine.page.locator("[role=status], [role=alert]").first).to_contain_text(text)


def minutes_pass(office, clock, count=8):
    """The worker comes by, and every iPhone is woken."""
    portal = office.portal
    for _ in range(count):
        clock.forward(seconds=30)
        now, services = portal_clock.now(), CaseServices(portal.settings, portal.vault)
        app_rounds.mark_devices(portal.database, portal.settings, now)
        policy_rounds.tell_devices(portal.database, services, now)
        app_rounds.go_on(portal.database, services, now)
        exchanging.exchange(portal.database, services, now)
        app_rounds.go_on(portal.database, services, now)
        for each in office.phones.values():
            each.connect()


def upload(office, tmp_path, content):
    file = tmp_path / "token.vpptoken"
    file.write_bytes(content)
    office.engine.page.set_input_files("#token", file)
    office.engine.page.click("form[action$='/token'] button")


def test_from_the_token_to_the_phones_and_back(office, clock, apple, tmp_path):
    page = office.engine.page
    mail, tasks, notes = apple.add("Example Mail"), apple.add("Example Tasks", 5), apple.add("Example Notes", 0)
    office.open("/admin/apps")
    office.sees("apps-none", "Work apps", desk=True)
    office.engine.tap("text=Upload it")
    office.engine.wait_for_heading("Licenses for work apps")
    upload(office, tmp_path, b"no token")
    office.sees("apps-token-refused", "Licenses for work apps", desk=True)
    apple.config["mdmInfo"] = {"id": "other", "name": "Old server", "metadata": ""}
    upload(office, tmp_path, apple.token(300, now=portal_clock.now()))
    expect(page.locator(".summary")).to_contain_text("Another device management server uses this location.")
    assert apple.config["mdmInfo"]["id"] == "other"
    page.check("#claim")
    upload(office, tmp_path, apple.token(300, now=portal_clock.now()))
    wait_for_note(office, "Apple takes the token.")
    minutes_pass(office, clock, 1)
    page.reload()
    office.sees("apps-licenses", "Licenses for work apps", desk=True)
    add_three_apps(office)
    minutes_pass(office, clock)
    office.open("/admin/apps")
    office.sees("apps-list", "Work apps", desk=True)
    assert apple.holders(mail) == {"erika@work.example.com", "max@work.example.com"}
    assert (apple.holders(tasks), apple.holders(notes)) == (set(), set())
    erika = office.phones["erika"].apps
    assert erika.configurations[mail.bundle_id] == {"user": "erika@example.com"}
    office.open("/admin/apps/person?username=erika")
    office.sees("apps-person", "Which apps would somebody get?", desk=True)
    office.open("/admin")
    office.engine.check_page()
    on_the_helpdesks_page(office, "erika")
    one_leaves_while_apple_is_away(office, clock, apple, mail)
    assert apple.twice == []
    assert office.engine.problems == []


def add_three_apps(office):
    """One for everybody with a configuration, one to choose, one without licenses for a group."""
    page = office.engine.page
    office.open("/admin/apps/new")
    office.sees("apps-new", "Add an app", desk=True)
    page.fill("#adam_id", "not a number")
    page.click("form:has(#adam_id) button")
    expect(page.locator(".summary")).to_contain_text("That is no App Store id")
    for name in ("Example Mail", "Example Tasks", "Example Notes"):
        office.open("/admin/apps/new")
        page.click(f".profile:has-text('{name}') button")
        office.engine.wait_for_heading(name)
        if name == "Example Mail":
            page.fill("#configuration", "<key>user</key><string>{email}</string>")
            page.click("text=Save how it behaves")
            wait_for_note(office, "Saved.")
            page.check("[id='in.everybody']")
        elif name == "Example Tasks":
            page.locator("summary:has-text('Offered to')").click()
            page.check("[id='offered.everybody']")
        else:
            page.check("[name='in.group'][value='oidc:Sales']")
        page.click("text=Save who gets it")
        wait_for_note(office, "Saved.")
        if name != "Example Tasks":
            office.sees(f"apps-{name.split()[1].lower()}", name, desk=True)
    page.fill("#configuration", "nonsense")
    page.click("text=Save how it behaves")
    expect(page.locator(".summary")).to_contain_text("That is no property list.")
    assert page.input_value("#configuration").strip() == "nonsense"


def device_of(office, name):
    with office.portal.database.session() as session:
        query = select(Device).join(EnrollmentRequest, EnrollmentRequest.id == Device.request_id)
        return session.scalars(query.join(Person).where(Person.username == name)).one()


def on_the_helpdesks_page(office, name):
    office.open(f"/helpdesk/devices/{device_of(office, name).id}")
    office.sees("apps-device", f"iPhone · {name.title()}", desk=True)
    section = office.engine.page.locator("[aria-labelledby=apps-title]")
    expect(section).to_contain_text("Example Mail installed")
    expect(section).to_contain_text("None is free.")


def one_leaves_while_apple_is_away(office, clock, apple, mail):
    apple.mood["/assets/disassociate"] = lambda: (503, {})
    office.phones.pop("max").remove()
    clock.forward(minutes=5)  # so long nobody else gets it
    minutes_pass(office, clock, 3)
    assert len(apple.holders(mail)) == 2
    office.open("/admin/apps/licenses")
    office.sees("apps-apple-away", "Licenses for work apps", desk=True)
    apple.mood.clear()
    clock.forward(hours=1)
    minutes_pass(office, clock, 4)
    assert apple.holders(mail) == {"erika@work.example.com"}


def test_an_employee_chooses_an_app_and_gives_it_back(office, clock, apple, tmp_path):
    page = office.engine.page
    tasks = apple.add("Example Tasks", 5)
    office.open("/admin/apps/licenses")
    upload(office, tmp_path, apple.token(300, now=portal_clock.now()))
    wait_for_note(office, "Apple takes the token.")
    office.open("/admin/apps/new")
    page.fill("#adam_id", f"https://apps.apple.com/app/example-tasks/id{tasks.adam_id}?l=en")
    page.click("form:has(#adam_id) button")
    office.engine.wait_for_heading("Example Tasks")
    page.locator("summary:has-text('Offered to')").click()
    page.check("[id='offered.everybody']")
    page.click("text=Save who gets it")
    wait_for_note(office, "Saved.")
    office.open("/my")
    office.engine.wait_for_heading("Sign in to begin")
    office.engine.fill("username", "erika")
    office.engine.fill("password", PASSWORD)
    office.engine.tap("main button")
    office.engine.wait_for_heading("Your work apps")
    office.sees("my-apps-offered", "Your work apps")
    page.click("[aria-label='Get Example Tasks']")
    wait_for_note(office, "It is on its way.")
    page.click("[aria-label='Give Example Tasks back']")
    wait_for_note(office, "You took it only just now.")
    office.sees("my-apps-too-soon", "Your work apps")
    minutes_pass(office, clock)
    page.reload()
    office.sees("my-apps", "Your work apps")
    assert apple.holders(tasks) == {"erika@work.example.com"}
    page.click("[aria-label='Give Example Tasks back']")
    minutes_pass(office, clock)
    clock.forward(minutes=5)
    minutes_pass(office, clock, 2)
    assert (apple.holders(tasks), office.phones["erika"].apps.states) == (set(), {})
    assert office.engine.problems == []
