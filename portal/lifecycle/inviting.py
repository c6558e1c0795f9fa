"""Inviting somebody by their username: one way for page, API and command line, and one table of its refusals."""

from portal.credentials import sign_in as corporate
from portal.credentials.base import AccountProblem, SourceUnavailable
from portal.credentials.sign_in import Services
from portal.enrollment import invitations
from portal.enrollment.errors import NoManagedAppleAccount, TooManyDevices, UnknownPerson
from portal.enrollment.invitations import Asker, Invitation
from portal.models import Person
from portal.storage.cases import Cases


class NotInvited(Exception):
    """Why somebody cannot be invited: ``code`` is one of ``REFUSALS``, or ``account_`` with what is wrong there.

    ``labels.FIELD`` has the words. ``request_id``: the request that is open already, if that is why.
    """

    def __init__(self, code: str, request_id: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.request_id = request_id


REFUSALS: dict[type[Exception], str] = {
    UnknownPerson: "unknown_person",
    NoManagedAppleAccount: "no_managed_apple_account",
    TooManyDevices: "too_many_devices",
    SourceUnavailable: "directory_unavailable",
}
INVITED_ALREADY = "open_request"


def by_username(cases: Cases, services: Services, username: str, source: str, by: Asker) -> Invitation:
    """Invite the person with that username, taken over from the directory if need be, in a transaction of its own.

    Whoever has an open request gets no second one: two mails with two links and passcodes only go wrong. Raises
    NotInvited; that there is no Managed Apple Account is recorded for the helpdesk.
    """
    try:
        database = services.database
        found = corporate.look_up(database, services.sources, services.settings, username, cases.now)
        if found is None:
            raise UnknownPerson
        with database.transaction(cases.session):
            person = cases.session.get_one(Person, found.id)
            cases.one_at_a_time(person)
            if (known := cases.open_of(person)) is not None:
                raise NotInvited(INVITED_ALREADY, known.request.id)
            return invitations.invite(cases, person, source, by)
    except AccountProblem as problem:
        raise NotInvited(f"account_{problem.reason}") from None
    except tuple(REFUSALS) as refusal:
        raise NotInvited(REFUSALS[type(refusal)]) from refusal
