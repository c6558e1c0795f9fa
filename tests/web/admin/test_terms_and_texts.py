"""The company's own words: license terms with versions and drafts, texts on pages and in mails; the checklist."""

from datetime import timedelta
from email import message_from_bytes
from email.policy import default

import pytest

from portal import jobs
from portal.models import EnrollmentRequest
from tests.factories import Company
from tests.pages import Browser


@pytest.fixture
def admin(app, company, clock):
    company.person("adam", role="admin", name="Ada Admin")
    return Browser(app).staff_sign_in("adam", clock())


def write(admin, what="save", **values):
    admin.get("/admin/terms")
    fields = {"version": "2.0", "text.en": "English terms", "text.de": "Deutsche Bedingungen", "publish_at": ""}
    return admin.post("/admin/terms", admin.filled(holding="version") | fields | values | {"what": what})


def current(app, company, language="en"):
    """What a new employee has to accept."""
    name = f"p{len(company.all_events())}"
    browser = Browser(app, language=language).walk_to("terms", company.invite(company.person(name)))
    return browser.text


def test_a_draft_is_seen_by_nobody_until_it_is_published(app, admin, company):
    write(admin)
    assert "The draft is saved. Nobody sees it yet." in admin.text
    assert "English terms" not in current(app, company)
    assert admin.soup.find(id="version")["value"] == "2.0"
    write(admin, "publish")
    assert "Published. From now on this version has to be accepted" in admin.text
    assert "English terms" in current(app, company)
    assert "Deutsche Bedingungen" in current(app, company, "de")
    assert "Deutsche Bedingungen" in admin.get("/admin/terms/2.0/de").text


def test_a_draft_is_published_by_itself_when_it_is_time(app, admin, company, clock, portal):
    write(admin, publish_at=f"{clock() + timedelta(days=2):%Y-%m-%dT%H:%M}")
    assert "It is published by itself at that time." in admin.text
    jobs.Worker(portal.live.base).every_minute()
    assert "English terms" not in current(app, company)
    clock.forward(days=2, minutes=1)
    jobs.Worker(portal.live.base).every_minute()
    jobs.Worker(portal.live.base).every_minute()
    assert "English terms" in current(app, company)
    published = [event for event in company.all_events() if event.kind == "terms.published"]
    assert published[-1].actor.startswith("admin:")


def test_a_planned_version_that_came_out_by_other_means_is_dropped(app, admin, company, clock, portal, tmp_path):
    write(admin, publish_at=f"{clock() + timedelta(days=2):%Y-%m-%dT%H:%M}")
    (tmp_path / "en.txt").write_text("Printed terms")
    done = app.test_cli_runner().invoke(args=["terms", "publish", "2.0", str(tmp_path / "en.txt")])
    assert done.exit_code == 0, done.output
    clock.forward(days=2, minutes=1)
    for _ in range(2):
        jobs.Worker(portal.live.base).every_minute()
    assert "Printed terms" in current(app, company)
    told = [(event.kind, event.detail["version"]) for event in company.all_events() if event.kind.startswith("terms.d")]
    assert told == [("terms.drafted", "2.0"), ("terms.draft_dropped", "2.0")]


def test_who_accepted_an_older_version_is_asked_again_before_the_download(app, admin, company, browser):
    invitation = company.invite(company.person())
    browser.walk_to("profile", invitation)
    write(admin, "publish")
    assert browser.get("/enroll/profile").path == "/enroll/terms"
    assert "English terms" in browser.text


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"version": ""}, "Give the version a short name"),
        ({"version": "a/b"}, "Give the version a short name"),
        ({"version": "1.0"}, "a published text never changes"),
        ({"text.en": "  "}, "The English text is needed"),
        ({"publish_at": "2020-01-01T00:00"}, "Choose a moment that is still to come"),
        ({"publish_at": "soon"}, "Choose a moment that is still to come"),
    ],
)
def test_a_wrong_draft_is_told_and_kept_on_the_page(app, admin, company, values, says):
    write(admin, "publish", **values)
    assert admin.status == 422
    assert says in admin.text
    assert "Deutsche Bedingungen" in admin.response.get_data(as_text=True)
    assert "English terms" not in current(app, company)


def test_a_draft_can_be_thrown_away(admin, company):
    write(admin)
    write(admin, "drop")
    assert "The draft is gone." in admin.text
    assert admin.soup.find(id="version")["value"] == ""
    last = company.all_events()[-1]
    assert (last.kind, last.detail["version"], last.actor.partition(":")[0]) == ("terms.draft_dropped", "2.0", "admin")
    assert admin.get("/admin/terms/9.9/en").status == 404


# --- texts ---------------------------------------------------------------------------------------------------------


def say(admin, **texts):
    admin.get("/admin/settings/texts")
    return admin.post("/admin/settings/texts", admin.filled() | texts)


