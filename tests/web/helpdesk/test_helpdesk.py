"""What helpdesk sees and can do."""

import pytest

from portal import audit, people
from portal.backends.base import Health
from portal.events import Event
from portal.models import Person
from portal.simulator.scep_client import InstallationFailed
from tests.factories import PASSWORD, phone
from tests.pages import Browser


@pytest.fixture
def staff(app, company, clock):
    company.person("hilda", role="helpdesk", name="Hilda Help")
    return Browser(app).staff_sign_in("hilda", clock())


@pytest.fixture
def invitation(company):
    return company.invite(company.person())


def test_the_list_shows_person_status_and_step(staff, browser, invitation):
    browser.walk_to("terms", invitation)
    staff.get("/helpdesk")
    row = staff.soup.find("table").tbody.find("tr").get_text(" ", strip=True)
    assert "Erika" in row
    assert "In progress" in row
    assert "Terms" in row


def test_the_list_is_searched_and_filtered(staff, company, invitation):
    company.invite(company.person("max"))
    assert len(staff.get("/helpdesk?q=ERI").soup.find("tbody").find_all("tr")) == 1
    assert len(staff.get("/helpdesk?q=@example.com").soup.find("tbody").find_all("tr")) == 2
    assert "Nothing found" in staff.get("/helpdesk?q=nobody").text
    assert "Nothing found" in staff.get("/helpdesk?status=enrolled").text
    assert len(staff.get("/helpdesk?status=invited").soup.find("tbody").find_all("tr")) == 2
    assert staff.get("/helpdesk?status=nonsense&q=%25_'").status == 200


def test_helpdesk_invites_by_username(staff, company):
    company.person()
    staff.get("/helpdesk").submit("/helpdesk/requests", username="erika")
    assert staff.heading == "Erika"
    assert "Request created" in staff.text


def test_who_is_invited_already_gets_no_second_invitation(app, staff, company, clock):
    company.person()
    staff.get("/helpdesk").submit("/helpdesk/requests", username="erika")
    first = staff.path
    staff.get("/helpdesk").submit("/helpdesk/requests", username="erika")
    assert staff.path == first
    assert "has an open invitation: this one" in staff.text
    done = app.test_cli_runner().invoke(args=["invite", "erika"])
    assert (done.exit_code, "open invitation already" in done.output) == (1, True)
    assert [each.kind for each in company.all_events()].count("request.created") == 1
    clock.forward(days=30)  # that one ran out
    assert app.test_cli_runner().invoke(args=["invite", "erika"]).exit_code == 0


def test_helpdesk_cannot_invite_without_a_managed_apple_account_and_sees_why(staff, company):
    company.person("nomaa", managed_apple_account=None)
    staff.get("/helpdesk").submit("/helpdesk/requests", username="nomaa")
    assert staff.status == 422
    assert "no Managed Apple Account" in staff.error_of("username")
    staff.get("/helpdesk").submit("/helpdesk/requests", username="nobody")
    assert "Nobody is known" in staff.error_of("username")


def test_the_request_page_tells_the_whole_story(app, staff, browser, invitation, company):
    phone(app).install(browser.walk_to("profile", invitation).download())
    staff.get(f"/helpdesk/requests/{invitation.request.id}")
    for said in ("Enrolled", "iPhone14,5", "17.6.1", "Terms accepted"):
        assert said in staff.text
    assert "Cancel request" not in staff.text
    assert "erase" not in staff.soup.find("main").get_text().lower().replace("erased", "")


def test_the_qr_code_is_a_link_of_its_own_and_audited(app, staff, invitation, company):
    staff.get(f"/helpdesk/requests/{invitation.request.id}")
    staff.submit(f"/helpdesk/requests/{invitation.request.id}/qr")
    assert staff.soup.find("svg", class_="qr")
    assert ("request.qr_shown", None) in company.events(invitation)
    assert Browser(app).open_link(invitation).path == "/enroll/sign-in"  # the mailed link still works


def test_sending_again_kills_the_old_passcode(app, staff, browser, invitation, company):
    browser.walk_to("passcode", invitation)
    staff.get(f"/helpdesk/requests/{invitation.request.id}")
    staff.submit(f"/helpdesk/requests/{invitation.request.id}/resend")
    assert "on its way" in staff.text
    assert browser.submit(passcode=invitation.passcode).status == 422
    assert ("request.sent_again", None) in company.events(invitation)


