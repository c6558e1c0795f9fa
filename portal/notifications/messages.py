"""What the portal mails, as complete messages ready to send."""

import io
from email.message import EmailMessage
from email.utils import make_msgid, parseaddr

import segno

from portal import texts
from portal.models import EnrollmentRequest, Person
from portal.settings import Settings


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
    """A passcode on its own: sent again, or for a self-enrollment."""
    opening = _opening(settings, "mail_passcode", request.person)
    values = {"person": request.person, "passcode": passcode, "expires_at": request.expires_at, "opening": opening}
    return _message(settings, request, "passcode", values)


def password_link(settings: Settings, person: Person, url: str) -> EmailMessage:
    """A one-time link that sets a local password."""
    return _to(settings, person, "password", {"person": person, "url": url})


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


def _opening(settings: Settings, name: str, person: Person, asked_by: str = "") -> list[str]:
    """The company's own first words of a mail, if it has any in the person's language."""
    values = {"company": settings.company.name, "name": person.name, "asked_by": asked_by}
    return settings.texts.own(name, person.locale, values)


def _message(settings: Settings, request: EnrollmentRequest, name: str, values: dict[str, object]) -> EmailMessage:
    return _to(settings, request.person, name, values)


def _to(settings: Settings, person: Person, name: str, values: dict[str, object]) -> EmailMessage:
    locale = person.locale
    common = {"company": settings.company, **values}
    message = EmailMessage()
    message["From"] = settings.mail.sender
    message["To"] = person.email
    message["Subject"] = " ".join(texts.render(f"mail/{name}.subject.txt", locale, **common).split())
    # Stable over retries, so that a mail sent twice arrives once; without the sending host's name.
    message["Message-ID"] = make_msgid(domain=parseaddr(settings.mail.sender)[1].rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(texts.render(f"mail/{name}.txt", locale, **common) + "\n")
    message.add_alternative(texts.render(f"mail/{name}.html", locale, **common), subtype="html")
    return message
