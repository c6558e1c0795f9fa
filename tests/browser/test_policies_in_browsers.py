"""An admin makes a policy on a phone and on a desk: from the empty list to what iPhones have, and back."""

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from portal import clock as portal_clock
from portal.models import Device, EnrollmentRequest, Person
from portal.storage import policy_rounds
from portal.storage.cases import CaseServices
from tests.browser import engines
from tests.factories import phone
from tests.pages import Browser

pytestmark = pytest.mark.skipif(not engines.CHROMIUM, reason="no Chromium")


@pytest.fixture
def office(scene, clock):
    """An admin before the pages, and two people with their iPhones."""
    staged = scene(policies={"enabled": True})
    staged.phones = {}
    for number, name in enumerate(("erika", "max")):
        walker = Browser(staged.app).walk_to("profile", staged.company.invite(staged.company.person(name)))
        staged.phones[name] = phone(staged.app, number)
        staged.phones[name].install(walker.download())
    staged.sign_in_as_staff("admin", clock())
    return staged


def wait_for_note(office, text):
    expect(office.engine.page.locator("[role=status], [role=alert]").first).to_contain_text(text)


def add(office, kind, **values):
    """Add a part with these values."""
    office.engine.tap("text=Add something")
    office.engine.tap(f"a[href$='{kind}']")
    for name, value in values.items():
        field = office.engine.page.locator(f"[name='{name}']")
        field.select_option(value) if field.evaluate("each => each.tagName") == "SELECT" else field.fill(value)
    office.engine.tap("text=Save as a draft")
    wait_for_note(office, "Saved as a draft.")


def devices_come(office, clock):
    """The worker's minute, and every iPhone is woken."""
    portal = office.portal
    policy_rounds.mark_devices(portal.database, portal.settings, portal_clock.now())
    policy_rounds.tell_devices(portal.database, CaseServices(portal.settings, portal.vault), portal_clock.now())
    for each in office.phones.values():
        each.connect()
    clock.forward(seconds=5)
    return {name: networks(each) for name, each in office.phones.items()}


def networks(held):
    """The Wi-Fi networks that an iPhone knows by policies."""
    payloads = [each for known in held.declared.profiles.values() for each in known["profile"]["PayloadContent"]]
    return [each["SSID_STR"] for each in payloads if "SSID_STR" in each]


def publish(office, what, note):
    office.engine.tap(f"button[name=what][value={what}]")
    wait_for_note(office, note)


def test_from_the_empty_list_to_what_iphones_have_and_back(office, clock):
    page = office.engine.page
    office.open("/admin/policies")
    office.sees("policies-none", "Policies", desk=True)
    office.engine.fill("name", "Basics")
    office.engine.tap("text=Begin")
    office.engine.wait_for_heading("Basics")
    office.engine.tap("text=Add something")
    office.sees("policies-what-to-add", "What to add", desk=True)
    page.go_back()
    add(office, "com.apple.wifi.managed", SSID_STR="Work", Password="secret for Wi-Fi")
    add(office, "com.apple.mail.managed", IncomingMailServerHostName="imap.example.com",
        OutgoingMailServerHostName="smtp.example.com")  # fmt: skip
    add(office, "com.apple.mobiledevice.passwordpolicy")
    page.check("[id='in.everybody']")
    page.locator("summary:has-text('Trial group')").click()
    page.fill("[name='pilot.people']", "erika")
    office.engine.tap("text=Save who gets it")
    wait_for_note(office, "Saved.")
    clock.forward(seconds=5)
    office.sees("policies-draft", "Basics", desk=True)
    publish(office, "pilot", "On trial")
    assert devices_come(office, clock) == {"erika": ["Work"], "max": []}
    page.reload()
    office.sees("policies-trial", "Basics", desk=True)
    office.engine.tap("form[action$='/pilot'] button[value=all]")
    wait_for_note(office, "Published.")
    assert devices_come(office, clock) == {"erika": ["Work"], "max": ["Work"]}
    change_and_restore(office, clock)
    office.open("/admin/policies")
    office.sees("policies-list", "Policies", desk=True)
    office.open("/admin")
    office.sees("policies-dashboard", "Dashboard", desk=True)
    office.open("/admin/policies/person?username=erika")
    office.sees("policies-person", "What would somebody get?", desk=True)
    read_on_the_device(office, "erika", "applied")
    take_away(office, clock)
    assert office.engine.problems == []


def change_and_restore(office, clock):
    """Another network asks for the password again; then the first version comes back."""
    page = office.engine.page
    office.engine.tap(".profile a:has-text('Wi-Fi')")
    page.fill("[name=SSID_STR]", "Work 2")
    office.engine.tap("text=Save as a draft")
    expect(page.locator(".summary")).to_contain_text("Enter this again")
    office.sees("policies-secret-again", "Wi-Fi", desk=True)
    page.fill("[name=Password]", "another secret")
    office.engine.tap("text=Save as a draft")
    wait_for_note(office, "Saved as a draft.")
    publish(office, "all", "Published.")
    assert devices_come(office, clock) == {"erika": ["Work 2"], "max": ["Work 2"]}
    office.engine.tap("summary:has-text('Restore')")
    office.engine.tap(".confirm[open] form button")
    wait_for_note(office, "Published.")
    assert devices_come(office, clock) == {"erika": ["Work"], "max": ["Work"]}
    office.engine.tap("a[href$='/versions/2']")
    office.engine.check_page()
    assert "another secret" not in page.content()


def read_on_the_device(office, name, state):
    """The device's page says what became of it, and helpdesk's sentence fits."""
    with office.portal.database.session() as session:
        query = select(Device).join(EnrollmentRequest, EnrollmentRequest.id == Device.request_id)
        device = session.scalars(query.join(Person).where(Person.username == name)).one()
    office.open(f"/helpdesk/devices/{device.id}")
    office.sees("policies-device", f"iPhone · {name.title()}", desk=True)
    expect(office.engine.page.locator("[aria-labelledby=policies-title]")).to_contain_text(f"Basics, version 3 {state}")
    office.open(f"/helpdesk/requests/{device.request_id}")
    expect(office.engine.page.locator("main")).to_contain_text("Nothing is left to do.")


def take_away(office, clock):
    """The policy is ended: it goes from every iPhone."""
    office.open("/admin/policies")
    office.engine.tap("a.card:has-text('Basics')")
    office.engine.tap("summary:has-text('End this policy')")
    office.engine.tap(".confirm[open] form button")
    wait_for_note(office, "Ended.")
    assert devices_come(office, clock) == {"erika": [], "max": []}
    assert all(each.declared.credentials == {} for each in office.phones.values())
