"""Every door that takes a password or a code counts its tries where no other door's success forgets them."""

from collections.abc import Callable
from datetime import timedelta

import pyotp
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import func, select

from portal import clock as portal_clock
from portal.credentials import api_tokens, passwords, second_factor, throttle
from portal.credentials.base import Found
from portal.credentials.second_factor import MOST_WRONG_CODES, FactorLocked
from portal.credentials.sign_in import Sources
from portal.credentials.throttle import Throttled
from portal.models import Person, SecondFactor, SignInAttempt
from portal.settings.schema import SignIn
from tests.account_driven.steps import ACCOUNT, begin, web_view
from tests.databases import Template
from tests.factories import PASSWORD, TOTP_SECRET, Company, editing, totp_code
from tests.pages import BASE, Browser

MINUTE = timedelta(minutes=1)
NEW_PASSWORD = "seven quiet lamps on Tuesday"


class Doors:
    """Each door, with a right and a wrong try of ada's."""

    def __init__(self, app, company, clock, ada):
        self.app, self.company, self.clock, self.ada = app, company, clock, ada
        self.password = PASSWORD

    def employee(self, right):
        return Browser(self.app).get("/enroll/sign-in").sign_in("ada", self.password if right else "wrong").status

    def web_view(self, right):
        browser = web_view(self.app, begin(self.app), ACCOUNT.replace("erika", "ada"))
        return browser.sign_in("ada", self.password if right else "wrong").status

    def staff(self, right):
        browser = Browser(self.app).get("/staff/sign-in")
        return browser.submit(username="ada", password=self.password if right else "wrong", code="").status

    def staff_with_code(self, right):
        browser = Browser(self.app).get("/staff/sign-in")
        return browser.submit(username="ada", password=self.password, code=self.code(right)).status

    def second_page(self, right):
        browser = Browser(self.app).get("/staff/sign-in").submit(username="ada", password=self.password, code="")
        return browser.submit(code=self.code(right)).status

    def passkey(self, right):
        browser = Browser(self.app).get("/staff/sign-in").submit(username="ada", password=self.password, code="")
        token = browser.soup.find(attrs={"data-token": True})["data-token"]
        return browser.client.post(
            "/staff/second-factor/passkey", json={"credential": {"good": right}}, base_url=BASE,
            headers={**browser.headers, "X-CSRFToken": token},
        ).status_code  # fmt: skip

    def password_change(self, right):
        browser = Browser(self.app).get("/account/password")
        old, self.password = self.password, NEW_PASSWORD + "." * len(self.password) if right else self.password
        typed = old if right else "wrong"
        return browser.submit(username="ada", password=typed, new=self.password, again=self.password).status

    def password_link(self, right):
        with self.company.portal.database.transaction() as session:
            by = editing(self.company.portal, session, self.clock())
            address = passwords.new_link(by, session.get_one(Person, self.ada.id), self.company.portal.settings)
        self.password = NEW_PASSWORD + "!" * len(self.password)
        browser = Browser(self.app).get(address)
        return browser.submit(new=self.password, again=self.password).status

    def passcode(self, right):
        invitation = self.company.invite(self.company.person(f"somebody{self.clock():%H%M%S}"))
        browser = Browser(self.app).walk_to("passcode", invitation)
        return browser.submit(passcode=invitation.passcode).status

    def api(self, right):
        with self.company.portal.database.transaction() as session:
            token = api_tokens.make(editing(self.company.portal, session, self.clock()), "x", ["metrics"])
        headers = {"Authorization": f"Bearer {token if right else token[:-1]}"}
        return self.app.test_client().get("/metrics", headers=headers, base_url=BASE).status_code

    def code(self, right):
        self.clock.forward(seconds=60)  # each code works once
        good = totp_code(self.clock())
        return good if right else f"{(int(good) + 555555) % 1000000:06d}"


PASSWORDS = ("employee", "web_view", "staff", "password_change")
CODES = ("staff_with_code", "second_page", "passkey")
OTHERS = ("password_link", "passcode", "api")


@pytest.fixture
def doors(app, company, clock, ada, keys):
    return Doors(app, company, clock, ada)


def counted(portal, key):
    with portal.database.session() as session:
        rows = select(func.count()).select_from(SignInAttempt).where(SignInAttempt.account_key == key)
        return session.scalar(rows)


def of_the_network(portal):
    with portal.database.session() as session:
        of_it = SignInAttempt.address_key == throttle._key("address", "127.0.0.1")
        return session.scalar(select(func.count()).select_from(SignInAttempt).where(of_it))


