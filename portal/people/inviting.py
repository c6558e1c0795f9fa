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

    ``labels.FIELD`` has the words.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


REFUSALS: dict[type[Exception], str] = {
    UnknownPerson: "unknown_person",
    NoManagedAppleAccount: "no_managed_apple_account",
    TooManyDevices: "too_many_devices",
    SourceUnavailable: "directory_unavailable",
}


def by_username(cases: Cases, services: Services, username: str, source: str, by: Asker) -> Invitation:
    """Invite the person with that username, taken over from the directory if need be, in a transaction of its own.

    Raises NotInvited; that there is no Managed Apple Account is recorded for the helpdesk.
    """
    try:
        database = services.database
        found = corporate.look_up(database, services.sources, services.settings, username, cases.now)
        if found is None:
            raise UnknownPerson
        with database.transaction(cases.session):
            person = cases.session.get_one(Person, found.id)
            return invitations.invite(cases, person, source, by)
    except AccountProblem as problem:
        raise NotInvited(f"account_{problem.reason}") from None
    except tuple(REFUSALS) as refusal:
        raise NotInvited(REFUSALS[type(refusal)]) from refusal
