"""The commonest jobs of helpdesk and admins in a real browser: on a phone, on a desk, by keyboard alone."""

from datetime import timedelta

import pytest
from PIL import Image
from playwright.sync_api import expect

from portal import jobs
from portal.models import EnrollmentRequest
from tests.browser import engines
from tests.factories import phone, push_identity
from tests.pages import Browser

pytestmark = pytest.mark.skipif(not engines.CHROMIUM, reason="no Chromium")
PEOPLE = (("anna", "Demo Anna Ahorn"), ("berta", "Demo Berta Birke"), ("cora", "Demo Cora Ceder"))


@pytest.fixture
def desk(scene, clock):
    """A portal with three people on their way, and helpdesk before it."""
    staged = scene()
    staged.invitations = {name: staged.company.invite(staged.company.person(name, name=full)) for name, full in PEOPLE}
    staged.sign_in_as_staff("helpdesk", clock())
    return staged


def rows(desk):
    return desk.engine.page.locator("tbody tr")


def press(desk, text):
    """Open an action, read what it does, and say yes."""
    desk.engine.tap(f"summary:has-text('{text}')")
    desk.engine.tap(".confirm[open] form button")


def walk(desk, name, step):
    """Somebody's own phone comes as far as ``step``."""
    return Browser(desk.app).walk_to(step, desk.invitations[name])


def open_request(desk, name):
    desk.open(f"/helpdesk/requests/{desk.invitations[name].request.id}")


def test_1_somebody_calls_and_is_found_while_typing(desk):
    page = desk.engine.page
    page.locator("#q").press_sequentially("cor")
    expect(rows(desk)).to_have_count(1)
    expect(page.locator("[data-live-said]")).to_have_text("one request")
    assert desk.engine.path() == "/helpdesk?q=cor"
    desk.engine.picture("staff-list-typed", desk=True)
    page.reload()
    expect(rows(desk)).to_have_count(1)
    page.locator("#q").fill("")
    expect(rows(desk)).to_have_count(3)
    assert desk.engine.path() == "/helpdesk"
    assert desk.engine.problems == []


def test_1_what_was_typed_before_the_script_came_is_found_too(desk):
    page, held = desk.engine.page, []
    page.route("**/live.js*", lambda route: held.append(route))
    page.goto(page.url, wait_until="commit")
    page.locator("#q").fill("cor")
    expect(rows(desk)).to_have_count(3)
    held[0].continue_()
    expect(rows(desk)).to_have_count(1)
    assert desk.engine.path() == "/helpdesk?q=cor"


def test_2_a_stuck_passcode_is_read_in_one_sentence_and_a_new_one_is_sent(desk):
    caller = walk(desk, "cora", "passcode")
    for _ in range(3):
        caller.submit(passcode="000000")
    open_request(desk, "cora")
    desk.sees("staff-request-stuck", "Demo Cora Ceder", desk=True)
    sentence = desk.engine.page.locator(".advice")
    expect(sentence).to_contain_text("3 wrong tries, 2 left. Ask for the passcode of the newest e-mail.")
    press(desk, "Send a new passcode")
    expect(desk.engine.page.locator(".note.good")).to_contain_text("A new passcode is on its way by mail.")
    expect(sentence).to_contain_text("At the passcode; the newest one was sent just now.")


def test_3_a_row_and_a_request_change_by_themselves(desk):
    expect(rows(desk).filter(has_text="Anna")).to_contain_text("Invited")
    walk(desk, "anna", "privacy")
    expect(rows(desk).filter(has_text="Anna")).to_contain_text("In progress", timeout=12_000)
    open_request(desk, "berta")
    expect(desk.engine.page.locator(".advice")).to_contain_text("not signed in yet")
    walk(desk, "berta", "ownership")
    expect(desk.engine.page.locator(".advice")).to_contain_text("Ownership", timeout=12_000)
    assert desk.engine.problems == []


def test_4_the_qr_code_is_shown_large_and_printed(desk):
    open_request(desk, "anna")
    desk.engine.tap("text=Show QR code")
    desk.sees("staff-qr", "Set up an iPhone for work", desk=True)
    expect(desk.engine.page.locator("text=Print")).to_be_visible()
    desk.engine.page.emulate_media(media="print")
    expect(desk.engine.page.locator("text=Print")).to_be_hidden()
    expect(desk.engine.page.locator("svg.qr")).to_be_visible()


