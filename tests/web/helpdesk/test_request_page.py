"""One request on helpdesk's screen: what to say, what can be done, each confirmed, audited and safe to repeat."""

import pytest
from sqlalchemy import func, select

from portal import clock as portal_clock
from portal.models import Command, OutboxMessage
from portal.settings import saving
from portal.simulator.employee import SAFARI
from portal.simulator.settings_app import SettingsApp
from portal.web.helpdesk import command_list
from tests.account_driven.steps import IOS_18, token_of
from tests.factories import PASSWORD, editing_settings, phone
from tests.pages import Browser


@pytest.fixture
def staff(app, company, clock):
    company.person("hilda", role="helpdesk", name="Hilda Help")
    return Browser(app).staff_sign_in("hilda", clock())


@pytest.fixture
def invitation(company):
    return company.invite(company.person())


def address(invitation, action=""):
    return f"/helpdesk/requests/{invitation.request.id}" + (f"/{action}" if action else "")


def act(staff, invitation, action, **fields):
    staff.get(address(invitation))
    return staff.post(address(invitation, action), staff.hidden(address(invitation, action)) | fields)


def said(staff, invitation):
    """The sentence on top."""
    return " ".join(staff.get(address(invitation)).soup.find(class_="advice").get_text(" ", strip=True).split())


# --- the sentence --------------------------------------------------------------------------------------------------


def test_the_sentence_follows_the_journey(app, browser, staff, invitation, clock, portal):
    assert said(staff, invitation).startswith("Invited just now, not signed in yet.")
    clock.forward(minutes=3)
    assert said(staff, invitation).startswith("Invited 3 minutes ago")
    browser.open_link(invitation)
    browser.sign_in(password="wrong password")
    assert said(staff, invitation).startswith("Could not sign in just now")
    browser.sign_in()
    browser.submit(ownership="corporate")
    assert "the company owns the device" in said(staff, invitation)
    browser.submit(ownership="employee")
    clock.forward(minutes=4)
    assert said(staff, invitation).startswith("Stopped at this step 4 minutes ago: Privacy notice.")
    browser.submit(acknowledge="yes")
    assert said(staff, invitation).startswith("At the passcode; the newest one was sent 7 minutes ago.")
    for _ in range(3):
        browser.submit(passcode="000000")
    clock.forward(minutes=2)
    assert said(staff, invitation) == (
        "Stopped at the passcode 2 minutes ago: 3 wrong tries, 2 left. Ask for the passcode of the newest e-mail."
    )
    for _ in range(2):
        browser.submit(passcode="000000")
    assert "no tries left. Ask them to tap Send a new passcode" in said(staff, invitation)


def test_the_sentence_knows_who_enrolls_from_settings(app, staff, company, invitation, clock):
    settings_app = SettingsApp(phone(app, ios=18))
    token_of(settings_app, invitation, app)
    assert said(staff, invitation).startswith("Signed in under Settings just now.")
    clock.forward(minutes=20)
    staff.staff_sign_in("hilda", clock())
    assert "Ask them to begin once more in Settings" in said(staff, invitation)


def test_the_sentence_follows_profile_and_device(app, browser, staff, invitation, clock):
    browser.walk_to("profile", invitation)
    assert said(staff, invitation).startswith("Everything was answered just now; the rest happens on the iPhone.")
    content = browser.download()
    clock.forward(minutes=3)
    assert "it works 5 more minutes" in said(staff, invitation)
    clock.forward(minutes=6)
    assert "expired 1 minute ago" in said(staff, invitation)
    content = browser.get("/enroll/continue").download()
    device = phone(app)
    payload = device.open_profile(content)
    device.obtain_identity(payload)
    assert "got its certificate just now" in said(staff, invitation)
    device.authenticate()
    assert "waits for the password of the Managed Apple Account" in said(staff, invitation)
    clock.forward(minutes=11)
    assert "The device went silent" in said(staff, invitation)
    device.token_update()
    assert said(staff, invitation).startswith("Enrolled just now.")
    device.remove()
    assert "The enrollment ended just now: removed on the device." in said(staff, invitation)


def test_the_sentence_for_what_ended_or_never_arrived(browser, staff, company, invitation, portal, clock):
    with portal.database.transaction() as session:
        mail = session.query(OutboxMessage).one()
        mail.attempts, mail.last_error = 1, "mail server: timeout"
    assert "has not been delivered yet" in said(staff, invitation)
    with portal.database.transaction() as session:
        mail = session.query(OutboxMessage).one()
        mail.failed_at, mail.next_attempt_at, mail.last_error = clock(), None, "address refused (550)"
    assert "cannot be delivered" in said(staff, invitation)
    assert "address refused (550)" in staff.text
    clock.forward(days=8)
    staff.staff_sign_in("hilda", clock())
    assert "The link expired 24 hours ago." in said(staff, invitation)