@pytest.mark.parametrize("other", PASSWORDS + CODES + OTHERS)
@pytest.mark.parametrize("tried", PASSWORDS + CODES)
def test_wrong_tries_at_one_door_stay_counted_after_a_success_at_any_other(portal, doors, ada, tried, other):
    what = throttle.second_factor_of if tried in CODES else throttle.password_of
    key = throttle._key("account", throttle.passkey_of(ada, "127.0.0.1") if tried == "passkey" else what(ada))
    for _ in range(3):
        assert getattr(doors, tried)(False) in (200, 400, 422)  # Settings' web view is told nothing by a status
    assert counted(portal, key) == 3
    before = of_the_network(portal)
    assert getattr(doors, other)(True) in (200, 303, 403)
    same_factor = tried in CODES and other in CODES and (tried == "passkey") == (other == "passkey")
    assert counted(portal, key) == (0 if same_factor else 3)
    assert of_the_network(portal) == before  # the network's tries are never forgotten


def test_the_second_factor_is_not_guessed_by_proving_the_password_in_between(app, company, doors):
    """What was found: nine codes, the password at the employees' door, nine codes, ... without end."""
    for _ in range(20):
        assert doors.second_page(False) == 422
        doors.clock.forward(seconds=-60)
        assert doors.employee(True) in (200, 403)
    reasons = [each.reason for each in staff_events(company)]
    assert (reasons.count("wrong_code"), reasons.count("throttled")) == (10, 1)


def test_twenty_wrong_codes_in_a_row_lock_the_factor_until_an_admin_releases_it(app, company, doors, portal, clock):
    company.person("boss", "admin")
    for _ in range(MOST_WRONG_CODES):
        doors.second_page(False)
        clock.forward(minutes=16)
    assert [each.kind for each in company.all_events()].count("second_factor.locked") == 1
    browser = Browser(app).get("/staff/sign-in").submit(username="ada", password=PASSWORD, code="")
    browser.submit(code=totp_code(clock()))
    assert browser.status == 422
    assert "your codes are locked" in browser.error_of("code")
    assert doors.passkey(True) == 200  # it cannot be guessed, so it still works
    clock.forward(seconds=60)
    boss = Browser(app).staff_sign_in("boss", clock())
    boss.get(f"/admin/people/{doors.ada.id}")
    assert "locked: 20 wrong codes" in boss.text
    boss.submit(f"/admin/people/{doors.ada.id}/unlock-factor")
    assert "Their codes work again" in boss.text
    assert doors.second_page(True) == 200
    with portal.database.session() as session:
        assert session.get_one(SecondFactor, doors.ada.id).wrong_codes == 0


def test_the_command_line_releases_a_factor_where_no_admin_can_sign_in(app, company, doors, portal, clock):
    for _ in range(MOST_WRONG_CODES):
        doors.second_page(False)
        clock.forward(minutes=16)
    done = app.test_cli_runner().invoke(args=["people", "unlock-second-factor", "ada"])
    assert done.exit_code == 0, done.output
    assert doors.second_page(True) == 200


# --- who is counted ---------------------------------------------------------------------------------------------------

ONE_NETWORK = (
    "2001:db8:1:2::1",
    "2001:db8:1:2:ffff:ffff:ffff:ffff",
    "2001:0DB8:0001:0002:0:0:0:9",
    "2001:db8:1:2::5%eth0",
)


def test_an_ipv6_network_counts_as_one_visitor():
    assert len({throttle.network_of(each) for each in ONE_NETWORK}) == 1
    assert throttle.network_of("2001:db8:1:3::1") != throttle.network_of(ONE_NETWORK[0])
    assert throttle.network_of("::ffff:192.0.2.7") == throttle.network_of("192.0.2.7") == "192.0.2.7"
    assert throttle.network_of("192.0.2.8") != throttle.network_of("192.0.2.7")
    assert throttle.network_of("nonsense") == "nonsense"


def test_tries_from_one_ipv6_network_are_counted_together(portal, company, clock):
    rules = portal.settings.sign_in
    with portal.database.transaction() as session:
        for number in range(rules.address_tries):
            throttle.reserve(session, f"account {number}", f"2001:db8:1:2::{number:x}", rules, clock())
        with pytest.raises(Throttled):
            throttle.reserve(session, "another", "2001:db8:1:2:ffff::1", rules, clock())
        throttle.reserve(session, "another", "2001:db8:1:3::1", rules, clock())


