"""What people would see with settings that are typed but not saved."""

from flask import Response, g
from flask.typing import ResponseReturnValue

from portal import clock
from portal.enrollment.journey import Way
from portal.extensions import current_portal, db_session
from portal.models import EnrollmentRequest, Person
from portal.notifications import messages
from portal.settings import Settings
from portal.storage.cases import Cases, CaseServices
from portal.web import i18n
from portal.web.brand import logo_of
from portal.web.employee import finish, forms, overview, ownership, privacy
from portal.web.employee.steps import Page
from portal.web.own_texts import paragraphs

SAMPLE_ACCOUNT = "name@work.example.com"
MAILS = {"mail_invitation": "invitation", "mail_passcode": "passcode"}


def show(settings: Settings, what: str, admin: Person) -> ResponseReturnValue:
    """A page of the employee, or a mail as text, with ``settings``; nothing on it can be used."""
    if what in MAILS:
        return _mail(settings, what, admin)
    g.preview = True
    return _page(settings, what).html(
        company=settings.company,
        logo=logo_of(settings.company.logo),
        own_text=lambda name: paragraphs(settings, name),
    )


def _page(settings: Settings, what: str) -> Page:
    """The step's own page, for a request that nobody made."""
    now = clock.now()
    request = EnrollmentRequest(managed_apple_account=SAMPLE_ACCOUNT, expires_at=now)
    case = Cases(db_session, CaseServices(settings, current_portal.vault), now).view(request)
    if what == "privacy":
        return privacy.shown(forms.AcknowledgeForm())
    if what == "overview":
        return overview.shown(case, forms.ContinueForm(), Way.PROFILE)
    if what == "finish":
        request.enrolled_at = now
        return finish.shown(case, Way.PROFILE)
    return ownership.shown(case, forms.OwnershipForm())


def _mail(settings: Settings, what: str, admin: Person) -> ResponseReturnValue:
    """The mail as it would go to the admin, in the language of this page."""
    reader = Person(name=admin.name, email=admin.email, username=admin.username, locale=i18n.current())
    request = EnrollmentRequest(person=reader, expires_at=clock.now())
    if what == "mail_passcode":
        message = messages.new_passcode(settings, request, "123456")
    else:
        message = messages.invitation(settings, request, settings.url("/e/..."), "123456", admin.name)
    body = message.get_body(("plain",))
    text = f"{message['Subject']}\n\n{body.get_content() if body else ''}"
    return Response(text, mimetype="text/plain")
