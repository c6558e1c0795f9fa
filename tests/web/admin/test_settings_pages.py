"""The admin's settings pages: help beside each field, mistakes in words, history, tests, previews."""

import io
import re

import pytest
from PIL import Image

from portal.pki import cms
from portal.settings import logo, overlay, saving
from portal.web.admin import settings_pages
from portal.web.admin.settings_form import PAGES, fields_of
from tests.factories import BASE, editing_settings, phone_key
from tests.pages import Browser
from tests.pki.test_uploads import certificate, p12

EVERY_FIELD = [(page, field.name) for page in PAGES for field in fields_of(page)]


@pytest.fixture
def admin(app, company, clock):
    company.person("adam", role="admin", name="Ada Admin")
    return Browser(app).staff_sign_in("adam", clock())


def save(admin, page, **changes):
    """Open a page, change fields, save; a field is named with __ for its dot."""
    admin.get(f"/admin/settings/{page}")
    values = admin.filled() | {name.replace("__", "."): value for name, value in changes.items()}
    return admin.post(f"/admin/settings/{page}", {name: value for name, value in values.items() if value is not None})


def png(size=(900, 200), kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", size, "#7a1fa2").save(buffer, kind)
    return buffer.getvalue()


def test_every_setting_that_can_be_changed_is_on_exactly_one_page():
    names = [name for _, name in EVERY_FIELD]
    assert sorted(names) == sorted(overlay.names())


def test_the_page_of_all_settings_leads_to_each_once(admin):
    listed = [page for pages in settings_pages.INDEX.values() for page in pages]
    assert sorted(page for page in listed if page in PAGES) == sorted(PAGES)
    admin.get("/admin/settings")
    doors = [link["href"] for link in admin.soup.select(".doors a")]
    assert len(doors) == len(listed) - 1  # MaaS360's is shown with it alone
    for door in doors:
        admin.get(door)
        assert admin.status == 200, door


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_every_setting_with_its_label_and_help_and_saving_it_unchanged_changes_nothing(admin, page):
    admin.get(f"/admin/settings/{page}")
    for field in fields_of(page):
        if field.kind in ("tables", "texts", "several"):
            continue
        shown = admin.soup.find(id=field.name)
        assert shown is not None, field.name
        label = admin.soup.find("label", attrs={"for": field.name}).get_text(" ", strip=True)
        assert label not in ("", field.name)
        assert admin.soup.find(id=shown["aria-describedby"].split()[0]).get_text(strip=True)
    admin.post(f"/admin/settings/{page}", admin.filled())
    assert admin.status == 200
    assert "Nothing was different" in admin.text


def test_a_saved_setting_is_what_employees_see(admin, browser, company):
    save(admin, "company", company__name="Musterwerk", company__support_phone="+49 30 1234")
    assert "Saved. It counts from now on." in admin.text
    browser.get("/enroll/sign-in")
    assert "Musterwerk" in browser.soup.header.text
    assert "+49 30 1234" in browser.soup.footer.text


def test_a_mistake_is_told_beside_its_field_and_nothing_typed_is_lost(admin, portal):
    save(admin, "enrollment", passcode__tries="eleven", enrollment__request_lifetime_days="91", passcode__sends="3")
    assert admin.status == 422
    assert admin.error_of("passcode.tries") == "Enter a whole number."
    assert admin.error_of("enrollment.request_lifetime_days") == "Enter 90 or less."
    assert admin.soup.find(id="passcode.tries")["value"] == "eleven"
    assert admin.soup.find(id="passcode.sends")["value"] == "3"
    assert portal.settings.passcode.sends == 5


@pytest.mark.each_database
def test_the_second_admin_sees_what_the_first_saved_and_decides(app, admin, company, clock, portal):
    company.person("bea", role="admin", name="Bea Boss")
    bea = Browser(app).staff_sign_in("bea", clock())
    bea.get("/admin/settings/company")
    stale = bea.filled()
    save(admin, "company", company__name="Adam's")
    bea.post("/admin/settings/company", stale | {"company.name": "Bea's"})
    assert bea.status == 409
    assert "Ada Admin saved this page after you opened it" in bea.text
    assert "now saved Adam's , yours Bea's" in bea.text.replace("Adam's,", "Adam's ,")
    assert portal.settings.company.name == "Adam's"
    bea.post("/admin/settings/company", bea.filled())
    assert portal.settings.company.name == "Bea's"


def test_the_history_brings_back_what_was_before(admin, portal):
    save(admin, "company", company__name="First")
    save(admin, "company", company__name="Second")
    assert "Name of the company: First → Second" in admin.text
    assert "Ada Admin" in admin.text
    action = next(form["action"] for form in admin.soup.find_all("form") if "/restore" in (form.get("action") or ""))
    admin.submit(action)
    assert "What was before is back." in admin.text
    assert portal.settings.company.name == "First"


def test_a_secret_is_never_shown_kept_when_empty_and_forgotten_when_asked(admin, portal):
    save(admin, "mail", mail__password="hush hush")
    assert portal.settings.mail.password == "hush hush"
    assert "hush" not in admin.response.get_data(as_text=True)
    save(admin, "mail", mail__timeout_seconds="7")
    assert portal.settings.mail.password == "hush hush"
    save(admin, "mail", **{"mail__password.forget": "yes"})
    assert portal.settings.mail.password == ""


def test_what_a_variable_pins_is_shown_but_cannot_be_changed(admin, monkeypatch):
    monkeypatch.setenv("PORTAL_MAIL_HOST", "mx.example.com")
    admin.get("/admin/settings/mail")
    assert admin.soup.find(id="mail.host").has_attr("disabled")
    assert "PORTAL_MAIL_HOST" in admin.text


def test_a_provider_is_added_keeps_its_secret_and_is_removed(admin, portal):
    first = {"name": "example", "title": "Example Sign-In", "issuer": "https://id.example.com", "client_id": "portal"}
    values = {f"oidc.providers.0.{key}": value for key, value in {**first, "client_secret": "hush"}.items()}
    save(admin, "providers", **values)
    assert [each.client_secret for each in portal.settings.oidc.providers] == ["hush"]
    assert "hush" not in admin.response.get_data(as_text=True)
    save(admin, "providers", **{"oidc.providers.0.title": "New title"})
    assert [(each.title, each.client_secret) for each in portal.settings.oidc.providers] == [("New title", "hush")]
    save(admin, "providers", **{"oidc.providers.0.issuer": "http://id.example.com"})
    assert "An issuer begins with https://." in admin.text
    save(admin, "providers", **{"oidc.providers.0.remove": "yes"})
    assert portal.settings.oidc.providers == ()


def test_what_locks_every_admin_out_is_asked_twice(app, company, clock, portal):
    company.person("boss", role="admin", source="oidc:example")
    provider = {
        "name": "example",
        "title": "E",
        "issuer": "https://id.example.com",
        "client_id": "p",
        "groups_claim": "g",
    }
    with portal.database.transaction() as session:
        values = {"oidc.providers": [{**provider, "admin_group": "admins"}]}
        saving.save(editing_settings(portal, session, clock()), "x", values)
    boss = Browser(app).staff_sign_in("boss", clock())
    save(boss, "providers", **{"oidc.providers.0.remove": "yes"})
    assert boss.status == 422
    assert "With this no admin could sign in any more" in boss.text
    assert len(portal.settings.oidc.providers) == 1
    boss.post("/admin/settings/providers", boss.filled() | {"oidc.providers.0.remove": "yes", "confirm": "yes"})
    assert portal.settings.oidc.providers == ()
    assert app.test_cli_runner().invoke(args=["config", "reset", "oidc"]).exit_code == 0


# --- branding ----------------------------------------------------------------------------------------------


def upload(admin, content, filename="logo.png", **changes):
    admin.get("/admin/settings/company")
    values = admin.filled() | changes | {"company.logo": (io.BytesIO(content), filename)}
    return admin.post("/admin/settings/company", values)


def test_a_logo_is_drawn_anew_small_and_shown_on_every_page(admin, browser, portal):
    upload(admin, png(size=(2000, 500), kind="JPEG"))
    assert admin.status == 200, admin.text
    browser.get("/enroll/sign-in")
    image = browser.soup.header.find("img")
    assert (image["width"], image["height"], image["alt"]) == ("160", "40", "")
    answer = browser.client.get(image["src"], base_url=BASE)
    assert answer.content_type == "image/png"
    assert "immutable" in answer.headers["Cache-Control"]
    assert Image.open(io.BytesIO(answer.data)).size == (480, 120)
    save(admin, "company", **{"company.logo.forget": "yes"})
    assert portal.settings.company.logo == ""


def bomb():
    """A picture of 20000 x 20000 pixels in a few hundred kilobytes."""
    buffer = io.BytesIO()
    Image.new("1", (20000, 20000)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
            "An SVG can carry programs",
        ),
        (bomb, "more than 16 million pixels"),
        (lambda: png()[:60], "That is no PNG"),
        (lambda: b"GIF89a" + b"\0" * 100, "That is no PNG"),
        (lambda: png() + b"\0" * 1024 * 1024, "larger than 1 MB"),
    ],
    ids=["svg", "bomb", "cut", "gif", "large"],
)
def test_what_is_no_harmless_picture_is_refused(admin, portal, make, says):
    upload(admin, make())
    assert admin.status == 422
    assert says in admin.error_of("company.logo")
    assert portal.settings.company.logo == ""


