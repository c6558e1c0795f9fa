"""The promises of the security model, each tried as an attacker would."""

import logging
import re
import threading
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from portal import audit, installation, people, vault
from portal.credentials import local, sign_in
from portal.credentials.local import LocalAccounts
from portal.credentials.throttle import Throttled
from portal.enrollment import errors, invitations, steps
from portal.enrollment.journey import SignedInBrowser
from portal.lifecycle import closing
from portal.models import AuditEvent, EnrollmentRequest, Person, RequestLink, SignInAttempt, WebSession
from portal.pki import scep
from portal.simulator import iphone, scep_client
from portal.simulator.iphone import Unenrolled
from portal.simulator.scep_client import InstallationFailed
from portal.storage.cases import Cases
from tests.factories import PASSWORD, Company, phone
from tests.pages import BASE, Browser


@pytest.fixture
def invitation(company):
    return company.invite(company.person())


# --- links, tokens, logs -----------------------------------------------------------------------------------------


def test_link_tokens_are_long_and_stored_as_hashes_only(portal, invitation, session):
    assert len(invitation.token) * 4 >= 128
    dump = "\n".join(str(row) for row in session.execute(select(RequestLink.__table__)))
    assert invitation.token not in dump


def test_no_token_passcode_or_password_is_ever_logged(app, browser, invitation, caplog):
    caplog.set_level(logging.DEBUG)
    browser.walk_to("profile", invitation)
    response = browser.client.get("/enroll/profile.mobileconfig", base_url=BASE, headers=browser.headers)
    ticket = response.headers["Location"]
    browser.get(ticket)
    browser.get("/e/" + invitation.token)
    browser.get("/e/" + invitation.token + "?q=" + invitation.token)
    for secret in (invitation.token, invitation.passcode, PASSWORD, ticket.split("/")[-1].split(".")[0]):
        assert secret not in caplog.text
    assert "route=/e/<token>" in caplog.text


def test_a_wrong_token_is_looked_up_by_hash(portal, session, invitation, clock):
    with pytest.raises(errors.LinkUnusable):
        invitations.by_token(Cases(session, portal), invitation.token[:-1] + "0" * 2)


# --- sign-in -----------------------------------------------------------------------------------------------------


def test_wrong_passwords_and_unknown_accounts_read_the_same(app, invitation):
    texts = set()
    for username in ("erika", "nobody"):
        browser = Browser(app).open_link(invitation).submit(username=username, password="wrong")
        texts.add((browser.status, browser.text.replace(username, "")))
    assert len(texts) == 1


def test_an_unknown_account_costs_the_same_hashing(portal, session, company, clock, monkeypatch):
    person = company.person()
    with portal.database.transaction() as writing:
        local.set_password(writing, writing.get_one(type(person), person.id), "as people set it")
    verified = []
    real = local._fits
    monkeypatch.setattr(local, "_fits", lambda stored, password: verified.append(stored) or real(stored, password))
    for username in ("erika", "nobody", "", "x" * 128):
        assert local.LocalAccounts().verify(session, username, "wrong", clock()) is None
    assert len(verified) == 4
    assert len({stored.split("$")[3] for stored in verified}) == 1  # the same cost each time
    assert verified[0].startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_ten_wrong_tries_close_an_account_for_a_while(app, browser, invitation, clock):
    browser.open_link(invitation)
    for _ in range(10):
        assert browser.submit(username="erika", password="wrong").status == 422
    assert browser.submit(username="erika", password=PASSWORD).status == 429
    assert "Wait 15 minutes" in browser.text
    assert browser.soup.find(id="username")["value"] == "erika"  # nothing typed is lost
    unknown = Browser(app).open_link(invitation)
    for _ in range(10):
        unknown.submit(username="nobody", password="wrong")
    assert unknown.submit(username="nobody", password="wrong").text == browser.text
    clock.forward(minutes=15)
    assert browser.submit(username="erika", password=PASSWORD).path == "/enroll/ownership"


def test_fifty_wrong_tries_close_an_address_but_right_ones_do_not_count(make_app, app, company, invitation):
    for _ in range(60):
        assert Browser(app).open_link(invitation).sign_in().path == "/enroll/ownership"
    for number in range(50):
        assert Browser(app).open_link(invitation).submit(username=f"u{number}", password="x").status == 422
    assert Browser(app).open_link(invitation).sign_in().status == 429