def test_own_words_stand_on_the_pages_in_their_language_and_the_portal_s_elsewhere(app, admin, company):
    say(admin, **{
        "texts.privacy_lead.en": "At {company} we see little.\n\n<b>Really</b>.",
        "texts.privacy_more.en": "Ask privacy@example.com.",
        "texts.overview_more.en": "The password is in your letter.",
    })  # fmt: skip
    assert "Saved" in admin.text
    invitation = company.invite(company.person())
    english = Browser(app).walk_to("privacy", invitation)
    assert "At Example Company we see little." in english.text
    assert "<b>Really</b>." in english.text
    assert "Ask privacy@example.com." in english.text
    assert "IT manages only the work side" not in english.text
    german = Browser(app, language="de").open_link(invitation).sign_in()
    assert "Example Company we see little" not in german.get("/enroll/privacy").text
    english.submit(acknowledge="yes")
    english.submit(passcode=invitation.passcode)
    assert "The password is in your letter." in english.text


def mail_of(portal, subject):
    jobs.Worker(portal.live.base).deliver()
    for path in sorted((portal.settings.data / "outbox").glob("*.eml"), reverse=True):
        message = message_from_bytes(path.read_bytes(), policy=default)
        if subject in message["Subject"]:
            return message
    raise AssertionError(subject)


def test_own_words_open_the_mails_and_link_and_passcode_follow(admin, company, portal):
    say(admin, **{"texts.mail_invitation.en": "Dear {name}, {asked_by} of {company} asks.\n\nSecond paragraph."})
    invitation = company.invite(company.person())
    message = mail_of(portal, "Set up your iPhone")
    for kind in ("plain", "html"):
        text = message.get_body((kind,)).get_content()
        assert "Dear Erika, Helpdesk of Example Company asks." in text
        assert "Second paragraph." in text
        assert invitation.passcode in text
        assert f"/e/{invitation.token}" in text
        assert "takes about three minutes" not in text


def test_a_variable_that_does_not_exist_is_told_with_those_that_do(admin, portal):
    say(admin, **{"texts.mail_invitation.en": "Hello {nmae}"})
    assert admin.status == 422
    error = "{nmae} does not exist. This text may name {company}, {name}, {asked_by}."
    assert admin.error_of("texts.mail_invitation") == error
    assert "Hello {nmae}" in admin.response.get_data(as_text=True)
    say(admin, **{"texts.privacy_lead.de": "{asked_by}"})
    assert "This text may name {company}." in admin.error_of("texts.privacy_lead")
    assert portal.settings.texts.mail_invitation == {}


@pytest.mark.parametrize(("show", "says"), [("privacy", "Only typed"), ("mail_invitation", "Dear Ada Admin"),
                                            ("overview", "Three things"), ("finish", "You are ready for work"),
                                            ("mail_passcode", "123456")])  # fmt: skip
def test_texts_are_previewed_before_they_are_saved(admin, portal, show, says):
    admin.get("/admin/settings/texts")
    typed = {"texts.privacy_lead.en": "Only typed", "texts.mail_invitation.en": "Dear {name}", "show": show}
    admin.post("/admin/settings/texts/preview", admin.filled() | typed)
    assert says in admin.response.get_data(as_text=True)
    assert portal.settings.texts.privacy_lead == {}


# --- the first run -------------------------------------------------------------------------------------------------


def open_items(admin):
    admin.get("/admin")
    return [each.get_text(strip=True)[:20] for each in admin.soup.select(".stages li:not(.done)")]


def test_the_checklist_leads_a_new_admin_to_a_real_invitation(admin, company, portal, app, clock):
    assert len(open_items(admin)) == 8
    admin.get("/admin/settings/company")
    admin.post("/admin/settings/company", admin.filled() | {"company.name": "Musterwerk"})
    admin.get("/admin/settings/mail")
    admin.post("/admin/settings/mail", admin.filled() | {"mail.transport": "smtp"})
    write(admin, "publish")
    company.person()
    admin.get("/helpdesk").submit("/helpdesk/requests", username="erika")
    left = open_items(admin)
    assert [each[:6] for each in left] == ["Upload", "Let yo", "Upload", "Invite"]
    for link in admin.soup.select(".stages a"):
        assert Browser.get(admin, link["href"]).status == 200
    with portal.database.transaction() as session:
        session.query(EnrollmentRequest).one().enrolled_at = clock()
    assert len(open_items(admin)) == 3  # an iPhone is enrolled, whoever invited its owner


def test_in_the_demo_only_what_is_real_there_is_asked(make_app, clock):

    app = make_app(demo=True)
    Company(app.extensions["portal"]).person("adam", role="admin")
    admin = Browser(app).staff_sign_in("adam", clock())
    assert [each[:6] for each in open_items(admin)] == ["Say wh", "Bring ", "Invite"]
