"""What an admin published reaches the phones of those who get it, once, and goes when it is taken away."""

from dataclasses import replace

from sqlalchemy import select

from portal import people
from portal.models import Command, DeclarativeState
from portal.people.audiences import Line
from portal.policies.content import new_part
from portal.storage import policies
from tests.factories import phone
from tests.pages import Browser
from tests.policies.conftest import EVERYBODY, mail, passcode, restrictions, wifi


def test_a_policy_reaches_a_phone_and_is_reported(held_policies, enrolled):
    policy = held_policies.make(
        "Basics", wifi(), mail(), passcode(), restrictions(allowOpenFromManagedToUnmanaged=False)
    )
    held, device = enrolled()
    assert held_policies.states(device) == {policy: ("applied", None)}
    told = {kind: each for (_, kind), each in held.declared.held.items()}
    installed = held.declared.profiles[f"policy.{policy}"]["profile"]["PayloadContent"]
    assert [each["SSID_STR"] for each in installed] == ["Work"]
    assert told["passcode"]["Payload"]["RequirePasscode"] is True
    merged = held.declared.profiles["restrictions"]["profile"]["PayloadContent"]
    assert [each["allowOpenFromManagedToUnmanaged"] for each in merged] == [False]
    account = next(each for each in told.values() if each["Type"].endswith("account.mail"))
    assert account["Payload"]["IncomingServer"]["HostName"] == "imap.example.com"
    who = next(each for each in told.values() if each["Type"].endswith("useridentity"))
    assert who["Payload"] == {"FullName": "Erika", "EmailAddress": "erika@example.com"}
    assert [each["UserName"] for each in held.declared.credentials.values()] == ["erika", "erika"]


def test_accounts_and_certificates_are_known_as_far_as_policies_put_them_there(
    held_policies, enrolled, app, company, clock
):
    root = new_part("com.apple.security.root", {"PayloadContent": b"0", "PayloadDisplayName": "Company CA"})
    policy = held_policies.make("Basics", mail(), root)
    _held, device = enrolled()
    with company.portal.database.session() as session:
        lists = session.get_one(DeclarativeState, device).known["lists"]
    assert [each["declaration-identifier"].split(".")[0] for each in lists["account.list.mail"].values()] == ["account"]
    assert [each["subject-summary"] for each in lists["security.certificate.list"].values()] == ["Company CA"]
    assert "private" not in str(lists)
    company.person("otto", "helpdesk")
    otto = Browser(app).staff_sign_in("otto", clock())
    otto.get(f"/helpdesk/devices/{device}")
    assert "Work accounts Mail account" in otto.text
    held_policies.audience(policy)
    held_policies.round()
    _held.connect()
    with company.portal.database.session() as session:
        lists = session.get_one(DeclarativeState, device).known["lists"]
    assert (lists["account.list.mail"], lists["security.certificate.list"]) == ({}, {})


def test_nothing_is_told_twice_and_only_what_changed_is_fetched(held_policies, enrolled):
    policy = held_policies.make("Basics", wifi(), passcode())
    other = held_policies.make("Mail", mail())
    held, _device = enrolled()
    assert held_policies.round() == (0, 0)
    assert held.connect() == []
    before = len(held.declared.fetched)
    held_policies.publish(policy, wifi("New"), passcode())
    assert held_policies.round() == (1, 1)
    held.connect()
    assert held.declared.fetched[before:] == [f"policy.{policy}"]
    installed = held.declared.profiles[f"policy.{policy}"]["profile"]["PayloadContent"]
    assert [each["SSID_STR"] for each in installed] == ["New"]
    assert f"policy.{other}" not in held.declared.profiles


def test_what_is_taken_away_goes_from_the_phone(held_policies, enrolled):
    policy = held_policies.make("Basics", wifi(), mail(), passcode())
    held, device = enrolled()
    held_policies.audience(policy)
    held_policies.round()
    held.connect()
    assert held.declared.profiles == {}
    assert held.declared.credentials == {}
    assert held_policies.states(device) == {}


def test_a_closed_room_takes_everything_away(held_policies, enrolled, configure):
    held_policies.make("Basics", wifi())
    held, _device = enrolled()
    held_policies.round()
    configure(policies__enabled=False)
    assert held_policies.round()[1] == 1
    held.connect()
    assert held.declared.profiles == {}


def test_a_trial_group_gets_a_version_first_and_it_can_be_stopped(held_policies, enrolled, company):
    erika, max_ = enrolled(), enrolled("max", 1)
    with company.portal.database.session() as session:
        erikas = people.by_username(session, "erika").id
    policy = held_policies.make("Basics", wifi("One"), audience=(*EVERYBODY, Line("pilot", "person", erikas)))
    held_policies.publish(policy, wifi("Two"), pilot=True)
    held_policies.round()
    ssids = []
    for held, _ in (erika, max_):
        held.connect()
        ssids.append(held.declared.profiles[f"policy.{policy}"]["profile"]["PayloadContent"][0]["SSID_STR"])
    assert ssids == ["Two", "One"]
    held_policies.change(policy, policies.settle_pilot, False)
    held_policies.round()
    erika[0].connect()
    assert erika[0].declared.profiles[f"policy.{policy}"]["profile"]["PayloadContent"][0]["SSID_STR"] == "One"


