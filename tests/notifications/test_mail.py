"""Mails: what they say, and that none is lost when the server is away."""

import email
import email.policy

import pytest
import segno

from portal.models import OutboxMessage
from portal.notifications import outbox
from portal.notifications.email import FileTransport, NotDelivered, Undeliverable
from portal.notifications.messages import qr_png


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
