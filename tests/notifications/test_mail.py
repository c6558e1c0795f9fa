"""Mails: what they say, and that none is lost when the server is away."""

import email
import email.policy
import smtplib
from email import message_from_bytes
from types import SimpleNamespace

import pytest
import segno
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from portal import clock as portal_clock
from portal.models import OutboxMessage, Person
from portal.notifications import messages, outbox
from portal.notifications.email import FileTransport, NotDelivered, SmtpTransport, Undeliverable
from portal.notifications.messages import qr_png
from portal.settings import load


class Failing:
    """A transport that fails as told, then delivers."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.sent = []

    def send(self, message_id, message, now):
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(message)


@pytest.fixture
def invitation(company):
    return company.invite(company.person())


def deliver(company, transport):
    return outbox.deliver_due(company.portal.database, company.portal.vault, transport)


def mail(company):
    with company.portal.database.session() as session:
        return session.query(OutboxMessage).one()


def test_the_invitation_carries_link_passcode_qr_expiry_and_who_asked(company, invitation):
    transport = Failing()
    deliver(company, transport)
    message = transport.sent[0]
    text = message.get_body(("plain",)).get_content()
    html = message.get_body(("html",)).get_content()
    link = f"https://portal.example.com/e/{invitation.token}"
    for body in (text, html):
        assert link in body
        assert invitation.passcode in body
        assert "Helpdesk invites you" in body
        assert "March 9, 2026" in body
    picture = next(part for part in message.walk() if part.get_content_type() == "image/png")
    assert picture["Content-ID"] == "<qr>"
    assert picture.get_content().startswith(b"\x89PNG")
    assert message["To"] == "erika@example.com"


def test_the_qr_code_leads_to_the_link(company, invitation, tmp_path):
    link = f"https://portal.example.com/e/{invitation.token}"
    code = segno.make(link, error="m", micro=False)
    assert qr_png(link).startswith(b"\x89PNG")
    assert code.symbol_size(border=0)[0] >= 21


def test_what_waits_in_the_outbox_is_sealed_and_what_is_sent_is_gone(company, invitation):
    waiting = mail(company)
    assert invitation.passcode.encode() not in waiting.content_sealed
    assert waiting.content_sealed.startswith(b"gAAAA")
    deliver(company, Failing())
    assert mail(company).content_sealed is None


def test_a_mail_that_cannot_be_delivered_is_tried_again_with_growing_waits(company, invitation, clock):
    transport = Failing(NotDelivered("down"), NotDelivered("down"), NotDelivered("down"))
    waits = []
    for _ in range(3):
        assert deliver(company, transport) == 1
        assert deliver(company, transport) == 0  # not before its time
        waits.append((mail(company).next_attempt_at - clock()).total_seconds() / 60)
        clock.time = mail(company).next_attempt_at
    assert waits == [1, 2, 5]
    deliver(company, transport)
    assert len(transport.sent) == 1
    kinds = [kind for kind, _ in company.events(invitation)]
    assert kinds == ["request.created", "mail.delayed", "mail.sent"]


def test_one_refused_address_does_not_stop_the_others(company, invitation):
    company.invite(company.person("max"))
    transport = Failing(Undeliverable("address refused (550)"))
    deliver(company, transport)
    assert [message["To"] for message in transport.sent] == ["max@example.com"]
    assert ("mail.failed", "invitation") in company.events(invitation)


def test_a_broken_mail_does_not_stop_the_others(company, invitation):
    company.invite(company.person("max"))
    transport = Failing(RuntimeError("bug"))
    deliver(company, transport)
    assert len(transport.sent) == 1


def test_a_server_that_keeps_everybody_waiting_is_left_alone_until_the_next_round(company, invitation, monkeypatch):
    for name in ("max", "anna", "tom"):
        company.invite(company.person(name))
    with company.portal.database.transaction() as session:
        session.scalars(select(OutboxMessage).order_by(OutboxMessage.id.desc())).first().kind = outbox.TEXT
    seconds = [0]
    monkeypatch.setattr(outbox, "time", SimpleNamespace(monotonic=lambda: seconds[0]))

    class Silent:
        def send(self, message_id, message, now):
            seconds[0] += 15
            raise NotDelivered("mail server: TimeoutError")

    gateway = Failing()
    assert outbox.deliver_due(company.portal.database, company.portal.vault, Silent(), gateway) == 3
    assert len(gateway.sent) == 1
    with company.portal.database.session() as session:
        waiting = select(OutboxMessage.attempts).where(OutboxMessage.sent_at.is_(None)).order_by(OutboxMessage.attempts)
        assert session.scalars(waiting).all() == [0, 1, 1]


def test_a_worker_that_dies_while_sending_loses_nothing(company, invitation, clock):
    with pytest.raises(KeyboardInterrupt):
        deliver(company, Failing(KeyboardInterrupt()))
    transport = Failing()
    assert deliver(company, transport) == 0  # leased
    clock.forward(minutes=2)
    deliver(company, transport)
    assert len(transport.sent) == 1


def test_a_mail_sent_again_after_a_crash_has_the_same_message_id(company, invitation, clock):
    with pytest.raises(KeyboardInterrupt):
        deliver(company, Failing(KeyboardInterrupt()))
    ids = []
    for _ in range(2):
        content = company.portal.vault.open(mail(company).content_sealed)
        ids.append(email.message_from_bytes(content, policy=email.policy.default)["Message-ID"])
    assert len(set(ids)) == 1
    assert ids[0].endswith("@example.com>")


def test_the_demo_writes_files(company, invitation, tmp_path):
    deliver(company, FileTransport(tmp_path / "outbox"))
    (file,) = (tmp_path / "outbox").glob("*.eml")
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert invitation.passcode in message.get_body(("plain",)).get_content()


def test_a_full_disk_keeps_the_mail(company, invitation, tmp_path):
    (tmp_path / "outbox").write_text("a file where the folder should be")
    deliver(company, FileTransport(tmp_path / "outbox"))
    assert mail(company).last_error.startswith("cannot write")
    assert mail(company).content_sealed


def test_a_person_gets_mail_in_their_language(company, session):
    person = company.person()
    with company.portal.database.transaction() as writing:
        writing.merge(person).locale = "de"
    with company.portal.database.session() as reading:
        person = reading.get(type(person), person.id)
    company.invite(person)
    transport = Failing()
    deliver(company, transport)
    assert "iPhone für die Arbeit" in transport.sent[0]["Subject"]
    assert "9. März 2026" in transport.sent[0].get_body(("plain",)).get_content()


SETTINGS = load(public_url="https://portal.example.com")
RESENT = "=?utf-8?q?x=0AResent-Date:_x=0AResent-From:_m=40e.example=0AResent-To:_m=40e.example?="
PIECES = (
    "=?utf-8?q?",
    "=?utf-8?b?",
    "?=",
    "=",
    "?",
    " ",
    "=0D=0A",
    "DQpCY2M6IGE=",
    "Bcc:_x=40e.example",
    "é",
    "a" * 70,
)
INSIDE = ("=0D=0ABcc:_x=40e.example", "=0ATo:_x=40e.example", "=0D=0A=0D=0A", "=0D", "x_", "?", "=3D=3F")
WORDS = st.lists(st.sampled_from(INSIDE), max_size=3).map(lambda each: f"=?utf-8?q?{''.join(each)}?=")


@given(pieces=st.lists(st.sampled_from(PIECES) | WORDS | st.characters(exclude_categories=["C"]), max_size=8))
def test_no_name_writes_a_header(pieces):
    """Python decodes what looks like an encoded word (RFC 2047), line breaks in it, too."""
    ada = Person(name="Ada", email="ada@example.com", locale="en")
    made = messages.security(SETTINGS, ada, "admin_made", "".join(pieces), portal_clock.now())
    headers, kept = made.keys(), made.as_bytes()
    for _ in range(3):  # written, read and written again on its way
        read = message_from_bytes(kept, policy=email.policy.default)
        assert (read.keys(), read["To"], read.is_multipart()) == (headers, "ada@example.com", True)
        kept = read.as_bytes(policy=email.policy.SMTP)


@pytest.mark.parametrize("name", [RESENT, "=?utf-8?q?x=0D=0ABcc:_evil=40e.example?="])
def test_a_mail_goes_to_whom_it_is_for_only(portal, monkeypatch, name):
    sent = []

    class Server(smtplib.SMTP):
        def ehlo_or_helo_if_needed(self):
            """It is no real one."""

        def sendmail(self, sender, recipients, *_more):
            sent.append(recipients)

    monkeypatch.setattr(SmtpTransport, "_connect", lambda self: Server())
    ada = Person(name="Ada", email="ada@example.com", locale="en")
    made = messages.security(portal.settings, ada, "admin_made", name, portal_clock.now())
    again = message_from_bytes(made.as_bytes(), policy=email.policy.default)
    SmtpTransport(portal.settings.mail).send("id", again, portal_clock.now())
    assert sent == [["ada@example.com"]]