def test_throttling_survives_a_restart_and_holds_across_processes(app, make_app, invitation):
    browser = Browser(app).open_link(invitation)
    for _ in range(10):
        browser.submit(username="erika", password="wrong")
    assert Browser(make_app()).open_link(invitation).sign_in().status == 429


def test_parallel_guesses_get_no_extra_tries(app, company, portal, clock):
    """Twelve at once against one account: ten are judged, no more."""
    company.person()
    outcomes = []

    def guess():
        try:
            sign_in.check(portal, "erika", "x", "192.0.2.1", clock())
        except (sign_in.WrongCredentials, Throttled) as error:
            outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["Throttled"] * 2 + ["WrongCredentials"] * 10


def test_somebody_who_is_throttled_cannot_flood_the_timeline(browser, company, invitation):
    browser.open_link(invitation)
    for _ in range(15):
        browser.submit(username="erika", password="wrong")
    refused = [event for event in company.events(invitation) if event[0] == "sign_in.refused"]
    assert refused == [("sign_in.refused", "wrong_credentials")] * 10 + [("sign_in.refused", "throttled")]


def test_a_disabled_person_is_signed_out_everywhere_at_once(app, browser, company, invitation, clock):
    browser.walk_to("privacy", invitation)
    other = Browser(app).open_link(invitation).sign_in()
    with company.portal.database.transaction() as session:
        closing.disable(Cases(session, company.portal), session.scalars(select(Person)).one(), "admin")
    for each in (browser, other):
        assert each.get("/enroll/privacy").path == "/enroll/sign-in"
    assert browser.open_link(invitation).sign_in().status == 422


def test_an_empty_password_never_fits(portal, session, company, clock):
    company.person()
    assert LocalAccounts().verify(session, "erika", "", clock()) is None


# --- sessions ----------------------------------------------------------------------------------------------------


def cookie(browser):
    return browser.client.get_cookie("__Host-portal", domain="portal.example.com")


def session_hash(company):
    with company.portal.database.session() as session:
        return session.scalars(select(WebSession.token_hash)).one()


def test_cookies_are_host_only_secure_http_only_and_lax(browser, invitation):
    browser.open_link(invitation)
    header = browser.client.get(f"/e/{invitation.token}", base_url=BASE, headers=browser.headers).headers["Set-Cookie"]
    assert header.startswith("__Host-portal=")
    for attribute in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
        assert attribute in header
    assert "Domain" not in header


def test_the_session_changes_at_sign_in_and_at_the_passcode(browser, company, invitation):
    browser.open_link(invitation)
    before = cookie(browser).value
    browser.sign_in()
    assert cookie(browser).value != before
    first = session_hash(company)
    browser.submit(ownership="employee").submit(acknowledge="yes")
    assert session_hash(company) == first
    browser.submit(passcode=invitation.passcode)
    assert session_hash(company) != first


def test_an_old_session_cookie_is_worthless_after_the_passcode(app, browser, company, invitation):
    browser.walk_to("passcode", invitation)
    stolen = cookie(browser).value
    browser.submit(passcode=invitation.passcode)
    thief = Browser(app)
    thief.client.set_cookie("__Host-portal", stolen, domain="portal.example.com", secure=True)
    assert thief.get("/enroll/overview").path == "/enroll/sign-in"


def test_sessions_end_when_idle_and_in_any_case(browser, invitation, clock):
    browser.walk_to("privacy", invitation)
    clock.forward(minutes=29)
    assert browser.get("/enroll/privacy").path == "/enroll/privacy"
    clock.forward(minutes=30)
    assert browser.get("/enroll/privacy").path == "/enroll/sign-in"
    assert "You were signed out" in browser.text
    browser.sign_in()  # goes on where it stopped
    assert browser.path == "/enroll/privacy"
    for _ in range(24):
        clock.forward(minutes=20)
        browser.get("/enroll/privacy")
    assert browser.path == "/enroll/sign-in"


def test_signing_out_ends_every_session_on_the_server(app, browser, invitation):
    other = Browser(app).open_link(invitation).sign_in()
    browser.walk_to("privacy", invitation)
    kept = cookie(browser).value
    browser.submit("/enroll/sign-out")
    assert browser.path == "/enroll/sign-in"
    assert other.get("/enroll/privacy").path == "/enroll/sign-in"
    thief = Browser(app)
    thief.client.set_cookie("__Host-portal", kept, domain="portal.example.com", secure=True)
    assert thief.get("/enroll/privacy").path == "/enroll/sign-in"


# --- forms, headers, redirects -----------------------------------------------------------------------------------


