"""What happens between two steps of one request: whatever ended sign-ins or rights ended those under way, too."""

import pytest
from sqlalchemy import select

from portal import people
from portal.credentials import api_tokens, passkeys, second_factor
from portal.credentials import sign_in as corporate
from portal.credentials.base import Found
from portal.lifecycle import closing
from portal.models import ApiToken, EnrollmentRequest, IssuedProfile, Passkey, Person, SecondFactor, WebSession
from portal.storage.cases import Cases
from tests.credentials.test_doors import Doors
from tests.factories import PASSWORD, change_password, editing
from tests.pages import BASE, Browser

OTHER = "violet tractor hums loudly"
MOST_TRANSACTIONS = 9
"""Of a request that signs somebody in, with some to spare: a test fails if there are more."""


@pytest.fixture
def change(portal, clock, ada):
    """Each way to end ada's sign-ins."""

    def by(way):
        with portal.database.transaction() as session:
            person, editor = session.get_one(Person, ada.id), editing(portal, session, clock())
            if way == "password":
                change_password(portal, session, person, OTHER, clock())
            elif way == "factor":
                second_factor.forget(editor, person)
            elif way == "role":
                session.add(Person(username="spare", name="", email="", role="admin", created_at=clock()))
                session.flush()
                people.set_role(editor, person, "employee")
            else:
                session.add(Person(username="spare", name="", email="", role="admin", created_at=clock()))
                session.flush()
                closing.disable(Cases(session, portal), person, "admin:test")

    return by


def sessions(portal):
    with portal.database.session() as session:
        return [each.area for each in session.scalars(select(WebSession))]


@pytest.mark.parametrize("number", range(1, MOST_TRANSACTIONS))
@pytest.mark.parametrize("door", ["employee", "web_view", "staff", "staff_with_code"])
def test_a_password_that_is_changed_during_a_sign_in_signs_nobody_in(
    app,
    company,
    portal,
    clock,
    ada,
    keys,
    change,
    meanwhile,
    door,
    number,
):
    doors = Doors(app, company, clock, ada)
    count = meanwhile(number, lambda: change("password"))
    status = getattr(doors, door)(True)
    assert count() < MOST_TRANSACTIONS
    if count() >= number:
        assert sessions(portal) == []
    assert status < 500


@pytest.mark.parametrize("number", range(1, MOST_TRANSACTIONS))
@pytest.mark.parametrize("way", ["password", "factor", "role", "disable"])
@pytest.mark.parametrize("door", ["code", "passkey"])
def test_nor_does_a_second_factor_after_a_first_that_counts_no_more(
    app,
    company,
    portal,
    clock,
    ada,
    keys,
    change,
    meanwhile,
    door,
    way,
    number,
):
    browser = Browser(app).get("/staff/sign-in").submit(username="ada", password=PASSWORD, code="")
    doors = Doors(app, company, clock, ada)
    count = meanwhile(number, lambda: change(way))
    if door == "code":
        browser.submit(code=doors.code(True))
    else:
        token = browser.soup.find(attrs={"data-token": True})["data-token"]
        browser.response = browser.client.post(
            "/staff/second-factor/passkey", json={"credential": {"good": True}}, base_url=BASE,
            headers={**browser.headers, "X-CSRFToken": token},
        )  # fmt: skip
    assert browser.status < 500
    assert count() < MOST_TRANSACTIONS
    if count() >= number:
        assert sessions(portal) == []


def test_nor_does_a_provider_s_word_from_before(app, portal, company, clock, change, ada):
    """The person as single sign-on took them over, whose sign-ins ended before the session was made."""
    from portal.web.employee import sign_in as employees
    from portal.web.staff import sign_in as staff

    with portal.database.session() as session:
        verified = session.get_one(Person, ada.id)
    change("factor")
    with app.test_request_context("/enroll/sign-in", base_url=BASE):
        with pytest.raises(people.ProofOver):
            employees.begin_session(verified, None, clock())
        with pytest.raises(people.ProofOver):
            staff.ask_second_factor(verified, "corp", clock())
        from portal.extensions import transaction

        with pytest.raises(people.ProofOver), transaction():
            staff.begin_session(verified, clock(), "corp", "provider", clock())
    assert sessions(portal) == []


@pytest.mark.parametrize("number", range(1, MOST_TRANSACTIONS))
def test_an_old_password_sets_no_new_one_once_it_was_changed(
    app,
    company,
    portal,
    clock,
    ada,
    change,
    meanwhile,
    number,
):
    browser, mine = Browser(app).get("/account/password"), "seven quiet lamps on Tuesday"
    count = meanwhile(number, lambda: change("password"))
    browser.submit(username="ada", password=PASSWORD, new=mine, again=mine)
    if count() >= number:
        assert browser.status in (200, 422)
        assert Browser(app).get("/enroll/sign-in").sign_in("ada", mine).status == 422


def test_a_source_that_tells_another_address_ends_what_it_told_before(portal, clock):
    found = Found(source="directory", subject="1", username="ida", name="Ida", email="ida@example.com")
    first = corporate.store_person(portal.database, portal.settings, found, clock())
    again = corporate.store_person(portal.database, portal.settings, found, clock())
    with portal.database.transaction() as session:
        people.still_proved(session, again)
    moved = Found(source="directory", subject="1", username="ida", name="Ida", email="other@example.com")
    after = corporate.store_person(portal.database, portal.settings, moved, clock())
    with portal.database.transaction() as session:
        people.still_proved(session, after)
        with pytest.raises(people.ProofOver):
            people.still_proved(session, first)


