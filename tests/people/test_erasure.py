"""Erasing a person, or forgetting an old request, leaves nothing personal behind, wherever it was kept."""

import plistlib
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from portal import audit, people
from portal.backends import reconciling
from portal.credentials import passwords, second_factor, syncing
from portal.credentials.base import DIRECTORY, Found
from portal.enrollment import ending, invitations, management
from portal.enrollment.commands import Order
from portal.enrollment.invitations import Asker
from portal.lifecycle import closing
from portal.models import (
    BackendEvent,
    Base,
    Campaign,
    CampaignEntry,
    Command,
    Device,
    EnrollmentRequest,
    IssuedProfile,
    LocalAccount,
    Passkey,
    PasskeyChallenge,
    PasswordLink,
    Person,
    SecondFactor,
    WebSession,
)
from portal.people import erasure
from portal.storage import campaigns, retention
from portal.storage.cases import Cases
from tests.factories import editing, phone, queue_command
from tests.pages import BASE, Browser


@pytest.fixture
def invitation(company):
    return company.invite(company.person())


def everything_of(portal, browser, app, company, invitation, clock):
    """Somebody with all that the portal ever keeps of a person; what to look for afterwards."""
    held = phone(app)
    held.install(browser.walk_to("profile", invitation).download())
    device_id = company.device(invitation).id
    with portal.database.transaction() as session:
        person = session.get_one(Person, invitation.request.person_id)
        colleague = Person(username="helen", name="H", email="h@example.com", role="helpdesk", created_at=clock())
        session.add(colleague)
        session.flush()
        person.phone, person.subject = "+49 170 5551234", "subject-of-erika"
        invitations.hand_over(
            Cases(session, portal).lock(invitation.request.id), colleague, "note about erika", "helpdesk:x"
        )
        second_factor.set_up(session, portal.vault, person, "JBSWY3DPEHPK3PXP")
        session.add(Passkey(credential_id="passkey-of-erika", person_id=person.id, public_key=b"k", sign_count=0,
                            name="erika's key", created_at=clock()))  # fmt: skip
        session.add(PasskeyChallenge(session_id="s", person_id=person.id, challenge="c", created_at=clock()))
        campaign = Campaign(name="list", created_at=clock(), created_by="x")
        session.add(campaign)
        session.flush()
        session.add(CampaignEntry(campaign_id=campaign.id, line=1, username="erika", state="invited"))
        device = session.get_one(Device, device_id)
        device.apps = [{"Identifier": "app-of-erika"}]
        device.certificates = [{"CommonName": "certificate-of-erika"}]
        queue_command(session, portal, device.id, Order("SecurityInfo"))
        passwords.mail_link(editing(portal, session, clock()), person, portal.settings)
        ending.end(Cases(session, portal).of_device(device.id), ending.Reason.GIVEN_UP)
        for command in session.scalars(select(Command)):
            command.last_error, command.errors = "error-of-erika", [{"USEnglishDescription": "error-of-erika"}]
        session.add(BackendEvent(event_id="e", kind="Connect", profile_id=device.profile_id, content_sealed=b"sealed",
                                 received_at=clock()))  # fmt: skip
    return ("erika", "Erika", "17.6.1", "iPhone14", "5551234")


def test_erasing_a_person_removes_whatever_there_is_and_keeps_the_chain_valid(
    app, browser, company, invitation, session, clock
):
    portal = company.portal
    traces = everything_of(portal, browser, app, company, invitation, clock)
    with portal.database.transaction() as writing:
        closing.erase(Cases(writing, company.portal), writing.get_one(Person, invitation.request.person_id), "admin:x")
    assert audit.broken_links(portal.database) == []
    dump, sealed = "", []
    for table in Base.metadata.sorted_tables:
        for row in session.execute(select(table)).mappings():
            dump += table.name + str([value for value in row.values() if not isinstance(value, bytes)]) + "\n"
            if table.name in ("profiles", "devices", "outbox", "second_factors", "backend_events"):
                sealed += [name for name, value in row.items() if name.endswith("sealed") and value is not None]
    for trace in traces:
        found = [line for line in dump.splitlines() if trace in line]
        assert not found, found
    assert sealed == []
    ended = session.scalars(select(IssuedProfile)).one()
    assert ended.superseded_at is not None  # nobody downloads it any more
    for table in (LocalAccount, PasswordLink, SecondFactor, Passkey, PasskeyChallenge, WebSession):
        assert session.query(table).filter(table.person_id == invitation.request.person_id).count() == 0