@pytest.mark.each_database
def test_a_wrong_browser_is_told_when_somebody_looks_at_the_page_not_when_the_link_is_opened(
    app, staff, company, invitation
):
    computer = Browser(app, user_agent="Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")
    computer.open_link(invitation)
    before = company.events(invitation)
    page = computer.soup.find(attrs={"data-report": True})
    for _ in range(3):
        answer = computer.client.post(
            page["data-report"], base_url="https://portal.example.com",
            headers={**computer.headers, "X-CSRFToken": page["data-token"]},
        )  # fmt: skip
        assert answer.status_code == 204
    assert company.events(invitation) == [*before, ("browser.unfit", "computer")]
    assert "Opened the link just now in the wrong place: a computer." in said(staff, invitation)
    Browser(app).open_link(invitation).sign_in()
    assert "Signed in with Safari on an iPhone or iPad, iOS 17" in staff.get(address(invitation)).text


# --- actions -------------------------------------------------------------------------------------------------------


def test_a_new_passcode_is_mailed_and_not_shown(browser, staff, company, invitation):
    browser.walk_to("passcode", invitation)
    act(staff, invitation, "new-passcode")
    assert "A new passcode is on its way by mail." in staff.text
    assert ("passcode.sent", "by_staff") in company.events(invitation)
    browser.submit(passcode=invitation.passcode)
    assert browser.path == "/enroll/passcode"
    assert "Read out" not in staff.text


def test_a_passcode_is_shown_only_if_an_admin_allows_it_and_is_told(browser, staff, company, invitation, portal, clock):
    act(staff, invitation, "new-passcode", shown="yes")
    assert "Read out:" not in staff.text
    assert ("passcode.sent", "by_staff") in company.events(invitation)
    with portal.database.transaction() as session:
        values = {"passcode.shown_to_helpdesk": True}
        saving.save(editing_settings(portal, session, clock()), "enrollment", values)
    portal.refresh(0)
    act(staff, invitation, "new-passcode", shown="yes")
    code = staff.soup.find(class_="passcode").get_text().replace(" ", "")
    assert company.events(invitation)[-1] == ("passcode.sent", "shown")
    browser.walk_to("passcode", invitation)
    browser.submit(passcode=code)
    assert browser.path == "/enroll/overview"
    assert code not in staff.get(address(invitation)).text


def test_the_pages_of_a_device_with_thousands_of_commands_stay_short(app, staff, company, invitation, portal, session):
    phone(app).install(company.profile(invitation))
    device = company.device(invitation)
    with portal.database.transaction() as writing:
        for number in range(command_list.SHOWN + 5):
            writing.add(Command(uuid=f"{number:036}", device_id=device.id, request_type="DeviceLock", payload=b"x",
                                status="acknowledged", created_at=portal_clock.now(), attempts=0))  # fmt: skip
    page = staff.get(f"/helpdesk/devices/{device.id}")
    assert page.text.count("Lock the screen") <= command_list.SHOWN + 1
    assert "Only the newest are listed." in page.text
    asked = session.scalar(select(func.count()).select_from(Command))
    assert f"{asked}, of them open: 0" in staff.get(f"/helpdesk/requests/{invitation.request.id}").text


def test_unlocking_lets_the_employee_sign_in_and_send_passcodes_again(browser, staff, company, invitation):
    browser.open_link(invitation)
    for _ in range(10):
        browser.sign_in(password="wrong password")
    assert browser.sign_in().status == 429
    act(staff, invitation, "unlock")
    assert "They can sign in again" in staff.text
    assert browser.sign_in().path == "/enroll/ownership"
    assert ("request.unlocked", None) in company.events(invitation)


def test_extending_brings_a_link_that_ran_out_back(browser, staff, company, invitation, clock):
    clock.forward(days=8)
    assert browser.open_link(invitation).path != "/enroll/sign-in"
    staff.staff_sign_in("hilda", clock())
    act(staff, invitation, "extend")
    assert "The request now works until" in staff.text
    assert browser.open_link(invitation).path == "/enroll/sign-in"
    browser.sign_in("erika", PASSWORD)
    assert browser.path == "/enroll/ownership"


def test_handing_over_puts_the_note_before_the_colleague(app, staff, company, invitation, clock):
    colleague = company.person("carl", role="helpdesk", name="Carl Colleague")
    act(staff, invitation, "hand-over", colleague=colleague.id, note="  Call back at 3  ")
    assert "Handed over." in staff.text
    carl = Browser(app).staff_sign_in("carl", clock())
    assert len(carl.get("/helpdesk?mine=yes").soup.select("tbody tr")) == 1
    assert staff.get("/helpdesk?mine=yes").soup.select("tbody tr") == []
    assert "With Carl Colleague: Call back at 3" in carl.get(address(invitation)).text.replace(" :", ":")
    assert "Handed over: Call back at 3" in carl.text


def test_nobody_but_staff_takes_a_request_over_and_a_long_note_is_refused(staff, company, invitation):
    employee = company.person("max")
    act(staff, invitation, "hand-over", colleague=employee.id)
    assert "cannot sign in here any more" in staff.text
    act(staff, invitation, "hand-over", colleague="nobody")
    assert staff.status == 422
    colleague = company.person("carl", role="helpdesk")
    act(staff, invitation, "hand-over", colleague=colleague.id, note="x" * 501)
    assert staff.error_of("note") == "At most 500 characters."
    assert "x" * 501 in staff.text