@pytest.mark.parametrize("number", range(1, 4))
def test_nor_does_helpdesk_invite_whoever_is_looked_up_meanwhile(
    app, company, portal, clock, ada, change, meanwhile, number
):
    """Inviting has transactions of its own."""
    company.person()
    staff = Browser(app).staff_sign_in("ada", clock()).get("/helpdesk")
    fields = staff.filled("/helpdesk/requests", holding="username") | {"username": "erika"}
    count = meanwhile(number, lambda: change("role"))
    staff.post("/helpdesk/requests", fields, follow=False)
    with portal.database.session() as session:
        made = session.scalar(select(EnrollmentRequest)) is not None
    assert made == (count() < number)


@pytest.mark.parametrize("way", ["password", "factor", "role", "disable"])
def test_staff_whose_rights_end_while_a_request_waits_for_its_turn_changes_nothing(
    app,
    company,
    portal,
    clock,
    ada,
    change,
    meanwhile,
    way,
):
    admin = Browser(app).staff_sign_in("ada", clock()).get("/admin/tokens")
    fields = admin.filled(holding="name") | {"name": "mine", "scope.metrics": "yes"}
    count = meanwhile(1, lambda: change(way))
    admin.post("/admin/tokens", fields, follow=False)
    assert count() == 1
    assert (admin.status, admin.response.location) == (303, "/staff/sign-in")
    with portal.database.session() as session:
        assert session.scalar(select(ApiToken)) is None


@pytest.mark.parametrize("number", [1, 2])
def test_nor_does_a_passkey_outlast_a_change_that_it_waited_for(
    app, company, portal, clock, ada, keys, change, meanwhile, monkeypatch, number
):
    def add(session, party, holder, credential, name, now):
        session.add(Passkey(credential_id="thief", person_id=holder.person_id, public_key=b"k", sign_count=0, name=name,
                            created_at=now))  # fmt: skip

    monkeypatch.setattr(passkeys, "add", add)
    staff = Browser(app).staff_sign_in("ada", clock()).get("/staff/passkeys")
    headers = {**staff.headers, "X-CSRFToken": staff.soup.find(attrs={"data-token": True})["data-token"]}
    count = meanwhile(number, lambda: change("password"))
    answer = staff.client.post("/staff/passkeys", json={"credential": {}}, headers=headers, base_url=BASE)
    waited = count() >= number
    if waited:
        assert (answer.status_code, answer.json) == (403, {"error": "signed-out"})
    with portal.database.session() as session:
        assert (session.get(Passkey, "thief") is None) == waited


def test_a_token_that_is_revoked_while_a_program_waits_invites_nobody(app, company, portal, clock, meanwhile):
    company.person()
    with portal.database.transaction() as session:
        token = api_tokens.make(editing(portal, session, clock()), "x", ["requests"])
        token_id = session.scalar(select(ApiToken.id))

    def revoke():
        with portal.database.transaction() as session:
            api_tokens.revoke(editing(portal, session, clock()), token_id)

    count = meanwhile(2, revoke)  # the first notes that the token was used
    answer = app.test_client().post(
        "/api/requests", json={"username": "erika"}, headers={"Authorization": f"Bearer {token}"}, base_url=BASE
    )
    assert count() == 2
    assert answer.status_code == 401
    with portal.database.session() as session:
        assert session.scalar(select(EnrollmentRequest)) is None


def test_nor_is_a_profile_given_to_a_browser_that_was_signed_out_meanwhile(app, company, portal, clock, meanwhile):
    erika = company.person()
    browser = Browser(app).walk_to("profile", company.invite(erika))

    def change():
        with portal.database.transaction() as session:
            change_password(portal, session, session.get_one(Person, erika.id), OTHER, clock())

    count = meanwhile(1, change)
    browser.get("/enroll/profile.mobileconfig")
    assert count() >= 1
    assert (browser.path, browser.status) == ("/enroll/sign-in", 200)
    assert "signed out" in browser.text
    with portal.database.session() as session:
        assert session.scalar(select(IssuedProfile)) is None


def test_a_command_that_replaces_a_lost_factor_ends_everything_of_the_old_one(app, company, portal, clock, ada):
    staff = Browser(app).staff_sign_in("ada", clock())
    with portal.database.session() as session:
        before = session.get_one(SecondFactor, ada.id).totp_secret_sealed
    done = app.test_cli_runner().invoke(args=["people", "second-factor", "ada"])
    assert "TOTP secret" in done.output
    with portal.database.session() as session:
        assert session.get_one(SecondFactor, ada.id).totp_secret_sealed != before
        assert session.scalar(select(Passkey)) is None
    assert sessions(portal) == []
    assert staff.get("/helpdesk").path == "/staff/sign-in"


def test_a_fresh_proof_changes_the_token(app, company, portal, clock, ada):
    staff = Browser(app).staff_sign_in("ada", clock())

    def token():
        with portal.database.session() as session:
            return session.scalar(select(WebSession.token_hash))

    before = token()
    clock.forward(minutes=11)
    staff.get("/staff/confirm").submit(proof_code=Doors(app, company, clock, ada).code(True))
    assert staff.path == "/staff/passkeys"
    assert token() != before
    assert staff.get("/helpdesk").path == "/helpdesk"
