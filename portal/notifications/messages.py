"""What the portal mails, as complete messages ready to send."""

import io
import re
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import make_msgid

import segno

from portal import mail_addresses, texts
from portal.models import Device, EnrollmentRequest, Person
from portal.settings import Settings

_ENCODED = re.compile(r"=[\s?]*\?")
"""How an encoded word begins (RFC 2047): Python would decode it in a header's text, line breaks in it, too."""
PHONE = "X-Phone"
"""The header of a text message that holds the number; ``To`` would be taken for an address."""


def invitation(
    settings: Settings, request: EnrollmentRequest, url: str, passcode: str, asked_by: str, message: str = ""
) -> EmailMessage:
    """The enrollment request: link, QR code, passcode, expiry, and who asked for it; ``message`` in front, if any."""
    values = {
        "person": request.person,
        "url": url,
        "passcode": passcode,
        "expires_at": request.expires_at,
        "asked_by": asked_by,
        "opening": _opening(settings, "mail_invitation", request.person, asked_by),
        "message": [each.strip() for each in message.split("\n\n") if each.strip()],
    }
    mail = _message(settings, request, "invitation", values)
    html = mail.get_payload()[1]  # type: ignore[index]
    html.add_related(qr_png(url), "image", "png", cid="<qr>", filename="qr.png")  # type: ignore[union-attr]
    return mail


def new_passcode(settings: Settings, request: EnrollmentRequest, passcode: str) -> EmailMessage:
    """A passcode on its own: sent again, or for a self-enrollment. In the language of the page that waits for it."""
    language = request.language or request.person.locale
    values = {
        "person": request.person,
        "passcode": passcode,
        "expires_at": request.expires_at,
        "opening": _opening(settings, "mail_passcode", request.person, language=language),
        "url": settings.url("/enroll"),
    }
    return _to(settings, request.person, "passcode", values, language)


def left(settings: Settings, request: EnrollmentRequest, device: Device, reason: str) -> EmailMessage:
    """The enrollment of ``device`` is over: why, what was removed, what was not touched."""
    values = {"person": request.person, "device": device, "reason": reason}
    return _message(settings, request, "left", values)


def password_link(settings: Settings, person: Person, url: str) -> EmailMessage:
    """A one-time link that sets a local password."""
    return _to(settings, person, "password", {"person": person, "url": url})


def text_invitation(settings: Settings, request: EnrollmentRequest, url: str) -> EmailMessage:
    """The link as a text message; the passcode is not in it, so that the two come by two ways."""
    person = request.person
    values = {"company": settings.company.name, "name": person.name, "link": url}
    own = settings.texts.own("sms_invitation", person.locale, values)
    text = " ".join(own) or texts.render("mail/text.txt", person.locale, company=settings.company, url=url)
    return _text(person.phone or "", text)


def trial_text(settings: Settings, number: str, locale: str) -> EmailMessage:
    """A text message that shows an admin that the gateway works."""
    return _text(number, texts.render("mail/trial.subject.txt", locale, company=settings.company))


def _text(number: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message[PHONE], message["Subject"] = number, "SMS"
    message.set_content(" ".join(text.split()))
    return message


def alert(settings: Settings, name: str, who: str, url: str) -> EmailMessage:
    """What happened (``name`` of ``alerts.KINDS``), to whom, and where to look; to helpdesk's own address."""
    helpdesk = Person(name="", email=settings.company.support_email, locale=settings.languages[0])
    return _to(settings, helpdesk, "alert", {"name": name, "who": who, "url": url})


def security(settings: Settings, person: Person, name: str, who: str, at: datetime) -> EmailMessage:
    """Something changed about who gets in (``name`` of ``alerts.TO_ADMINS`` or ``TO_THE_PERSON``), about ``who``."""
    values = {"person": person, "name": name, "who": who, "at": at, "url": settings.url("/admin")}
    return _to(settings, person, "security", values)


def trial(settings: Settings, person: Person) -> EmailMessage:
    """A mail that shows an admin that mail works."""
    return _to(settings, person, "trial", {"person": person})


def qr_png(url: str) -> bytes:
    """``url`` as a QR code, PNG with a quiet zone, for a mail."""
    buffer = io.BytesIO()
    segno.make(url, error="m", micro=False).save(buffer, kind="png", scale=6, border=4)
    return buffer.getvalue()


def qr_svg(url: str) -> str:
    """``url`` as a QR code, one SVG element for a page; black on white in any colour scheme."""
    code = segno.make(url, error="m", micro=False)
    return code.svg_inline(border=4, scale=1, omitsize=True, light="#fff", dark="#000", svgclass="qr", lineclass=None)


def _opening(settings: Settings, name: str, person: Person, asked_by: str = "", language: str = "") -> list[str]:
    """The company's own first words of a mail, if it has any in ``language``, else the person's."""
    values = {"company": settings.company.name, "name": person.name, "asked_by": asked_by}
    return settings.texts.own(name, language or person.locale, values)


def _message(settings: Settings, request: EnrollmentRequest, name: str, values: dict[str, object]) -> EmailMessage:
    return _to(settings, request.person, name, values)


def _to(settings: Settings, person: Person, name: str, values: dict[str, object], locale: str = "") -> EmailMessage:
    locale = locale or person.locale
    common = {"company": settings.company, **values}
    message = EmailMessage()
    name_of_sender, sender = mail_addresses.named(settings.mail.sender)
    message["From"] = Address(name_of_sender, addr_spec=sender)
    message["To"] = mail_addresses.usable(person.email)  # empty: the outbox gives it up, and helpdesk sees it
    subject = " ".join(texts.render(f"mail/{name}.subject.txt", locale, **common).split())
    message["Subject"] = _ENCODED.sub("=", subject)
    # Stable over retries, so that a mail sent twice arrives once; without the sending host's name.
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(texts.render(f"mail/{name}.txt", locale, **common) + "\n")
    message.add_alternative(texts.render(f"mail/{name}.html", locale, **common), subtype="html")
    return message