def test_former_usernames_go_from_the_lists_and_the_name_of_who_made_one(portal, company, clock):
    company.person("erika.musterfrau")
    with portal.database.transaction() as session:
        person = people.by_username(session, "erika.musterfrau")
        person.source, person.subject = DIRECTORY, "1"
        campaigns.check(
            Cases(session, portal), "list", [(2, "erika.musterfrau")], Asker(f"helpdesk:{person.id}", "E. M.")
        )
    with portal.database.transaction() as session:
        found = Found(DIRECTORY, "1", "erika.meier", "Erika Meier", "erika@example.com")
        syncing.sync(session, portal.settings, found, clock())
    with portal.database.transaction() as session:
        assert session.scalars(select(CampaignEntry.username)).all() == ["erika.meier"]
        closing.erase(Cases(session, portal), people.by_username(session, "erika.meier"), "admin:x")
    with portal.database.session() as session:
        assert session.scalars(select(CampaignEntry.username)).all() == [""]
        assert session.scalars(select(Campaign.asked_by)).all() == [""]


def test_nothing_of_them_stays_where_they_tried_somebody_elses_link(app, company, invitation, session, clock):
    erika, other = invitation.request.person_id, company.invite(company.person("max"))
    Browser(app).open_link(other).sign_in("erika")
    assert company.events(other)[-1] == ("sign_in.refused", "wrong_person")
    with company.portal.database.transaction() as writing:
        closing.erase(Cases(writing, company.portal), writing.get_one(Person, erika), "admin:x")
    details = [str(each.detail) for each in company.all_events()]
    assert not [each for each in details if "'erika'" in each]


def test_whoever_has_a_managed_device_is_not_erased_over_it(app, browser, company, invitation, clock):
    """Its work data would go unseen, past the brake; and nobody would know whose device still is under management."""
    phone(app).install(browser.walk_to("profile", invitation).download())
    with pytest.raises(people.DevicesManaged), company.portal.database.transaction() as writing:
        closing.erase(Cases(writing, company.portal), writing.get_one(Person, invitation.request.person_id), "admin:x")
    assert company.status(invitation) == "enrolled"


def test_the_profile_of_somebody_erased_is_gone_at_once(browser, company, invitation, clock):
    browser.walk_to("profile", invitation)
    ticket = browser.client.get("/enroll/profile.mobileconfig", base_url=BASE, headers=browser.headers).location
    with company.portal.database.transaction() as writing:
        closing.erase(Cases(writing, company.portal), writing.get_one(Person, invitation.request.person_id), "admin:x")
    assert Browser(browser.client.application).get(urlsplit(ticket).path).status == 404


def test_everything_that_is_personal_is_found_from_its_person():
    """A mark on a column whose table nothing ties to a person would be forgotten; so would a free text without one."""
    marked = {table.name: columns for table, columns in erasure.marked()}
    for table, _ in erasure.marked():
        assert erasure.whose(table, "id", select(EnrollmentRequest.id)) is not None
    free = {("people", "name"), ("people", "email"), ("enrollment_requests", "handed_note"), ("devices", "attributes")}
    assert {(table, column) for table, column in free if column not in marked[table]} == set()


def test_forgetting_a_closed_request_leaves_nothing_of_it_and_the_person_stays(
    app, browser, company, invitation, session, clock, configure
):
    portal = company.portal
    configure(retention__closed_requests_days=30)
    everything_of(portal, browser, app, company, invitation, clock)
    clock.forward(days=40)
    with portal.database.transaction() as writing:
        assert retention.forget_closed(Cases(writing, portal)) == 1
    assert audit.broken_links(portal.database) == []
    request = session.get_one(EnrollmentRequest, invitation.request.id)
    assert (request.handed_note, request.managed_apple_account) == (None, "")
    device = session.scalars(select(Device)).one()
    assert (device.attributes, device.apps, device.certificates, device.os_version) == ({}, [], [], None)
    assert session.get_one(Person, request.person_id).name == "Erika"
    with portal.database.transaction() as writing:
        assert (
            retention.forget_closed(Cases(writing, portal, clock() + timedelta(days=1))) == 0
        )  # it is not looked at again


