"""Who signs out, or loses their rights, while a request of theirs is under way or waits: it changes nothing."""

import re
import threading

import pyotp
import pytest
from sqlalchemy import delete, select

from portal import people
from portal.lifecycle import closing
from portal.models import AuditEvent, Person, SecondFactor, WebSession
from portal.storage.cases import Cases
from tests.credentials.test_doors import Doors
from tests.factories import PASSWORD
from tests.pages import BASE, Browser

MOST_TRANSACTIONS = 7


@pytest.fixture
def sign_out(portal):
    """What happens when somebody signs out elsewhere."""

    def of(person):
        with portal.database.transaction() as session:
            session.execute(delete(WebSession).where(WebSession.person_id == person.id))

    return of


def post(browser, path, told):
    """As the script of a page with passkeys does it."""
    token = browser.soup.find(attrs={"data-token": True})["data-token"]
    return browser.client.post(path, json=told, base_url=BASE, headers={**browser.headers, "X-CSRFToken": token})


@pytest.mark.parametrize("number", range(1, MOST_TRANSACTIONS))
@pytest.mark.parametrize("door", ["confirm", "confirm_by_passkey", "second_page", "passkey", "set_up", "passcode"])
def test_a_request_under_way_while_somebody_signs_out_signs_nobody_in(
    app, company, portal, clock, ada, keys, meanwhile, sign_out, door, number
):
    person, code = ada, Doors(app, company, clock, ada).code
    if door == "passcode":
        person = company.person()
        invitation = company.invite(person)
        browser = Browser(app).walk_to("passcode", invitation)
    elif door.startswith("confirm"):
        browser = Browser(app).staff_sign_in("ada", clock())
        clock.forward(minutes=11)
        browser.get("/staff/confirm")
    else:
        person = company.person("bea", "admin") if door == "set_up" else ada
        if door == "set_up":
            with portal.database.transaction() as session:
                session.execute(delete(SecondFactor).where(SecondFactor.person_id == person.id))
        fields = {"username": person.username, "password": PASSWORD, "code": ""}
        browser = Browser(app).get("/staff/sign-in")
        browser.post("/staff/sign-in", {**browser.filled(), **fields}, follow=door != "set_up")
    right = code(True)
    count = meanwhile(number, lambda: sign_out(person))
    if door == "confirm":
        status = browser.submit(proof_code=right).status
    elif door == "confirm_by_passkey":
        status = post(browser, "/staff/confirm/passkey", {"credential": {"good": True}}).status_code
    elif door == "second_page":
        status = browser.submit(code=right).status
    elif door == "passkey":
        status = post(browser, "/staff/second-factor/passkey", {"credential": {"good": True}}).status_code
    elif door == "set_up":
        status = browser.get("/staff/second-factor").status
    else:
        status = browser.submit(passcode=invitation.passcode).status
    assert status < 500
    assert count() < MOST_TRANSACTIONS
    if count() >= number:
        with portal.database.session() as session:
            assert session.scalars(select(WebSession)).all() == []


@pytest.mark.parametrize("number", range(1, 3))
def test_whoever_only_has_the_password_replaces_no_factor_that_is_set_up_meanwhile(
    app, company, portal, clock, meanwhile, number
):
    bea = company.person("bea", "admin")
    with portal.database.transaction() as session:
        session.execute(delete(SecondFactor).where(SecondFactor.person_id == bea.id))
    thief, owner = (
        Browser(app).get("/staff/sign-in").submit(username="bea", password=PASSWORD, code="") for _ in range(2)
    )
    theirs, own = (re.search("[A-Z2-7]{32}", each.response.get_data(as_text=True))[0] for each in (thief, owner))
    count = meanwhile(number, lambda: owner.submit(code=pyotp.TOTP(own).at(clock())))
    thief.submit(code=pyotp.TOTP(theirs).at(clock()))
    assert owner.status == thief.status == 200
    assert count() >= number
    with portal.database.session() as session:
        kept = session.get_one(SecondFactor, bea.id).totp_secret_sealed
        assert portal.vault.open(kept).decode() == own


@pytest.mark.parametrize("who", ["admin", "helpdesk"])
def test_who_is_disabled_while_a_request_waits_for_somebody_else_does_nothing(app, company, portal, clock, ada, who):
    """On PostgreSQL a request waits for a row, long after its transaction began."""
    erika, bob = company.person(), company.person("bob", who)
    request_id = company.invite(erika).request.id
    path = f"/admin/people/{erika.id}" if who == "admin" else f"/helpdesk/requests/{request_id}"
    staff = Browser(app).staff_sign_in("bob", clock()).get(path)
    form = f"{path}/role" if who == "admin" else f"{path}/cancel"
    fields = staff.filled(form) | {"role": "helpdesk"}
    holds, go_on = threading.Event(), threading.Event()

    def hold():
        with portal.database.transaction() as session:
            people.lock(session, session.get_one(Person, erika.id))
            Cases(session, portal).lock(request_id)
            holds.set()
            go_on.wait(10)

    def disable():
        with portal.database.transaction() as session:
            closing.disable(Cases(session, portal), session.get_one(Person, bob.id), "admin:test")

    def change():
        staff.post(form, fields, follow=False)

    threads = [threading.Thread(target=each) for each in (hold, change, disable)]
    threads[0].start()
    assert holds.wait(10)
    threads[1].start()
    threads[1].join(0.5)
    threads[2].start()
    threads[2].join(1)
    go_on.set()
    for each in threads:
        each.join()
    assert staff.status == 303
    with portal.database.session() as session:
        told = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
        over = next(each.id for each in told if each.kind == "person.disabled")
        assert [each.kind for each in told if each.actor == f"{who}:{bob.id}" and each.id > over] == []