def test_every_post_of_a_person_needs_the_csrf_token(app, browser, company, invitation):
    for rule in app.url_map.iter_rules():
        if "POST" not in rule.methods or rule.endpoint.startswith(("apple.", "api.", "hooks.")):
            continue
        path = re.sub(r"<int:\w+>", "1", rule.rule.replace("<request_id>", invitation.request.id))
        answer = browser.client.post(path, base_url=BASE, headers=browser.headers)
        # In the web view of Settings an error status would end the enrollment, so the page itself has to do.
        assert answer.status_code == (200 if path.startswith("/apple/") else 400), path
        assert "Please do that once more" in answer.get_data(as_text=True)


def test_a_form_that_is_too_old_loses_nothing(browser, company, invitation):
    browser.walk_to("privacy", invitation)
    browser.post("/enroll/privacy", {"acknowledge": "yes", "csrf_token": "old"})
    assert browser.status == 400
    assert browser.get("/enroll/continue").path == "/enroll/privacy"


def test_every_page_carries_the_security_headers(browser, invitation):
    for path in (f"/e/{invitation.token}", "/enroll/sign-in", "/nowhere", "/staff/sign-in", "/scep", "/healthz"):
        headers = browser.client.get(path, base_url=BASE, headers=browser.headers).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for part in ("frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
            assert part in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Strict-Transport-Security"].startswith("max-age=31536000")
        assert headers["Cache-Control"] == "no-store"


def test_pages_have_no_inline_script_or_style(browser, invitation):
    browser.open_link(invitation)
    for path in ("/enroll/sign-in", "/enroll/ownership", "/enroll/privacy"):
        browser.get(path)
        assert not [tag for tag in browser.soup.find_all("script") if not tag.get("src")]
        assert not browser.soup.find_all("style")
        assert not browser.soup.find_all(style=True)


def test_a_forged_host_never_shows_up_in_a_link(app, invitation):
    client = app.test_client()
    for headers in ({"Host": "evil.example"}, {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}):
        agent = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}
        answer = client.get(f"/e/{invitation.token}", headers={**headers, **agent})
        assert "evil.example" not in answer.get_data(as_text=True)
        assert "evil.example" not in answer.headers.get("Location", "")
        assert f"https://portal.example.com/e/{invitation.token}" in answer.get_data(as_text=True)


def test_a_forwarded_address_is_believed_only_from_a_configured_proxy(make_app):
    def counted(app):
        company = Company(app.extensions["portal"])
        browser = Browser(app)
        browser.headers["X-Forwarded-For"] = "203.0.113.7"
        browser.get("/enroll").submit(username="nobody", password="x")
        with company.portal.database.session() as session:
            return session.scalars(select(SignInAttempt.address_key).order_by(SignInAttempt.id.desc())).first()

    assert counted(make_app()) != counted(make_app(proxy={"trusted": ["127.0.0.0/8"]}))


def test_redirects_stay_on_the_portal(browser, invitation):
    for path in (f"/e/{invitation.token}", "/enroll", "/enroll/privacy", "/helpdesk", "/enroll?next=//evil.example"):
        location = browser.client.get(path, base_url=BASE, headers=browser.headers).headers.get("Location", "/")
        assert location.startswith("/")
        assert not location.startswith("//")


# --- steps and passcode ------------------------------------------------------------------------------------------

STEPS = ("ownership", "privacy", "passcode", "overview", "terms", "profile")
ANSWERS = {"ownership": "employee", "acknowledge": "yes", "passcode": "000000", "continue": "yes", "accept": "yes"}


@pytest.mark.parametrize("current", STEPS)
def test_steps_cannot_be_skipped_by_address_or_by_form(browser, company, invitation, current):
    browser.walk_to(current, invitation)
    before = company.step(invitation)
    token = browser.hidden().get("csrf_token", "")
    for step in (*STEPS, "finish"):
        if step == current:
            continue
        assert browser.get(f"/enroll/{step}").path == f"/enroll/{current}"
        browser.post(f"/enroll/{step}", {**ANSWERS, "csrf_token": token})
        assert company.step(invitation) == before
    if current != "profile":
        response = browser.client.get("/enroll/profile.mobileconfig", base_url=BASE, headers=browser.headers)
        assert response.status_code == 303