def test_5_somebody_new_is_invited_and_one_without_an_account_is_not(desk):
    desk.company.person("dora", name="Demo Dora Distel")
    desk.company.person("emil", name="Demo Emil Esche", managed_apple_account=None)
    for name in ("emil", "dora"):
        desk.open("/helpdesk")
        desk.engine.tap("text='Invite somebody'")
        desk.engine.fill("username", name)
        desk.engine.tap("text='Invite'")
        if name == "emil":
            desk.sees("staff-invite-refused", "Enrollment requests", desk=True)
            expect(desk.engine.page.locator("#username-error")).to_contain_text("no Managed Apple Account")
    desk.engine.wait_for_heading("Demo Dora Distel")


def test_6_a_link_that_ran_out_is_extended(desk):
    with desk.portal.database.transaction() as session:
        request = session.get_one(EnrollmentRequest, desk.invitations["berta"].request.id)
        request.expires_at = request.created_at - timedelta(minutes=5)
    open_request(desk, "berta")
    expect(desk.engine.page.locator(".advice")).to_contain_text("The link expired 5 minutes ago.")
    press(desk, "Let it work 7 days from now")
    expect(desk.engine.page.locator(".note.good")).to_contain_text("The request now works until")
    assert Browser(desk.app).open_link(desk.invitations["berta"]).path == "/enroll/sign-in"


def test_7_a_request_is_handed_over_with_a_note(desk):
    desk.company.person("carl", role="helpdesk", name="Demo Carl")
    open_request(desk, "anna")
    desk.engine.tap("text=Hand over to a colleague")
    desk.engine.fill("note", "Calls back at three")
    desk.engine.picture("staff-hand-over", desk=True)
    desk.engine.tap("text='Hand over'")
    expect(desk.engine.page.locator("[data-live=top]")).to_contain_text("With Demo Carl: Calls back at three")


def test_8_what_needs_attention_is_filtered(desk):
    caller = walk(desk, "berta", "passcode")
    for _ in range(5):
        caller.submit(passcode="000000")
    desk.open("/helpdesk")
    desk.engine.tap(".filters summary")
    desk.engine.page.select_option("#attention", "any")
    expect(rows(desk)).to_have_count(1)
    expect(rows(desk)).to_contain_text("Passcode locked")
    desk.engine.picture("staff-attention", desk=True)


def test_9_cancelling_asks_first_and_sending_again_says_what_it_did(desk):
    open_request(desk, "cora")
    press(desk, "Send again")
    expect(desk.engine.page.locator(".note.good")).to_contain_text("A new mail with a new link and passcode")
    desk.engine.tap("summary:has-text('Cancel request')")
    expect(desk.engine.page.locator(".confirm[open]")).to_contain_text("stop working for good")
    desk.engine.picture("staff-confirm", desk=True)
    desk.engine.tap(".confirm[open] form button")
    expect(desk.engine.page.locator(".note.good")).to_contain_text("The request is cancelled.")


def test_10_the_work_data_of_a_lost_phone_is_removed(desk):
    device = phone(desk.app)
    device.install(walk(desk, "anna", "profile").download())
    open_request(desk, "anna")
    desk.sees("staff-request-enrolled", "Demo Anna Ahorn", desk=True)
    desk.engine.tap("text='Device'")
    desk.engine.fill("confirm", "iPhone")
    desk.engine.picture("staff-device", desk=True)
    desk.engine.tap("text='Remove work data'")
    expect(desk.engine.page.locator(".note.good")).to_contain_text("Personal things are not touched")
    device.connect()
    open_request(desk, "anna")
    expect(desk.engine.page.locator(".advice")).to_contain_text("work data removed by staff")


def test_the_page_they_see_is_shown_and_cannot_be_used(desk):
    walk(desk, "cora", "terms")
    desk.open(f"/helpdesk/requests/{desk.invitations['cora'].request.id}/preview")
    desk.sees("staff-preview", "License terms", desk=True)
    assert desk.engine.page.locator("button:enabled, a[href]:not(.skip), form[action]").count() == 0


def test_the_keyboard_alone_is_enough(desk):
    page = desk.engine.page
    desk.open("/helpdesk")
    page.locator("#q").focus()
    page.keyboard.type("berta")
    expect(rows(desk)).to_have_count(1)
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('tbody') !== null"):
            break
    page.keyboard.press("Enter")
    desk.engine.wait_for_heading("Demo Berta Birke")
    for _ in range(25):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Send a new passcode":
            break
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".note.good")).to_contain_text("A new passcode is on its way")