@pytest.mark.parametrize(
    "typed", ["eri\u00adka", "ERIKA", "\uff45rika", "érika", "D\\erika", "erika@x.example", "er\u200bika"]
)
def test_a_name_of_nobody_counts_as_one_however_it_is_spelt(typed):
    assert throttle.typed(typed) == throttle.typed("erika")


class TwoAnnas:
    """A directory in which two people have the same name in two domains; it reads names as Active Directory does."""

    name = "directory"

    def __init__(self):
        self.asked = []

    def check(self, username, password, found=lambda _subject: None):
        subject = {"a.example": "1", "partner.example": "2"}.get(username.replace("\u00ad", "").partition("@")[2])
        if subject is None:
            return None
        found(subject)
        self.asked.append(subject)
        if password != PASSWORD:
            return None
        return Found(self.name, subject, f"anna{subject}", "Anna", f"anna{subject}@example.com",
                     managed_apple_account=f"anna{subject}@work.example.com")  # fmt: skip

    def find(self, username):
        return None


@pytest.fixture
def annas(portal):
    source = TwoAnnas()
    portal.__dict__["sources"] = Sources(portal.sources.local, source)
    return source


def test_accounts_are_counted_by_the_entry_that_was_found(app, annas):
    for number in range(12):
        typed = ("anna@a.example", "an\u00adna@a.example")[number % 2]
        status = Browser(app).get("/enroll/sign-in").sign_in(typed, "wrong").status
    assert status == 429
    assert annas.asked.count("1") == 10  # not one password more was tried, whatever the spelling
    assert Browser(app).get("/enroll/sign-in").sign_in("anna@partner.example").status == 200


def test_whoever_owns_the_other_account_of_that_name_clears_nothing(app, annas):
    for _ in range(9):
        Browser(app).get("/enroll/sign-in").sign_in("anna@a.example", "wrong")
    assert Browser(app).get("/enroll/sign-in").sign_in("anna@partner.example").status == 200
    Browser(app).get("/enroll/sign-in").sign_in("anna@a.example", "wrong")
    assert Browser(app).get("/enroll/sign-in").sign_in("anna@a.example").status == 429


# --- the trail --------------------------------------------------------------------------------------------------------


def staff_events(company):
    return [each for each in company.all_events() if each.kind.startswith("staff.")]


def test_whoever_guesses_codes_does_not_keep_the_owner_from_their_passkey(doors):
    for _ in range(12):
        doors.second_page(False)
        doors.clock.forward(seconds=-60)
    assert doors.second_page(True) == 422  # throttled
    assert doors.passkey(True) == 200


@pytest.mark.parametrize(
    ("door", "right", "kind", "reason", "factor"),
    [
        ("staff_with_code", True, "staff.signed_in", None, "app"),
        ("second_page", True, "staff.signed_in", None, "app"),
        ("passkey", True, "staff.signed_in", None, "passkey"),
        ("staff", False, "staff.sign_in_refused", "wrong_credentials", None),
        ("staff_with_code", False, "staff.sign_in_refused", "wrong_code", None),
        ("second_page", False, "staff.sign_in_refused", "wrong_code", None),
        ("passkey", False, "staff.sign_in_refused", "wrong_passkey", None),
    ],
)
def test_every_staff_sign_in_leaves_one_event(company, doors, door, right, kind, reason, factor):
    getattr(doors, door)(right)
    (event,) = staff_events(company)
    assert (event.kind, event.reason, event.actor) == (kind, reason, f"admin:{doors.ada.id}")
    told = {key: value for key, value in event.detail.items() if key != "salt"}
    assert told.pop("person") == doors.ada.id
    assert told == {"method": "password", "address": "127.0.0.1"} | ({"factor": factor} if factor else {})


def test_a_new_second_factor_is_named_as_such(app, company, portal, clock):
    person = company.person("helen", "helpdesk")
    with portal.database.transaction() as session:
        session.delete(session.get_one(SecondFactor, person.id))
    browser = Browser(app).get("/staff/sign-in").submit(username="helen", password=PASSWORD, code="")
    secret = browser.soup.find("span", class_="account").get_text()
    browser.submit(code=pyotp.TOTP(secret).at(clock()))
    assert [each.detail["factor"] for each in staff_events(company)] == ["new_app"]


def test_somebody_who_is_no_staff_and_nobody_at_all_are_told_of(app, company):
    company.person()
    for username in ("erika", "nobody"):
        Browser(app).get("/staff/sign-in").submit(username=username, password=PASSWORD, code="")
    assert [each.reason for each in staff_events(company)] == ["not_staff", "wrong_credentials"]
    assert "nobody" not in str([each.detail for each in staff_events(company)])  # perhaps it was a password


