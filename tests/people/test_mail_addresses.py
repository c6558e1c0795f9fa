"""An address that no mail can be sent to comes in by no door, and one that is there stops nobody else's mail."""

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from portal import audit, jobs, mail_addresses
from portal.credentials import syncing
from portal.credentials.base import Found
from portal.events import Event
from portal.models import OutboxMessage
from portal.settings.schema import Company, Mail
from tests.pages import Browser

UNUSABLE = ("a@[", '=@,"', "max@[10.0.0.1", "max@[10.0.0.1]", "a@b\nBcc: x@example.com", "a@b@c", "a@", "@b", "a",
            "a b@example.com", '"a b"@example.com', "a,b@example.com", "Max <max@example.com>", "a@b.com, c@d.com",
            "a@b.com;", "max@ex ample.com", "jörg@example.com", "max@müller.example", "=?utf-8?q?a?=@example.com",
            "a..b@example.com", ".a@example.com", "a@-b.com", "a@b..com", "a@b\u2028.com", "a@b\x00.com",
            "x" * 65 + "@example.com", "a@" + "b" * 250 + ".com", "a@example.com\udc80", "a" * 100_000)  # fmt: skip
USABLE = ("max@example.com", "o'neil@example.com", "a+b@example.com", "a.b-c_d@sub.example.com", "root@localhost",
          "x" * 64 + "@example.com")  # fmt: skip


@pytest.mark.parametrize("told", UNUSABLE)
def test_what_is_no_address_is_none(told):
    assert mail_addresses.usable(told) == ""


@pytest.mark.parametrize("told", USABLE)
def test_an_address_stays_as_it_is(told):
    assert mail_addresses.usable(f" {told} ") == told


NEARLY = st.text(alphabet="ab.@-_+='\"()<>[],:;\\ é\n?", max_size=20)
GOOD = st.text(alphabet="aZ9.!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=20).map(lambda name: f"{name}@example.com")


@given(NEARLY | GOOD)
def test_what_counts_as_an_address_comes_through_a_message_unchanged(told):
    address = mail_addresses.usable(told)
    if not address:
        return
    message = EmailMessage()
    message["To"] = address
    message.set_content("x")
    read = message_from_bytes(message.as_bytes(), policy=policy.default)
    assert [each.addr_spec for each in read["To"].addresses] == [address]


@pytest.mark.parametrize("told", ["x <a@[>", "IT, Enroll <it@example.com>", "nobody", "a@b\nBcc: x", "<a@b@c>"])
def test_a_sender_is_an_address_perhaps_with_a_name(told, settings):
    with pytest.raises(ValidationError):
        Mail(**{**settings.mail.model_dump(), "sender": told})
    for good in ("it@example.com", '"IT, Enroll" <it@example.com>', "Zoë <it@example.com>"):
        Mail(**{**settings.mail.model_dump(), "sender": good})


@pytest.mark.parametrize("told", UNUSABLE)
def test_no_setting_takes_one(told, settings):
    with pytest.raises(ValidationError):
        Company(**{**settings.company.model_dump(), "support_email": told})


@pytest.mark.parametrize("told", ["a@[", '=@,"', "max@[10.0.0.1", "Max <max@example.com>", "a@b@c"])
class TestNoDoorTakesOne:
    def test_the_people_page(self, app, company, clock, told):
        company.person("adam", role="admin")
        admin = Browser(app).staff_sign_in("adam", clock())
        form = admin.get("/admin/people").filled(holding="username")
        admin.post("/admin/people", form | {"username": "new", "name": "New", "email": told})
        assert admin.status == 422
        assert admin.error_of("email") == "Enter an e-mail address, like name@example.com."

    def test_the_command(self, app, company, portal, told):
        done = app.test_cli_runner().invoke(
            args=["people", "add", "new", "--name", "New", "--email", told, "--password", "x" * 20]
        )
        assert done.exit_code == 1
        assert "cannot be an e-mail address" in done.output

    def test_a_file(self, app, company, portal, tmp_path, told):
        file = tmp_path / "people.csv"
        quoted = told.replace('"', '""')
        file.write_text(f'username,name,email\nnew,New,"{quoted}"\n')
        done = app.test_cli_runner().invoke(args=["people", "import", str(file)])
        assert done.exit_code == 1
        assert "line 2" in done.output
        assert "cannot be an e-mail address" in done.output

    def test_a_directory_or_provider(self, portal, told, clock):
        found = Found(source="directory", subject="1", username="new", name="New", email=told)
        with portal.database.transaction() as session:
            person, _ = syncing.sync(session, portal.settings, found, clock())
            assert person.email == ""


@pytest.mark.parametrize("stored", ["a@[", '=@,"', "a@b\nBcc: x@example.com", ""])
def test_an_address_from_before_stops_nobody_else_s_mail(app, portal, company, session, clock, stored):
    """It came in with an earlier version, or by hand."""
    worker = jobs.Worker(portal.live.base)
    company.person("ada", "admin")
    lost = company.person("lost", "admin", email=stored, managed_apple_account="lost@work.example.com")
    worker.every_minute()
    clock.forward(seconds=10)
    for person in (lost, company.person("erika")):
        with portal.database.transaction() as writing:
            detail = {"person": person.id}
            audit.record(writing, audit.SETTINGS, Event.PASSKEY_ADDED, clock(), detail=detail)
    invited = company.invite(lost)
    for _ in range(2):
        clock.forward(seconds=10)
        worker.every_minute()
    mails = [path.read_text() for path in (portal.settings.data / "outbox").glob("*.eml")]
    assert sum("To: ada@example.com" in each for each in mails) == 2
    assert sum("To: erika@example.com" in each for each in mails) == 1
    assert all("\nBcc:" not in each for each in mails)
    given_up = session.query(OutboxMessage).filter(OutboxMessage.failed_at.is_not(None)).all()
    assert {each.last_error for each in given_up} == {"no usable address"}
    assert ("mail.failed", "invitation") in company.events(invited)