def test_whoever_is_added_on_the_command_line_is_named_by_the_trail(app, company, session):
    arguments = ["people", "add", "boss", "--name", "Boss", "--email", "boss@example.com", "--role", "admin"]
    done = app.test_cli_runner().invoke(args=[*arguments, "--password", "seven quiet lamps"])
    assert done.exit_code == 0, done.output
    boss = session.scalar(select(Person).where(Person.username == "boss"))
    event = next(each for each in company.all_events() if each.kind == "person.added")
    assert (event.reason, event.detail["person"]) == ("admin", boss.id)


def test_a_profile_for_one_phone_waits_sealed_and_goes_when_it_is_answered_or_forgotten(app, portal, company, clock):
    invitation = company.invite(company.person("erika"))
    held = phone(app)
    held.install(company.profile(invitation))
    device = company.device(invitation)
    account = {"PayloadType": "com.apple.mail.managed", "PayloadVersion": 1, "PayloadIdentifier": "m",
               "PayloadUUID": "M", "EmailAccountType": "EmailTypeIMAP", "EmailAddress": "erika@example.com",
               "IncomingPassword": "her password", "IncomingMailServerHostName": "imap.example.com",
               "IncomingMailServerAuthentication": "EmailAuthPassword",
               "OutgoingMailServerHostName": "smtp.example.com",
               "OutgoingMailServerAuthentication": "EmailAuthPassword"}  # fmt: skip
    profile = plistlib.dumps(
        {"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "com.example.mail",
         "PayloadUUID": "P", "PayloadContent": [account]}
    )  # fmt: skip

    def kept():
        with portal.database.session() as session:
            asked = session.scalars(
                select(Command).where(Command.request_type == "InstallProfile").order_by(Command.id)
            )
            return [(b"erika@" in each.payload or b"UGF5bG9hZ" in each.payload, each.content_sealed) for each in asked]

    company.act_on(device.id, management.install_profile, profile, "admin:a")
    ((in_clear, sealed),) = kept()
    assert (in_clear, portal.vault.open(sealed)) == (False, profile)
    assert "InstallProfile" in held.connect()
    assert "com.example.mail" in held.profiles  # it came whole
    assert kept() == [(False, None)]
    company.act_on(device.id, management.install_profile, profile, "admin:a")
    company.act_on(device.id, ending.end, ending.Reason.GIVEN_UP)
    with portal.database.transaction() as session:
        closing.erase(Cases(session, portal), session.get_one(Person, invitation.request.person_id), "admin:a")
    assert kept() == [(False, None)] * 2
    with portal.database.session() as session:
        assert set(session.scalars(select(Command.payload))) == {b""}


def test_the_address_by_which_a_list_called_somebody_is_forgotten(portal, company):
    erika = company.person("erika")
    with portal.database.transaction() as session:
        lines = [(2, "Erika@Example.com"), (3, "erika@work.example.com"), (4, "erika"), (5, "erika2")]
        campaigns.check(Cases(session, portal), "Sales", lines, Asker("helpdesk:h", "Hilda"))
    with portal.database.transaction() as session:
        closing.erase(Cases(session, portal), session.get_one(Person, erika.id), "admin:a")
    with portal.database.session() as session:
        assert [each for each in session.scalars(select(CampaignEntry.username)) if each] == ["erika2"]


def test_a_profile_whose_answer_was_lost_is_sent_again_whole(app, portal, company):
    invitation = company.invite(company.person("erika"))
    phone(app).install(company.profile(invitation))
    device = company.device(invitation)
    web_clip = {"PayloadType": "com.apple.webClip.managed", "PayloadVersion": 1, "PayloadIdentifier": "w",
                "PayloadUUID": "W", "Label": "Intranet", "URL": "https://intranet.example.com"}  # fmt: skip
    profile = plistlib.dumps({"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "com.example.w",
                              "PayloadUUID": "P", "PayloadContent": [web_clip]})  # fmt: skip
    company.act_on(device.id, management.install_profile, profile, "admin:a")
    of_it = select(Command).where(Command.request_type == "InstallProfile").order_by(Command.id)
    with portal.database.transaction() as session:
        first = session.scalars(of_it).one()
        first.status = "sent"
        reconciling._ask_anew(Cases(session, portal).of_device(device.id), first)
    with portal.database.session() as session:
        before, after = session.scalars(of_it).all()
        assert (before.status, before.content_sealed) == ("answer_lost", None)
        assert (after.status, portal.vault.open(after.content_sealed)) == ("queued", profile)