def test_a_list_is_checked_started_and_followed(desk, tmp_path):
    file = tmp_path / "people.csv"
    file.write_text("username\ndora\nanna\nnobody\n")
    desk.company.person("dora", name="Demo Dora Distel")
    desk.engine.tap("text=Invite many")
    desk.engine.wait_for_heading("Invite many")
    desk.engine.picture("staff-campaigns", desk=True)
    desk.engine.fill("name", "Demo list")
    desk.engine.page.set_input_files("#file", str(file))
    desk.engine.tap("text=Check the list")
    desk.sees("staff-campaign-checked", "Demo list", desk=True)
    expect(rows(desk)).to_have_count(2)
    desk.engine.tap("text=Invite them")
    expect(desk.engine.page.locator(".note.good")).to_contain_text("It is on its way.")
    jobs.Worker(desk.portal.live.base).every_minute()
    jobs.Worker(desk.portal.live.base).every_minute()
    expect(desk.engine.page.locator(".lead")).to_contain_text("Done", timeout=12_000)  # by itself
    desk.engine.picture("staff-campaign-done", desk=True)
    assert desk.engine.problems == []


# --- admins --------------------------------------------------------------------------------------------------------


@pytest.fixture
def office(scene, clock):
    certificate = push_identity(clock() - timedelta(days=340), clock() + timedelta(days=25))
    mdm = {"backend": "embedded", "topic": "", "push_identity": certificate, "refresh_hours": 24}
    staged = scene(mdm={**mdm, "push_server": "https://push.example.com"})
    staged.sign_in_as_staff("admin", clock())
    return staged


PAGES = {
    "/admin": "Dashboard",
    "/admin/people": "People and staff",
    "/admin/audit": "Audit trail",
    "/admin/settings": "Settings",
    "/admin/settings/company": "Company and branding",
    "/admin/settings/providers": "Single sign-on",
    "/admin/settings/texts": "Texts",
    "/admin/settings/notifications": "Notifications",
    "/admin/terms": "License terms",
    "/admin/tokens": "API tokens",
    "/admin/device-management": "Device management",
    "/admin/settings/backend": "Certificates and devices",
    "/admin/apple-business": "Apple Business",
    "/admin/policies/catalogue": "What policies can do",
    "/admin/policies/catalogue/com.apple.wifi.managed": "Wi-Fi",
}


def test_every_admin_page_is_accessible_on_a_phone_and_on_a_desk(office):
    device = phone(office.app)
    walker = Browser(office.app).walk_to("profile", office.company.invite(office.company.person()))
    device.install(walker.download())
    for path, heading in PAGES.items():
        office.open(path)
        office.sees(f"admin{path.removeprefix('/admin').replace('/', '-')}", heading, desk=True)
        size = len(office.engine.page.content())
        assert size < 100_000, f"{path}: {size} bytes"
    for path in (
        "enrollment",
        "from-settings",
        "accounts",
        "sign-in",
        "directory",
        "mail",
        "sms",
        "backend",
        "retention",
    ):
        office.open(f"/admin/settings/{path}")
        office.engine.check_page()
    assert office.engine.problems == []


def test_a_colour_and_a_logo_are_previewed_and_saved(office, tmp_path):
    picture = tmp_path / "logo.png"
    Image.new("RGB", (400, 100), "#7a1fa2").save(picture)
    page = office.engine.page
    office.open("/admin/settings/company")
    page.fill("[name='company.accent']", "#7a1fa2")
    page.set_input_files("[name='company.logo']", str(picture))
    with page.context.expect_page() as opened:
        page.click("text=Preview in a new tab")
    preview = opened.value
    expect(preview.locator("h1")).to_have_text("Whose device is this?")
    expect(preview.locator("html")).to_have_css("--accent", "#7a1fa2")
    preview.close()
    page.click("text='Save'")
    expect(page.locator(".note.good")).to_contain_text("Saved. It counts from now on.")
    office.sees("admin-branded", "Company and branding", desk=True)
    office.open("/enroll/sign-in")
    office.sees("1-sign-in-branded", "Sign in to begin")
    assert page.locator("header img").evaluate("each => each.naturalWidth") == 400
    assert office.engine.problems == []


def test_a_mistake_in_the_settings_takes_the_focus_and_stands_beside_its_field(office):
    page = office.engine.page
    office.open("/admin/settings/enrollment")
    page.fill("[name='passcode.tries']", "many")
    page.click("text='Save'")
    expect(page.locator(".summary")).to_be_focused()
    office.engine.picture("admin-mistake", desk=True)
    expect(page.locator("[id='passcode.tries-error']")).to_have_text("Enter a whole number.")
