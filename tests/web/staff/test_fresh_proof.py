"""What would outlast a borrowed screen asks for the second factor once more; sessions end when nobody is there."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from portal import people
from portal.credentials import passwords, syncing
from portal.credentials.base import Found
from portal.lifecycle import closing
from portal.models import ApiToken, Passkey, PasskeyChallenge, PasswordLink, Person, WebSession
from portal.storage.cases import Cases
from tests.factories import PASSWORD, change_password, editing, totp_code
from tests.pages import BASE, Browser


@pytest.fixture
def admin(app, company, clock):
    company.person("ada", "admin")
    company.person("hilda", "helpdesk")
    return Browser(app).staff_sign_in("ada", clock())


def stale(admin, clock):
    """Signed in, but the proof is old; the page was touched, so that the session lives."""
    for _ in range(3):
        clock.forward(minutes=5)
        admin.get("/helpdesk")
    return admin


def rows(portal, table):
    with portal.database.session() as session:
        return session.scalars(select(table)).all()


def acts(company):
    """Every act that changes who gets in, or what is secret: (page, address of its form, what to send)."""
    hilda = next(each for each in rows(company.portal, Person) if each.username == "hilda")
    person = f"/admin/people/{hilda.id}"
    new = {"username": "eve", "name": "Eve", "email": "eve@example.com", "role": "admin"}
    return {
        "a new admin": ("/admin/people", "", new),
        "a role": (person, f"{person}/role", {"role": "admin"}),
        "a second factor": (person, f"{person}/second-factor", {}),
        "a password link": (person, f"{person}/password-link", {}),
        "an API token": ("/admin/tokens", "", {"name": "Robot", "scope.requests": "yes"}),
        "a setting with a secret": ("/admin/settings/mail", "", {"mail.host": "mx.example.com", "mail.password": "s"}),
        "a switch that takes apps from everybody": ("/admin/settings/apps", "", {"apps.enabled": "yes"}),
        "a trial with a secret": ("/admin/settings/mail", "/admin/settings/mail/try", {}),
    }


@pytest.mark.parametrize("act", ["a new admin", "a role", "a second factor", "a password link", "an API token",
                                 "a setting with a secret", "a switch that takes apps from everybody",
                                 "a trial with a secret"])  # fmt: skip
def test_it_asks_for_a_fresh_proof_and_goes_on_with_what_was_sent(admin, company, portal, clock, act):
    page, address, values = acts(company)[act]
    before = len(company.all_events())
    stale(admin, clock).get(page)
    own_form = address and not address.endswith("/try")
    sent = {**(admin.hidden(address) if own_form else admin.filled(holding=next(iter(values), "mail.host"))), **values}
    admin.post(address or page, sent)
    assert (admin.status, admin.heading) == (403, "Confirm that it is you")
    assert len(company.all_events()) == before
    held = admin.filled()
    assert all(held[name] == value for name, value in values.items())
    wrong = f"{(int(totp_code(clock())) + 555555) % 1000000:06d}"
    admin.post(address or page, held | {"proof_code": wrong})
    assert admin.status == 422
    assert "is wrong" in admin.error_of("proof_code")
    admin.post(address or page, admin.filled() | {"proof_code": totp_code(clock())})
    assert admin.status == 200, admin.text
    assert admin.heading != "Confirm that it is you"
    assert len(company.all_events()) > before
    clock.forward(minutes=9)  # and for ten minutes nothing is asked again
    admin.get("/admin/tokens")
    admin.post("/admin/tokens", admin.filled(holding="name") | {"name": "x", "scope.metrics": "yes"})
    assert rows(portal, ApiToken)


def test_what_employees_can_be_given_asks_for_nothing(admin, clock):
    stale(admin, clock).get("/admin/people")
    values = {"username": "max", "name": "Max", "email": "max@example.com", "role": "employee"}
    admin.post("/admin/people", admin.filled(holding="username") | values)
    assert "Added." in admin.text


def test_a_passkey_is_only_added_after_a_fresh_proof(admin, clock):
    stale(admin, clock).get("/staff/passkeys")
    token = admin.soup.find(attrs={"data-token": True})["data-token"]
    headers = {**admin.headers, "X-CSRFToken": token}
    for path, body in (("/staff/passkeys/options", {}), ("/staff/passkeys", {"credential": {}})):
        answer = admin.client.post(path, json=body, headers=headers, base_url=BASE)
        assert (answer.status_code, answer.json) == (403, {"error": "proof", "next": "/staff/confirm"})
    admin.get("/staff/confirm")
    assert admin.heading == "Confirm that it is you"
    admin.submit(proof_code=totp_code(clock()))
    assert admin.path == "/staff/passkeys"
    assert admin.client.post("/staff/passkeys/options", json={}, headers=headers, base_url=BASE).status_code == 200


def test_a_passkey_is_only_removed_after_a_fresh_proof(admin, company, portal, clock):
    with portal.database.transaction() as session:
        ada = session.scalar(select(Person).where(Person.username == "ada"))
        session.add(Passkey(credential_id="key", person_id=ada.id, public_key=b"k", sign_count=0, name="Key",
                            created_at=clock()))  # fmt: skip
    stale(admin, clock).get("/staff/passkeys").submit("/staff/passkeys/key/remove")
    assert admin.heading == "Confirm that it is you"
    assert rows(portal, Passkey)
    admin.submit(proof_code=totp_code(clock()))
    admin.submit("/staff/passkeys/key/remove")
    assert rows(portal, Passkey) == []


def test_a_challenge_is_used_up_by_a_wrong_answer(app, company, portal, clock):
    ada = company.person("ada", "admin")
    with portal.database.transaction() as session:
        session.add(Passkey(credential_id="AAAA", person_id=ada.id, public_key=b"k", sign_count=0, name="Key",
                            created_at=clock()))  # fmt: skip
    browser = Browser(app).get("/staff/sign-in").submit(username="ada", password=PASSWORD, code="")
    headers = {"X-CSRFToken": browser.hidden()["csrf_token"]}

    def post(path, **body):
        return browser.client.post(path, base_url=BASE, json=body, headers=headers)

    assert post("/staff/second-factor/options").status_code == 200
    assert len(rows(portal, PasskeyChallenge)) == 1
    assert post("/staff/second-factor/passkey", credential={"id": "nobody's"}).status_code == 400
    assert rows(portal, PasskeyChallenge) == []


def half_signed_in(app, company, portal, clock, address):
    browser = Browser(app)
    browser.client.environ_base = {"REMOTE_ADDR": address}
    browser.get("/staff/sign-in").submit(username="ada", password=PASSWORD, code="")
    headers = {"X-CSRFToken": browser.hidden()["csrf_token"]}
    return lambda path, **body: browser.client.post(path, base_url=BASE, json=body, headers=headers)


def test_whoever_knows_the_password_does_not_shut_the_passkey(app, company, portal, clock):
    ada = company.person("ada", "admin")
    with portal.database.transaction() as session:
        session.add(Passkey(credential_id="AAAA", person_id=ada.id, public_key=b"k", sign_count=0, name="Key",
                            created_at=clock()))  # fmt: skip
    owner = half_signed_in(app, company, portal, clock, "198.51.100.7")
    thief = half_signed_in(app, company, portal, clock, "192.0.2.1")
    assert owner("/staff/second-factor/options").status_code == 200
    statuses = []
    for _ in range(12):
        thief("/staff/second-factor/options")
        statuses.append(thief("/staff/second-factor/passkey", credential={"id": "x"}).status_code)
    assert statuses[-1] == 429
    answer = owner("/staff/second-factor/passkey", credential={"id": "AAAA"})
    assert answer.json == {"error": "malformed"}  # its own challenge was still there to be answered


def test_a_right_old_password_is_no_try_whatever_the_new_one_is(app, company):
    company.person()
    for _ in range(12):
        browser = Browser(app).get("/account/password")
        browser.submit(username="erika", password=PASSWORD, new="short", again="short")
        assert "too short" in browser.error_of("new")


def test_guessing_at_the_proof_is_throttled_like_a_sign_in(admin, company, clock):
    stale(admin, clock).get("/admin/tokens")
    admin.post("/admin/tokens", admin.filled(holding="name") | {"name": "x", "scope.metrics": "yes"})
    for _ in range(11):
        wrong = f"{(int(totp_code(clock())) + 555555) % 1000000:06d}"
        admin.post("/admin/tokens", admin.filled() | {"proof_code": wrong})
    assert "Too many tries" in admin.error_of("proof_code")
    admin.post("/admin/tokens", admin.filled() | {"proof_code": totp_code(clock())})
    assert admin.status == 422


# --- sessions end -----------------------------------------------------------------------------------------------------


def test_a_page_that_polls_keeps_nobody_signed_in(admin, clock):
    for _ in range(20):
        clock.forward(minutes=1)
        last = admin.client.get("/helpdesk?part=live&by_itself=1", base_url=BASE, headers=admin.headers)
    assert (last.status_code, last.location) == (303, "/staff/sign-in")


def test_finding_as_one_types_is_somebody_being_there(admin, clock):
    for _ in range(20):
        clock.forward(minutes=1)
        last = admin.client.get("/helpdesk?part=live&q=eri", base_url=BASE, headers=admin.headers)
    assert last.status_code == 200


def test_a_waiting_page_keeps_no_employee_signed_in(browser, company, clock):
    browser.walk_to("profile", company.invite(company.person()))
    for _ in range(35):
        clock.forward(minutes=1)
        last = browser.client.get("/enroll/state?by_itself=1", base_url=BASE, headers=browser.headers)
    assert last.status_code == 403


def test_every_script_that_asks_by_itself_says_so():
    from portal.settings import ROOT

    for name in ("live.js", "waiting.js"):
        assert "by_itself" in (ROOT / "static" / name).read_text()


def test_one_sees_and_ends_ones_own_sign_ins_and_nobody_elses(app, admin, company, portal, clock):
    clock.forward(minutes=1)
    other = Browser(app, "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
    other.staff_sign_in("ada", clock())
    helen = Browser(app).staff_sign_in("hilda", clock())
    admin.get("/staff/sessions")
    assert "Firefox, Linux" in admin.text
    assert admin.text.count("127.0.0.1") == 2
    foreign = next(each for each in rows(portal, WebSession) if each.person.username == "hilda")
    forms = [form["action"] for form in admin.soup.select("main form") if form.find("button")]
    assert len(forms) == 1
    admin.post(f"/staff/sessions/{foreign.id}/end", admin.hidden(forms[0]))
    assert helen.get("/helpdesk").status == 200
    assert helen.path == "/helpdesk"
    admin.get("/staff/sessions").submit(forms[0])
    assert other.get("/helpdesk").path == "/staff/sign-in"
    assert admin.get("/helpdesk").path == "/helpdesk"


def test_signing_out_while_a_slow_page_runs_is_no_error(app, admin, portal, clock, monkeypatch):
    """Its row is gone when the slow page notes that somebody is there."""
    from portal.web import web_sessions

    clock.forward(minutes=2)
    genuine = web_sessions._settle_token

    def sign_out_meanwhile(*arguments):
        with portal.database.transaction() as session:
            session.query(WebSession).delete()
        return genuine(*arguments)

    monkeypatch.setattr(web_sessions, "_settle_token", sign_out_meanwhile)
    assert admin.client.get("/helpdesk", base_url=BASE, headers=admin.headers).status_code < 500


# --- what a change kills ----------------------------------------------------------------------------------------------


def link_of(portal, person, clock):
    """A link from when the portal itself kept the account."""
    with portal.database.transaction() as session:
        owner = session.get_one(Person, person.id)
        source, owner.source = owner.source, people.LOCAL
        link = passwords.new_link(editing(portal, session, clock()), owner, portal.settings)
        owner.source = source
        return link


def living(portal, person):
    with portal.database.session() as session:
        return [
            session.query(table).filter(table.person_id == person.id).count() for table in (WebSession, PasswordLink)
        ]


def synced(person, **changes):
    told = {"source": person.source, "subject": person.subject, "username": person.username, "name": person.name,
            "email": person.email, "role": person.role} | changes  # fmt: skip
    return Found(**told)


@pytest.mark.parametrize("change", ["password", "role", "address", "role at the source", "factor", "disabled"])
def test_what_could_sign_in_before_a_change_cannot_afterwards(app, company, portal, clock, change):
    source = {"source": "oidc:x", "subject": "s"} if change in ("address", "role at the source") else {}
    company.person("boss", "admin")
    person = company.person("hilda", "helpdesk", **source)
    Browser(app).staff_sign_in("hilda", clock())
    Browser(app).get("/staff/sign-in").submit(username="hilda", password=PASSWORD, code="")  # half a sign-in elsewhere
    link = link_of(portal, person, clock)
    with portal.database.transaction() as session:
        hilda = session.get_one(Person, person.id)
        if change == "password":
            change_password(portal, session, hilda, "seven quiet lamps on Tuesday", clock())
        elif change == "role":
            people.set_role(editing(portal, session, clock()), hilda, "admin")
        elif change == "address":
            syncing.sync(session, portal.settings, synced(hilda, email="other@example.com"), clock())
        elif change == "role at the source":
            syncing.sync(session, portal.settings, synced(hilda, role="admin"), clock())
        elif change == "factor":
            from portal.credentials import second_factor

            second_factor.forget(editing(portal, session, clock()), hilda)
        else:
            closing.disable(Cases(session, portal), hilda, "admin:x")
    assert living(portal, person) == [0, 0]
    assert Browser(app).get(link).status == 404


def test_a_sync_that_changes_nothing_ends_nothing(app, company, portal, clock):
    person = company.person("hilda", "helpdesk", source="oidc:x", subject="s")
    Browser(app).staff_sign_in("hilda", clock())
    with portal.database.transaction() as session:
        syncing.sync(session, portal.settings, synced(session.get_one(Person, person.id), name="Hilda H."), clock())
    assert living(portal, person) == [1, 0]


# --- an answer that was lost ------------------------------------------------------------------------------------------


def cookies(browser):
    return browser.client.get_cookie("__Host-portal", "portal.example.com", "/")


def test_an_answer_lost_at_the_passcode_costs_nothing(browser, company, clock):
    """The phone never got the new cookie: with the old one it goes on, for a minute."""
    invitation = company.invite(company.person())
    browser.walk_to("passcode", invitation)
    old, form = cookies(browser).value, browser.hidden()
    browser.post("/enroll/passcode", form | {"passcode": invitation.passcode}, follow=False)
    browser.client.set_cookie("__Host-portal", old, domain="portal.example.com", secure=True)
    clock.forward(seconds=50)
    browser.post("/enroll/passcode", form | {"passcode": invitation.passcode})  # the phone sends it again
    assert browser.path == "/enroll/overview"
    assert cookies(browser).value != old
    browser.submit(**{"continue": "yes"})
    assert browser.path == "/enroll/terms"
    browser.client.set_cookie("__Host-portal", old, domain="portal.example.com", secure=True)
    assert browser.get("/enroll/terms").path == "/enroll/sign-in"  # the new one was seen


def test_the_old_token_is_worthless_after_a_minute(browser, company, clock):
    invitation = company.invite(company.person())
    browser.walk_to("passcode", invitation)
    old = cookies(browser).value
    browser.client.post("/enroll/passcode", data=browser.hidden() | {"passcode": invitation.passcode}, base_url=BASE,
                        headers=browser.headers)  # fmt: skip
    browser.client.set_cookie("__Host-portal", old, domain="portal.example.com", secure=True)
    clock.forward(seconds=61)
    assert browser.get("/enroll/overview").path == "/enroll/sign-in"


def test_a_passcode_lives_as_long_as_a_stricter_company_wants(app, browser, company, configure, clock):
    configure(passcode__lifetime_minutes=10)
    invitation = company.invite(company.person())
    browser.walk_to("passcode", invitation)
    clock.forward(minutes=10)
    browser.submit(passcode=invitation.passcode)
    assert "This passcode has expired" in browser.text
    assert company.events(invitation)[-1] == ("passcode.rejected", "passcode_expired")
    assert "has expired" in browser.get("/enroll/passcode").text
    browser.submit("/enroll/passcode/send", **{"continue": "send"})
    assert "A new passcode is on its way" in browser.text
    assert browser.soup.find("input", attrs={"name": "passcode"})


def test_a_token_of_a_program_expires(app, company, portal, admin, clock):
    admin.get("/admin/tokens")
    values = {"name": "Watcher", "scope.metrics": "yes", "days": "30"}
    admin.post("/admin/tokens", admin.filled(holding="name") | values)
    header = {"Authorization": f"Bearer {admin.soup.find(id='token').text}"}
    assert app.test_client().get("/metrics", headers=header).status_code == 200
    clock.forward(days=30)
    assert app.test_client().get("/metrics", headers=header).status_code == 401
    assert rows(portal, ApiToken)[0].expires_at == clock() - timedelta()