def test_nothing_else_of_an_uploaded_file_survives(admin, portal):
    picture = Image.new("RGB", (100, 50), "#123456")
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "where it was taken"
    picture.save(buffer, "JPEG", exif=exif, comment=b"a comment")
    upload(admin, buffer.getvalue() + b"<script>tail</script>")
    content = logo.read(portal.settings.company.logo).content
    assert not re.search(rb"where it was taken|a comment|script", content)


def test_the_accent_colour_reaches_every_page_in_both_schemes(admin, browser):
    save(admin, "company", company__accent="#7A1FA2")
    browser.get("/enroll/sign-in")
    sheet = next(link["href"] for link in browser.soup.find_all("link") if "/brand/" in link["href"])
    css = browser.client.get(sheet, base_url=BASE).get_data(as_text=True)
    assert "--accent:#7a1fa2" in css
    assert "prefers-color-scheme:dark" in css
    assert browser.client.get("/brand/nonsense.css", base_url=BASE).status_code == 404


def test_a_colour_that_cannot_be_read_is_refused_with_its_contrast(admin):
    save(admin, "company", company__accent="#ffcc00")
    assert "contrast is 1.4 to 1" in admin.error_of("company.accent")


def test_the_preview_shows_what_is_not_saved_yet(admin, portal):
    admin.get("/admin/settings/company")
    admin.post("/admin/settings/company/preview", admin.filled() | {"company.name": "Not saved"})
    assert admin.heading == "Whose device is this?"
    assert "Not saved" in admin.soup.header.text
    assert portal.settings.company.name == "Example Company"