def test_throttling_is_told_once_in_a_row(app, company, ada):
    for _ in range(15):
        Browser(app).get("/staff/sign-in").submit(username="ada", password="wrong", code="")
    assert [each.reason for each in staff_events(company)] == ["wrong_credentials"] * 10 + ["throttled"]


def test_employees_without_a_link_leave_an_event_too(app, company):
    company.person()
    for _ in range(12):
        Browser(app).get("/enroll/sign-in").sign_in("erika", "wrong")
    told = [each for each in company.all_events() if each.kind == "sign_in.refused"]
    assert [each.reason for each in told] == ["wrong_credentials"] * 10 + ["throttled"]
    assert {each.detail["address"] for each in told} == {"127.0.0.1"}
    assert "erika" not in str([each.detail for each in told])


# --- no order of requests ---------------------------------------------------------------------------------------------


class Guessing(RuleBasedStateMachine):
    """Right and wrong tries at password and second factor in any order, time passing: what is judged in a window."""

    template: Template
    folder: Callable[[], object]

    def __init__(self):
        super().__init__()
        self.portal, self.clean_up = type(self).open()
        self.person = Company(self.portal).person("ada", "admin")
        self.rules = SignIn(passwords=True, password_length=15, account_tries=4, address_tries=1000, window_minutes=10)
        self.now = portal_clock.now()
        self.judged = {"password": [], "factor": []}
        self.wrong_in_a_row = 0

    def teardown(self):
        self.portal.database.engine.dispose()
        self.clean_up()

    def reserve(self, account):
        with self.portal.database.transaction() as session:
            return throttle.reserve(session, account, "192.0.2.1", self.rules, self.now)

    @rule(right=st.booleans())
    def password(self, right):
        try:
            attempt = self.reserve(throttle.password_of(self.person))
        except Throttled:
            return
        if right:
            with self.portal.database.transaction() as session:
                throttle.release(session, attempt)
        else:
            self.judged["password"].append(self.now)

    @rule(right=st.booleans())
    def code(self, right):
        try:
            attempt = self.reserve(throttle.second_factor_of(self.person))
        except Throttled:
            return
        self.now += MINUTE
        good = pyotp.TOTP(TOTP_SECRET).at(self.now)
        entered = good if right else f"{(int(good) + 555555) % 1000000:06d}"
        try:
            with self.portal.database.transaction() as session:
                person = session.get_one(Person, self.person.id)
                fits = second_factor.use(session, self.portal.vault, person, entered, self.now)
                if fits:
                    throttle.release(session, attempt)
                    throttle.clear(session, throttle.second_factor_of(person))
        except FactorLocked:
            self.wrong_in_a_row += 1
            assert self.wrong_in_a_row >= MOST_WRONG_CODES
            return
        assert bool(fits) == right
        self.wrong_in_a_row = 0 if fits else self.wrong_in_a_row + 1
        assert self.wrong_in_a_row < MOST_WRONG_CODES
        if fits:
            self.judged["factor"].clear()
        else:
            self.judged["factor"].append(self.now)

    @rule(minutes=st.integers(1, 12))
    def wait(self, minutes):
        self.now += MINUTE * minutes

    @precondition(lambda self: self.wrong_in_a_row >= MOST_WRONG_CODES)
    @rule()
    def release_the_factor(self):
        with self.portal.database.transaction() as session:
            second_factor.unlock(editing(self.portal, session, self.now), session.get_one(Person, self.person.id))
        self.wrong_in_a_row = 0
        self.judged["factor"].clear()

    @invariant()
    def no_more_than_the_limit_is_judged_in_a_window(self):
        for times in self.judged.values():
            recent = [each for each in times if each > self.now - MINUTE * self.rules.window_minutes]
            assert len(recent) <= self.rules.account_tries


def test_no_order_of_requests_lets_more_than_the_limit_be_judged(template, tmp_path_factory, clock):
    from portal.services import Portal

    def open_one():
        folder = tmp_path_factory.mktemp("guessing")
        url, clean_up = template.copy(folder)
        return Portal(template.settings(folder, url)), clean_up

    Guessing.open = staticmethod(open_one)
    machine = Guessing.TestCase
    machine.settings = hypothesis_settings(max_examples=12, stateful_step_count=40, deadline=None)
    machine("runTest").runTest()