def test_an_old_ios_gets_profiles_by_command_once_and_loses_them(held_policies, app, company):
    policy = held_policies.make("Basics", wifi(), passcode(), mail())
    invitation = company.invite(company.person())
    held = phone(app)
    held.model = replace(held.model, os_version="14.8")
    held.install(company.profile(invitation))
    device = company.device(invitation).id
    assert held_policies.states(device) == {policy: ("applied", None)}
    assert len(held.profiles) == 2
    assert held.connect() == []
    assert held_policies.round() == (0, 0)
    with company.portal.database.session() as session:
        stored = [each.payload for each in session.scalars(select(Command)) if each.profile]
    assert stored
    assert not any(b"secret for Wi-Fi" in each for each in stored)
    held_policies.audience(policy)
    held_policies.round()
    assert held.connect() == ["RemoveProfile", "RemoveProfile"]
    assert held.profiles == {}


def test_a_phone_that_does_not_take_it_is_known_and_why(held_policies, enrolled):
    policy = held_policies.make("Basics", wifi())
    held, device = enrolled()
    held.declared.invalid.add(f"policy.{policy}")
    held.declared.report()
    assert held_policies.states(device) == {policy: ("failed", "Error.ConfigurationCannotBeApplied")}


def test_what_failed_is_sent_again_the_next_day_a_few_times(held_policies, enrolled, clock):
    policy = held_policies.make("Basics", wifi())
    held, device = enrolled()
    held.declared.invalid.add(f"policy.{policy}")
    held.declared.report()
    told = []
    for _ in range(6):
        clock.forward(days=1)
        told.append(held_policies.round()[1])
        held.connect()
    assert told == [1, 1, 1, 0, 0, 0]
    assert held_policies.states(device)[policy][0] == "failed"
    held_policies.publish(policy, wifi("Better"))
    held.declared.invalid.clear()
    held_policies.round()
    held.connect()
    assert held_policies.states(device) == {policy: ("applied", None)}


def test_a_phone_that_lost_what_it_was_told_gets_it_again_after_its_daily_report(held_policies, enrolled, clock):
    policy = held_policies.make("Basics", wifi(), mail())
    held, device = enrolled()
    clock.forward(hours=24)
    assert held_policies.round() == (0, 0)
    held.declared.token, held.declared.held, held.declared.profiles = "", {}, {}
    held.declared.report(full=True)
    assert held_policies.states(device) == {policy: ("waiting", None)}
    held.connect()
    assert f"policy.{policy}" in held.declared.profiles
    assert held_policies.states(device) == {policy: ("applied", None)}


def test_policies_that_disagree_become_the_stricter_one(held_policies, enrolled):
    held_policies.make("Loose", restrictions(allowScreenShot=True, forceEncryptedBackup=False))
    held_policies.make("Strict", restrictions(allowScreenShot=False, forceEncryptedBackup=True))
    held, _ = enrolled()
    (payload,) = held.declared.profiles["restrictions"]["profile"]["PayloadContent"]
    assert (payload["allowScreenShot"], payload["forceEncryptedBackup"]) == (False, True)


def test_another_name_reaches_the_phone_whoever_changed_it(held_policies, enrolled, company):
    held_policies.make("Mail", mail())
    held, _ = enrolled()
    with company.portal.database.transaction() as session:
        people.by_username(session, "erika").email = "new@example.com"
    assert held_policies.round()[1] == 1
    held.connect()
    told = [each for each in held.declared.held.values() if each["Type"].endswith("useridentity")]
    assert [each["Payload"]["EmailAddress"] for each in told] == ["new@example.com"]


def test_an_address_is_for_one_device_one_content_and_an_hour(held_policies, enrolled, app, company, clock):
    policy = held_policies.make("Basics", wifi())
    held, _device = enrolled()
    url = held.declared.held["configuration", f"policy.{policy}"]["Payload"]["ProfileURL"]
    path = url.removeprefix("https://portal.example.com")
    client = app.test_client()
    assert client.get(path).status_code == 200
    assert client.get(path[:-3] + "abc").status_code == 404
    assert client.get("/mdm/declared/" + "x" * 5000).status_code in (404, 414)
    held_policies.publish(policy, wifi("Other"))
    assert client.get(path).status_code == 404
    held_policies.round()
    held.connect()
    url = held.declared.held["configuration", f"policy.{policy}"]["Payload"]["ProfileURL"]
    path = url.removeprefix("https://portal.example.com")
    assert client.get(path).status_code == 200
    clock.forward(hours=1, seconds=1)
    assert client.get(path).status_code == 404


def test_a_secret_is_never_shown_and_asked_for_again_when_it_goes_elsewhere(held_policies, app, company, clock):
    policy = held_policies.make("Basics", wifi())
    company.person("ada", "admin")
    admin = Browser(app).staff_sign_in("ada", clock())
    admin.get(f"/admin/policies/{policy}")
    address = admin.soup.select_one(".profile a")["href"]
    admin.get(address)
    assert "secret for Wi-Fi" not in admin.response.get_data(as_text=True)
    form = admin.filled()
    admin.post(address, {**form, "SSID_STR": "Elsewhere"})
    assert "Enter this again" in admin.text
    admin.get(address)
    admin.post(address, {**admin.filled(), "AutoJoin": "yes"})
    assert "Saved as a draft" in admin.text
    admin.get(f"/admin/policies/{policy}/versions/1")
    assert "kept secret" in admin.text
    assert "secret for Wi-Fi" not in admin.text
