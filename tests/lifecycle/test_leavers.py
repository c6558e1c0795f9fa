"""Who left is noticed by their own account, whatever the directory says of others."""

import pytest
from sqlalchemy import select

from portal.credentials.base import DIRECTORY, AccountStatus, SourceUnavailable
from portal.credentials.directory import _check_usable
from portal.credentials.ldap_connections import Entry
from portal.lifecycle import leavers
from portal.models import Person
from tests.factories import phone

pytestmark = pytest.mark.each_database


class Answers:
    """A directory that answers by username; what is an exception is raised."""

    def __init__(self, **answers):
        self.answers = answers

    def account_status(self, username):
        answer = self.answers[username]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def enrolled(app, portal, company, clock):
    """Makes somebody of the directory who has a device, by username and the directory's key for them."""

    def make(username, subject):
        number = len(made)
        made.append(username)
        phone(app, number).install(company.profile(company.invite(company.person(username))))
        with portal.database.transaction() as session:
            person = session.scalar(select(Person).where(Person.username == username))
            person.source, person.subject, person.synced_at = DIRECTORY, subject, clock()
        clock.forward(minutes=1)

    made: list[str] = []
    return make


def disabled(portal):
    with portal.database.session() as session:
        return set(session.scalars(select(Person.username).where(Person.disabled_at.is_not(None))))


def test_a_closed_account_of_somebody_else_who_has_the_old_username_costs_nobody_their_work_data(
    portal, enrolled, clock
):
    enrolled("erika", "1")
    clock.forward(hours=2)
    leavers.check_accounts(portal.database, portal, Answers(erika=AccountStatus("disabled", "2")), clock())
    assert disabled(portal) == set()
    clock.forward(hours=2)
    leavers.check_accounts(portal.database, portal, Answers(erika=AccountStatus("disabled", "1")), clock())
    assert disabled(portal) == {"erika"}


@pytest.mark.parametrize("odd", [SourceUnavailable("search", "adminLimitExceeded"), ValueError("undreamt of")])
def test_who_left_is_noticed_whatever_is_wrong_with_somebody_else(portal, enrolled, clock, odd):
    enrolled("anna", "1")
    enrolled("bert", "2")
    clock.forward(hours=2)
    leavers.check_accounts(portal.database, portal, Answers(anna=odd, bert=AccountStatus("expired", "2")), clock())
    assert disabled(portal) == {"bert"}


def test_a_directory_out_of_reach_is_asked_once(portal, enrolled, clock):
    enrolled("anna", "1")
    enrolled("bert", "2")
    clock.forward(hours=2)
    gone = Answers(anna=SourceUnavailable("timeout"), bert=AccountStatus("expired", "2"))
    assert leavers.check_accounts(portal.database, portal, gone, clock()) == 0
    assert disabled(portal) == set()


@pytest.mark.parametrize("written", ["²", "1" * 5000, "", "0x2", "-", "٢"])
@pytest.mark.parametrize("attribute", ["useraccountcontrol", "accountexpires", "pwdlastset"])
def test_a_number_that_is_none_tells_nothing(attribute, written, clock):
    _check_usable(Entry("uid=x", {attribute: [written.encode()]}), clock())