def test_an_uploaded_certificate_signs_from_now_on(app, admin, browser, company, portal):
    own = certificate(phone_key(), "Musterwerk Signer")
    admin.get("/admin/settings/backend")
    upload = {"profile.signing_identity": (io.BytesIO(p12(phone_key(), own)), "signer.p12")}
    admin.post("/admin/settings/backend", admin.filled() | upload | {"profile.signing_identity.passphrase": "wrong"})
    assert admin.error_of("profile.signing_identity") == "The passphrase does not open that file."
    upload = {"profile.signing_identity": (io.BytesIO(p12(phone_key(), own)), "signer.p12")}
    values = admin.filled() | upload | {"profile.signing_identity.passphrase": "open sesame"}
    admin.post("/admin/settings/backend", values)
    assert "One is uploaded: CN=Musterwerk Signer" in admin.text
    assert "PRIVATE" not in admin.response.get_data(as_text=True)
    profile = browser.walk_to("profile", company.invite(company.person())).download()
    assert cms.verify(profile).signer == own
    save(admin, "backend", **{"profile.signing_identity.forget": "yes"})
    assert portal.signer == portal.authority.signer


# --- trying ------------------------------------------------------------------------------------------------


def test_a_trial_mail_goes_to_the_admin(admin, portal):
    admin.get("/admin/settings/mail").send("/admin/settings/mail/try")
    assert "It works. adam@example.com" in admin.text
    mails = list((portal.settings.data / "outbox").glob("*.eml"))
    assert any(b"To: adam@example.com" in each.read_bytes() for each in mails)


def test_a_trial_says_what_is_wrong(admin):
    save(admin, "mail", mail__transport="smtp", mail__host="127.0.0.1", mail__port="1", mail__security="none")
    admin.get("/admin/settings/mail").send("/admin/settings/mail/try")
    assert "It does not work yet. mail server: ConnectionRefusedError" in admin.text


@pytest.mark.parametrize(("page", "says"), [("directory", "no directory"), ("providers", "no provider"),
                                            ("backend", "valid for")])  # fmt: skip
def test_every_page_that_reaches_something_can_be_tried(admin, page, says):
    admin.get(f"/admin/settings/{page}").send(f"/admin/settings/{page}/try")
    assert says in admin.text


def test_the_rest_does_not_exist(admin):
    assert admin.get("/admin/settings/nonsense").status == 404
    admin.get("/admin/settings/company")
    token = admin.hidden()
    assert admin.post("/admin/settings/company/try", token).status == 404
    assert admin.post("/admin/settings/history/9999/restore", token).status == 404


def test_helpdesk_changes_no_setting(app, company, clock):
    company.person("hilda", role="helpdesk")
    helpdesk = Browser(app).staff_sign_in("hilda", clock())
    assert helpdesk.get("/admin/settings").status == 403
    assert helpdesk.get("/admin/settings/mail").status == 403