def test_five_wrong_passcodes_lock_it_whatever_the_browser(app, browser, company, invitation):
    wrong = "000000" if invitation.passcode != "000000" else "111111"
    browser.walk_to("passcode", invitation)
    for left in ("4 more tries", "3 more tries", "2 more tries", "one more try"):
        assert left in browser.submit(passcode=wrong).error_of("passcode")
        browser = Browser(app).open_link(invitation).sign_in()
        assert browser.path == "/enroll/passcode"
    assert browser.submit(passcode=wrong).status == 422
    again = Browser(app).open_link(invitation).sign_in()
    again.post("/enroll/passcode", {**again.hidden("/enroll/passcode/send"), "passcode": invitation.passcode})
    assert company.step(invitation) == "passcode"
    assert ("passcode.rejected", "locked") in company.events(invitation)


def test_tries_are_counted_before_the_comparison_so_parallel_guesses_get_no_extra(
    portal, company, browser, invitation, clock
):
    browser.walk_to("passcode", invitation)
    wrong = "000000" if invitation.passcode != "000000" else "111111"
    outcomes = []
    with portal.database.session() as session:
        walk = SignedInBrowser(session.scalars(select(WebSession.id)).one())

    def guess():
        try:
            with portal.database.transaction() as session:
                steps.enter_passcode(Cases(session, portal).lock(invitation.request.id, walk), wrong)
        except (errors.PasscodeWrong, errors.PasscodeLocked) as refusal:
            outcomes.append(type(refusal).__name__)

    threads = [threading.Thread(target=guess) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("PasscodeWrong") == 4
    assert outcomes.count("PasscodeLocked") == 4
    assert company.request(invitation).passcode_tries == 5


def test_a_passcode_works_once_and_a_new_one_kills_the_old(app, browser, company, invitation, clock):
    browser.walk_to("overview", invitation)
    second = Browser(app).open_link(invitation).sign_in()
    second.post("/enroll/passcode", {**second.hidden("/enroll/passcode/send"), "passcode": invitation.passcode})
    assert second.error_of("passcode") or "cannot be used any more" in second.text
    clock.forward(minutes=1)
    second.submit("/enroll/passcode/send")
    assert "tries" in second.submit(passcode=invitation.passcode).error_of("passcode")


def test_passcodes_are_sent_at_most_once_a_minute_and_five_times(browser, company, invitation, clock):
    browser.walk_to("passcode", invitation)
    assert "a moment ago" in browser.submit("/enroll/passcode/send").text
    for _ in range(4):
        clock.forward(minutes=1)
        assert "on its way" in browser.submit("/enroll/passcode/send").text
    clock.forward(minutes=1)
    assert "Ask your helpdesk" in browser.submit("/enroll/passcode/send").text


def test_the_passcode_secret_is_stored_sealed(company, invitation):
    assert company.request(invitation).passcode_secret_sealed.startswith(b"gAAAA")


# --- profile -----------------------------------------------------------------------------------------------------


def test_the_profile_is_only_for_the_session_that_earned_it(app, browser, invitation):
    browser.walk_to("profile", invitation)
    stranger = Browser(app).open_link(invitation).sign_in()
    response = stranger.client.get("/enroll/profile.mobileconfig", base_url=BASE, headers=stranger.headers)
    assert response.headers["Location"] == "/enroll/passcode"


def test_a_ticket_needs_no_cookie_and_gives_the_same_bytes_while_it_lives(app, browser, invitation, clock):
    browser.walk_to("profile", invitation)
    first = browser.client.get("/enroll/profile.mobileconfig", base_url=BASE, headers=browser.headers)
    ticket = first.headers["Location"]
    stranger = app.test_client()
    bodies = {stranger.get(ticket, base_url=BASE).data for _ in range(3)}
    assert len(bodies) == 1
    answer = stranger.get(ticket, base_url=BASE)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers
    clock.forward(minutes=8)
    assert stranger.get(ticket, base_url=BASE).status_code == 404


def test_asking_for_the_head_of_a_download_changes_nothing(app, browser, company, invitation):
    profile = browser.walk_to("profile", invitation).download()
    answer = browser.client.head("/enroll/profile.mobileconfig", base_url=BASE, headers=browser.headers)
    assert answer.content_type == "application/x-apple-aspen-config"
    phone(app).install(profile)
    assert company.status(invitation) == "enrolled"


def test_another_site_that_sends_the_browser_to_the_download_kills_no_profile(app, browser, company, invitation):
    profile = browser.walk_to("profile", invitation).download()
    sent = {**browser.headers, "Sec-Fetch-Site": "cross-site"}
    answer = browser.client.get("/enroll/profile.mobileconfig", base_url=BASE, headers=sent)
    assert urlsplit(answer.location).path == "/enroll/profile"
    phone(app).install(profile)
    assert company.status(invitation) == "enrolled"


def test_a_new_download_kills_the_old_ticket_and_challenge(app, browser, company, invitation):
    browser.walk_to("profile", invitation)
    first = browser.client.get("/enroll/profile.mobileconfig", base_url=BASE, headers=browser.headers)
    old = app.test_client().get(first.headers["Location"], base_url=BASE).data
    new = browser.download()
    assert app.test_client().get(first.headers["Location"], base_url=BASE).status_code == 404
    with pytest.raises(InstallationFailed):
        phone(app).install(old)
    assert ("certificate.refused", "superseded") in company.events(invitation)
    phone(app, 1).install(new)


def test_a_new_download_revokes_what_the_old_one_got(app, browser, company, invitation):
    browser.walk_to("profile", invitation)
    first = phone(app)
    first.obtain_identity(first.open_profile(browser.download()))
    first.authenticate()
    second = browser.download()
    with pytest.raises(Unenrolled):
        first.token_update()
    phone(app, 1).install(second)
    assert company.status(invitation) == "enrolled"


def test_a_lost_scep_answer_can_be_asked_for_again(app, browser, company, invitation):
    """The very same request again gets the very same certificate; the challenge is still used up for others."""
    device = phone(app)
    payload = device.open_profile(browser.walk_to("profile", invitation).download())
    settings = iphone.payload_of(payload, "com.apple.security.scep")["PayloadContent"]
    names = [x509.NameAttribute(scep_client._OIDS[kind], value) for [[kind, value]] in settings["Subject"]]
    csr = scep_client.certificate_request(x509.Name(names), device.key, settings["Challenge"])
    identity = scep_client.Identity(scep_client.self_signed(x509.Name(names), device.key), device.key)
    got = set()
    for _ in range(2):
        message, _ = scep.request(csr, company.portal.authority.ca.certificate, identity, "1")
        answer = device.http.post("https://portal.example.com/scep?operation=PKIOperation", content=message)
        got.add(scep.issued_certificate(scep.read(answer.content), identity).serial_number)
    assert len(got) == 1


# --- audit, secrets, erasing ---------------------------------------------------------------------------------------


def test_the_audit_trail_can_only_grow(portal, company, invitation):
    for change in (
        lambda s: s.execute(AuditEvent.__table__.update().values(kind="nothing")),
        lambda s: s.execute(AuditEvent.__table__.delete()),
        lambda s: s.execute(AuditEvent.__table__.update().values(detail={"x": 1})),
    ):
        with pytest.raises(DBAPIError, match="append-only"), portal.database.transaction() as session:
            change(session)


def test_verifying_names_the_first_broken_link(portal, app, browser, company, invitation, session):
    browser.walk_to("overview", invitation)
    assert audit.broken_links(portal.database) == []
    session.rollback()
    drop = (
        ["DROP TRIGGER audit_events_update", "DROP TRIGGER audit_events_delete"]
        if portal.database.engine.dialect.name == "sqlite"
        else ["DROP TRIGGER audit_events_append_only ON audit_events"]
    )
    with portal.database.transaction() as writing:
        for statement in drop:
            writing.execute(text(statement))
        writing.execute(text("UPDATE audit_events SET reason='corporate' WHERE kind='ownership.chosen'"))
    chain = audit.request_chain(invitation.request.id)
    seq = session.scalars(select(AuditEvent.seq).where(AuditEvent.kind == "ownership.chosen")).one()
    assert audit.broken_links(portal.database) == [(chain, seq, "the event was changed")]
    with portal.database.transaction() as writing:
        last = writing.scalars(select(AuditEvent).where(AuditEvent.chain == chain).order_by(AuditEvent.seq)).all()[-1]
        writing.execute(text("UPDATE audit_events SET reason='employee' WHERE kind='ownership.chosen'"))
        writing.execute(text(f"DELETE FROM audit_events WHERE id={last.id}"))
    assert audit.broken_links(portal.database) == [(chain, last.seq, "events at the end are missing")]


def test_the_last_admin_stays(company, clock):
    company.person("boss", role="admin")
    with pytest.raises(people.LastAdmin), company.portal.database.transaction() as session:
        closing.disable(Cases(session, company.portal), session.scalars(select(Person)).one(), "x")


@pytest.fixture
def app_with_key_file(make_app, template, tmp_path):
    """The app, its keys in the data folder instead of the configuration."""
    app = make_app(secret_keys=())
    vault.write_keys(tmp_path, template.keys)
    app.extensions["portal"].forget()
    return app


def test_keys_rotate_and_everything_still_opens(app_with_key_file, tmp_path, clock):
    portal = app_with_key_file.extensions["portal"]
    company = Company(portal)
    invitation = company.invite(company.person())
    old = vault.read_keys((), tmp_path)
    assert installation.rotate_keys(portal) >= 4  # two keys, a passcode secret, a mail
    new = vault.read_keys((), tmp_path)
    assert new[1:] == old
    only_new = vault.Vault(new[:1])
    with portal.database.session() as session:
        request = session.get_one(type(invitation.request), invitation.request.id)
        assert only_new.open(request.passcode_secret_sealed)
    Browser(app_with_key_file).walk_to("overview", invitation)


def test_what_is_written_while_keys_rotate_is_not_lost(app_with_key_file, template, clock, monkeypatch):
    """A web process that still has the old keys gives a new passcode between any two portions."""
    portal = app_with_key_file.extensions["portal"]
    company = Company(portal)
    invitation = company.invite(company.person())
    old_keys, transaction, passcodes = vault.Vault(template.keys), portal.database.transaction, []

    @contextmanager
    def after_a_new_passcode(session=None):
        passcodes.append(b"passcode %d" % len(passcodes))
        with transaction() as other:
            request = other.get_one(EnrollmentRequest, invitation.request.id)
            request.passcode_secret_sealed = old_keys.seal(passcodes[-1])
        with transaction(session) as given:
            yield given

    monkeypatch.setattr(installation, "RESEALED_AT_ONCE", 1)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(portal.database, "transaction", after_a_new_passcode)
        count = installation.rotate_keys(portal)
    assert len(passcodes) > count > 2
    with portal.database.session() as session:
        sealed = session.get_one(EnrollmentRequest, invitation.request.id).passcode_secret_sealed
    assert portal.vault.open(sealed) == passcodes[-1]


# --- staff -------------------------------------------------------------------------------------------------------


def test_staff_needs_the_second_factor_and_each_code_works_once(app, company, clock):
    company.person("hilda", role="helpdesk")
    first = Browser(app).staff_sign_in("hilda", clock())
    assert first.path == "/helpdesk"
    assert Browser(app).staff_sign_in("hilda", clock()).status == 422
    clock.forward(seconds=30)
    assert Browser(app).staff_sign_in("hilda", clock()).path == "/helpdesk"
    wrong = Browser(app).get("/staff/sign-in").submit(username="hilda", password=PASSWORD, code="000000")
    assert wrong.status == 422


def test_employees_cannot_sign_in_as_staff_nor_open_staff_pages(app, browser, company, invitation, clock):
    assert Browser(app).staff_sign_in("erika", clock()).status == 422
    browser.walk_to("privacy", invitation)
    for path in ("/helpdesk", f"/helpdesk/requests/{invitation.request.id}"):
        assert browser.get(path).path == "/staff/sign-in"


def test_a_staff_session_ends_after_fifteen_idle_minutes(app, company, clock):
    company.person("hilda", role="helpdesk")
    browser = Browser(app).staff_sign_in("hilda", clock())
    clock.forward(minutes=15)
    assert browser.get("/helpdesk").path == "/staff/sign-in"


def test_a_demoted_person_loses_staff_pages_at_once(app, company, clock, session):
    company.person("hilda", role="helpdesk")
    browser = Browser(app).staff_sign_in("hilda", clock())
    with company.portal.database.transaction() as writing:
        writing.scalars(select(Person)).one().role = "employee"
    assert browser.get("/helpdesk").path == "/staff/sign-in"


def test_clocks_two_minutes_apart_reject_nothing_that_should_pass(app, browser, company, invitation, clock):
    profile = browser.walk_to("profile", invitation).download()
    clock.time -= timedelta(minutes=2)
    phone(app).install(profile)
    assert company.status(invitation) == "enrolled"


def test_an_account_has_one_counter_however_its_name_is_typed(app, company):
    company.person()
    for number in range(10):
        typed = ("erika", "EXAMPLE\\erika", "erika@example.com", "erika@work.example.com", " ERIKA ")[number % 5]
        assert Browser(app).get("/enroll/sign-in").sign_in(typed, "wrong").status == 422
    assert Browser(app).get("/enroll/sign-in").sign_in("erika", PASSWORD).status == 429