def test_cancelling_ends_everything_and_can_be_repeated(app, staff, browser, invitation, company):
    browser.walk_to("profile", invitation)
    profile = browser.download()
    staff.get(f"/helpdesk/requests/{invitation.request.id}")
    form = staff.hidden(f"/helpdesk/requests/{invitation.request.id}/cancel")
    staff.submit(f"/helpdesk/requests/{invitation.request.id}/cancel")
    assert company.status(invitation) == "cancelled"
    staff.post(f"/helpdesk/requests/{invitation.request.id}/cancel", form)
    assert "closed already" in staff.text
    with pytest.raises(InstallationFailed):
        phone(app).install(profile)
    assert ("certificate.refused", "request_ended") in company.events(invitation)


def test_the_audit_trail_names_staff_by_id_never_by_name(staff, invitation, company):
    staff.get(f"/helpdesk/requests/{invitation.request.id}")
    staff.submit(f"/helpdesk/requests/{invitation.request.id}/qr")
    actors = {event.actor for event in company.all_events()}
    assert any(actor.startswith("helpdesk:") for actor in actors)
    assert not any("Hilda" in actor for actor in actors)


def test_an_unknown_request_is_404(staff):
    assert staff.get("/helpdesk/requests/nothing").status == 404


def test_only_refused_invitations_are_listed_as_refused(app, company, clock, portal):
    """Other things that happen to people, like a changed password, stand in the same trail."""
    company.person("helen", "helpdesk")
    browser = Browser(app).staff_sign_in("helen", clock())
    with portal.database.transaction() as session:
        audit.record(session, people.PEOPLE_CHAIN, Event.PASSWORD_CHANGED, clock(), detail={"person": "x"})
    assert "password.changed" not in browser.get("/helpdesk").text
    nobody = company.person("nobody", managed_apple_account=None)
    browser.submit("/helpdesk/requests", username="nobody")
    assert "no Managed Apple Account" not in browser.get("/helpdesk").text  # who asked was told at once
    for _ in range(2):
        Browser(app).get("/enroll").submit(username="nobody", password=PASSWORD)
        clock.forward(days=1, minutes=1)
    browser.staff_sign_in("helen", clock()).get("/helpdesk")
    assert browser.text.count("no Managed Apple Account") == 1
    nobody.managed_apple_account = "nobody@work.example.com"
    company.invite(nobody)
    assert "no Managed Apple Account" not in browser.get("/helpdesk").text


@pytest.mark.each_database
def test_whoever_has_no_request_is_found_and_invited(staff, company):
    company.person("otto", name="Otto Ohne")
    company.person("nomaa", name="Otto Nomaa", managed_apple_account=None)
    invited = company.invite(company.person("ottilie", name="Ottilie Da"))
    staff.get("/helpdesk?q=ott")
    assert [each["value"] for each in staff.soup.select("#rows input[name=username]")] == ["nomaa", "otto"]
    assert invited.request.id in str(staff.soup.select("#rows tbody")[0])
    assert not staff.get("/helpdesk").soup.select("#rows input[name=username]")
    staff.get("/helpdesk?q=otto+ohne")
    staff.submit("/helpdesk/requests", username="otto")
    assert staff.heading == "Otto Ohne"


@pytest.mark.each_database
def test_staff_may_type_an_address_if_one_person_has_it(staff, company):
    company.person("otto", email="Otto@Example.com")
    company.person("one", email="shared@example.com")
    company.person("two", email="shared@example.com")
    staff.get("/helpdesk").submit("/helpdesk/requests", username=" otto@example.COM ")
    assert staff.path.startswith("/helpdesk/requests/")
    staff.get("/helpdesk").submit("/helpdesk/requests", username="shared@example.com")
    assert "Nobody is known by that username or e-mail address" in staff.error_of("username")


def test_a_disabled_account_is_the_first_thing_that_is_said(app, staff, company, portal, clock):
    invitation = company.invite(company.person("erika"))
    with portal.database.transaction() as session:
        session.get_one(Person, invitation.request.person_id).disabled_at = clock()
    assert "Their account was disabled" in staff.get(f"/helpdesk/requests/{invitation.request.id}").text
    browser = Browser(app).open_link(invitation).sign_in()
    assert "Your account is disabled" in browser.text
    assert "match" in Browser(app).open_link(invitation).sign_in(password="wrong").text


def test_nobody_is_sent_to_a_page_that_cannot_go_on(app, staff, company, portal, browser, monkeypatch):
    invitation = company.invite(company.person("erika"))
    browser.walk_to("profile", invitation)
    path = f"/helpdesk/requests/{invitation.request.id}"
    assert "follow the steps on their page" in staff.get(path).text
    monkeypatch.setattr(type(portal.backend), "health", lambda _self: Health(ready=False, reason="unreachable"))
    assert "The device management does not answer" in staff.get(path).text