def test_the_qr_code_fills_the_page_and_works(app, staff, company, invitation):
    act(staff, invitation, "qr")
    assert staff.heading == "Set up an iPhone for work"
    assert staff.soup.find("svg", class_="qr")
    assert invitation.passcode not in staff.response.get_data(as_text=True)
    assert ("request.qr_shown", None) in company.events(invitation)


def test_ending_an_enrollment_asks_the_device_to_leave(app, browser, staff, company, invitation):
    device = phone(app)
    device.install(browser.walk_to("profile", invitation).download())
    staff.get(address(invitation)).submit(address(invitation, "cancel"))
    assert "removes everything of work when it connects next" in staff.text
    assert "to remove everything of work (cancelled by staff)" in staff.text
    assert staff.soup.find("form", action=address(invitation, "cancel")) is None
    assert device.connect() == ["RemoveProfile"]
    assert "cancelled by staff" in staff.get(address(invitation)).text
    assert company.status(invitation) == "removed"


@pytest.mark.parametrize("action", ["resend", "new-passcode", "unlock", "extend", "qr"])
def test_an_action_on_a_closed_request_changes_nothing_and_says_so(app, browser, staff, company, invitation, action):
    phone(app).install(browser.walk_to("profile", invitation).download())
    before = company.events(invitation)
    staff.get(address(invitation))
    token = staff.soup.find("input", attrs={"name": "csrf_token"})["value"]
    staff.post(address(invitation, action), {"csrf_token": token})
    assert "closed already; nothing was changed" in staff.text
    assert company.events(invitation) == before
    assert staff.soup.find("form", action=address(invitation, action)) is None


@pytest.mark.parametrize("action", ["resend", "new-passcode", "unlock", "extend"])
def test_an_action_can_be_repeated(staff, company, invitation, action):
    for _ in range(2):
        act(staff, invitation, action)
        assert staff.status == 200
    assert company.status(invitation) == "invited"


# --- the page they see ---------------------------------------------------------------------------------------------


STEPS = ["sign-in", "ownership", "privacy", "passcode", "overview", "terms", "profile"]


@pytest.mark.parametrize("step", STEPS)
def test_the_preview_is_the_page_that_the_employee_sees_in_their_language(app, staff, invitation, step):
    employee = Browser(app, language="de").walk_to(step, invitation)
    staff.get(address(invitation, "preview"))
    if step != "sign-in":  # before that nobody knows the language of their browser
        assert staff.soup.html["lang"] == "de"
        assert staff.heading == employee.heading
    assert_nothing_can_be_used(staff)
    assert "waiting.js" not in staff.response.get_data(as_text=True)


def assert_nothing_can_be_used(page: Browser) -> None:
    controls = page.soup.select("button, input, select, textarea")
    assert [each for each in controls if each.find_parent("fieldset", disabled=True) is None] == []
    assert page.soup.select("a[href]:not(.skip)") == []


def test_the_preview_goes_on_to_the_device_and_the_end(app, browser, staff, invitation, clock):
    content = browser.walk_to("profile", invitation).download()
    assert staff.get(address(invitation, "preview")).heading == browser.get("/enroll/profile").heading
    assert_nothing_can_be_used(staff)
    device = phone(app)
    payload = device.open_profile(content)
    device.obtain_identity(payload)
    assert staff.get(address(invitation, "preview")).heading == browser.get("/enroll/finish").heading
    assert_nothing_can_be_used(staff)
    device.authenticate()
    device.token_update()
    assert staff.get(address(invitation, "preview")).heading == "You are ready for work"


@pytest.mark.parametrize("prefer", ["profile", "account"])
@pytest.mark.parametrize("user_agent", [SAFARI, IOS_18], ids=["17", "18"])
def test_the_preview_knows_how_their_device_will_enroll(app, company, staff, configure, invitation, user_agent, prefer):
    configure(account_driven__prefer=prefer)
    employee = Browser(app, user_agent).walk_to("overview", invitation)
    staff.get(address(invitation, "preview"))
    shown = [
        [each.get_text(" ", strip=True) for each in page.soup.select("main li, main p")] for page in (staff, employee)
    ]
    assert shown[0] == shown[1]


def test_nothing_of_a_preview_is_done_or_recorded(staff, company, invitation):
    before = company.events(invitation)
    staff.get(address(invitation, "preview"))
    assert company.events(invitation) == before
    assert staff.get("/helpdesk/requests/nonsense/preview").status == 404


def test_the_live_part_of_the_page_is_only_what_changes(browser, staff, invitation, portal):
    staff.get(address(invitation) + "?part=live")
    assert staff.soup.find("html") is None
    assert {part["data-live"] for part in staff.soup.find_all(attrs={"data-live": True})} == {"top", "rest"}
    staff.get("/helpdesk?part=live&q=eri")
    assert len(staff.soup.select("tbody tr")) == 1
