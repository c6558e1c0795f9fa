"""What an admin published reaches the phones of those who get it, once, and goes when it is taken away."""

import pytest

from tests.factories import phone
from tests.pages import Browser
from tests.policies.conftest import EVERYBODY, mail, passcode, restrictions, wifi


@pytest.fixture
def enrolled(app, company):
    """Enrolls somebody's phone; the phone and its device."""

    def enroll(username="erika", number=0, ios=17):
        invitation = company.invite(company.person(username))
        held = phone(app, number, ios=min(ios, 17))
        held.model.os_version
        held.install(Browser(app).walk_to("profile", invitation).download())
        return held, company.device(invitation).id

    return enroll


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
