"""The journey as a state machine: any sequence of events, in any order and twice, keeps every invariant."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from portal import audit
from portal import clock as portal_clock
from portal.database import Database
from portal.enrollment import access, errors, journey, passcode, progress, requests, terms
from portal.enrollment import profile as profiles
from portal.enrollment.journey import CARRIED_OVER, STEPS, Facts, Status, Step, Walk
from portal.models import AccessToken, Certificate, Device, EnrollmentRequest, IssuedProfile, Person
from tests.factories import Company

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ORDER = ("sign_in.accepted", "ownership.chosen", "privacy.acknowledged", "passcode.verified", "overview.seen",
         "terms.accepted", "profile.issued", "profile.downloaded", "device.authenticated",
         "device.enrolled")  # fmt: skip
REFUSALS = (errors.EnrollmentError, profiles.ProfileNotSigned)

# --- pure facts ----------------------------------------------------------------------------------------------------

times = st.one_of(st.none(), st.integers(-60, 60).map(lambda minutes: START + timedelta(minutes=minutes)))
facts = st.builds(
    Facts,
    expires_at=times.filter(bool),
    terms_current=st.sampled_from(["1", "2"]),
    signed_in_at=times,
    ownership=st.sampled_from([None, "employee", "corporate"]),
    privacy_at=times,
    passcode_verified_at=times,
    overview_at=times,
    terms_version=st.sampled_from([None, "1", "2"]),
    terms_accepted_at=times,
    profile_issued_at=times,
    profile_expires_at=times,
    profile_downloaded_at=times,
    certificate_at=times,
    authenticated_at=times,
    refused_at=times,
    enrolled_at=times,
    ended_at=times,
    end_reason=st.sampled_from([None, "cancelled", "removed"]),
)


@given(facts)
def test_any_facts_have_one_step_one_status_and_one_waiting(known):
    step = journey.current_step(known, START)
    assert step in STEPS
    assert journey.status(known, START) in set(Status)
    assert journey.may_visit(step, known, START)
    journey.waiting(known, START)


@given(facts)
def test_only_neighbours_of_the_current_step_may_be_visited(known):
    allowed = {step for step in STEPS if journey.may_visit(step, known, START)}
    current = journey.current_step(known, START)
    assert allowed <= {current, Step.PROFILE, Step.FINISH}
    if current not in (Step.PROFILE, Step.FINISH):
        assert allowed == {current}


@given(facts)
def test_nobody_gets_to_the_profile_without_every_step_before_it(known):
    if journey.current_step(known, START) in (Step.PROFILE, Step.FINISH) and not (
        known.enrolled_at or known.over(START)
    ):
        assert known.ownership == "employee"
        assert None not in (known.signed_in_at, known.privacy_at, known.passcode_verified_at, known.overview_at)
        if known.profile_issued_at is None:
            assert known.terms_version == known.terms_current


# --- the same in SQL -----------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(known=facts, now=st.integers(-60, 60).map(lambda minutes: START + timedelta(minutes=minutes)))
def test_the_status_in_sql_is_the_status_in_python(portal, company, known, now):
    with portal.database.session() as session:  # rolled back: nothing is kept
        person = Person(username="x", name="x", email="x@example.com", role="employee", locale="en", created_at=START)
        session.add(person)
        session.flush()
        request = EnrollmentRequest(
            person_id=person.id, source="self", created_by="x", created_at=START, expires_at=known.expires_at,
            managed_apple_account="a@b", passcode_secret_sealed=b"", signed_in_at=known.signed_in_at,
            ownership=known.ownership, enrolled_at=known.enrolled_at, ended_at=known.ended_at,
            end_reason=known.end_reason if known.ended_at else None,
        )  # fmt: skip
        session.add(request)
        session.flush()
        if known.profile_issued_at and known.profile_expires_at:
            profile = IssuedProfile(
                request_id=request.id, ticket_hash="t", challenge_hash="c", issued_at=known.profile_issued_at,
                expires_at=known.profile_expires_at, certificate_at=known.certificate_at, refused_at=known.refused_at,
            )  # fmt: skip
            session.add(profile)
            session.flush()
            request.profile_id = profile.id
            session.flush()
        session.expire_all()
        row = session.execute(
            select(EnrollmentRequest, journey.status_expression(now)).outerjoin(
                IssuedProfile, IssuedProfile.id == EnrollmentRequest.profile_id
            )
        ).one()
        assert row[1] == journey.status(journey.of(row[0]), now).value


# --- events in any order -------------------------------------------------------------------------------------------


class World:
    """The portal that the machine plays with; made once, since it is the invariants that are tested."""

    portal = None


class JourneyMachine(RuleBasedStateMachine):
    """Two browsers, one device after another, helpdesk, the clock and a mail that may be read late."""

    @initialize()
    def begin(self):
        self.portal = World.portal
        self.now = START
        portal_clock.use(lambda: self.now)
        self.database: Database = self.portal.database
        company = Company(self.portal)
        with self.database.session() as session:
            person = session.scalar(select(Person).limit(1))
        self.invitation = company.invite(person or company.person())
        self.id = self.invitation.request.id
        self.passcodes = [self.invitation.passcode]
        self.tickets: list[str] = []
        self.tokens: list[str] = []
        self.devices: list[str] = []
        self.highest = 0
        self.enrolled_before = self.ended_before = False

    def do(self, function, *arguments):
        """One event in its own transaction; refusals are fine, other errors are not."""
        try:
            with self.database.transaction() as session:
                return function(session, *arguments)
        except REFUSALS:
            return None

    # Two browsers in Safari, and the web view of Settings as it was opened at the beginning and an hour later.
    browsers = st.sampled_from(
        [
            Walk("browser-a"),
            Walk("browser-b"),
            Walk("web-view", START - CARRIED_OVER),
            Walk("web-view-later", START + timedelta(minutes=60)),
        ]
    )

    @rule(minutes=st.sampled_from([1, 3, 8, 60, 60 * 24 * 3]))
    def time_passes(self, minutes):
        self.now += timedelta(minutes=minutes)

    @rule()
    def signs_in(self):
        self.do(lambda s: progress.sign_in(s, self.id, s.get_one(Person, self.invitation.request.person_id), self.now))

    @rule(browser=browsers, ownership=st.sampled_from(["employee", "employee", "corporate"]))
    def chooses(self, browser, ownership):
        self.do(progress.choose_ownership, self.id, browser, ownership, self.now)

    @rule(browser=browsers)
    def acknowledges(self, browser):
        self.do(progress.acknowledge_privacy, self.id, browser, self.now)

    @rule(browser=browsers, which=st.integers(-1, 5))
    def enters_passcode(self, browser, which):
        code = "999999" if which < 0 else self.passcodes[min(which, len(self.passcodes) - 1)]
        rules = self.portal.settings.passcode
        self.do(progress.enter_passcode, self.portal.vault, rules, self.id, browser, code, self.now)

    @rule(browser=browsers)
    def asks_for_passcode(self, browser):
        self.do(requests.send_passcode, self.portal.vault, self.portal.settings, self.id, browser, self.now)
        with self.database.session() as session:
            request = session.get_one(EnrollmentRequest, self.id)
            self.passcodes.append(passcode._hotp(request, self.portal.vault).at(request.passcode_counter))

    @rule(browser=browsers)
    def reads_overview(self, browser):
        self.do(progress.see_overview, self.id, browser, self.now)

    @rule(browser=browsers)
    def accepts(self, browser):
        def accept(session):
            version = terms.current_version(session)
            digest = terms.sha256(terms.text_of(session, version, "en").text)
            progress.accept_terms(session, self.id, browser, version, digest, "en", self.now)

        self.do(accept)

    @rule(browser=browsers)
    def walks_on(self, browser):
        """Answer everything that is open, as most people do."""
        self.signs_in()
        self.chooses(browser, "employee")
        self.acknowledges(browser)
        self.enters_passcode(browser, len(self.passcodes) - 1)
        self.reads_overview(browser)
        self.accepts(browser)

    def press(self):
        """What making a profile needs, for either way."""
        portal = self.portal
        return profiles.Press(
            portal.settings, portal.vault, portal.authority, portal.signer, portal.backend.management,
            "name", "description", {"default": "consent"},
        )  # fmt: skip

    @rule(browser=browsers)
    def downloads(self, browser):
        ticket = self.do(profiles.issue, self.press(), self.id, browser, self.now)
        if ticket:
            with self.database.session() as session:
                self.tickets.append(session.get_one(EnrollmentRequest, self.id).profile_id)
            self.do(progress.profile_downloaded, self.tickets[-1], self.now)

    @rule(browser=browsers)
    def gets_access_token(self, browser):
        token = self.do(access.grant, self.press(), self.id, browser, self.now)
        if token:
            self.tokens.append(token)

    @precondition(lambda self: self.tokens)
    @rule(which=st.integers(0, 9))
    def settings_fetches_profile(self, which):
        def fetch(session):
            token = self.tokens[which % len(self.tokens)]
            profile_id, content = access.fetch(session, self.portal.vault, token, self.now)
            request = session.get_one(EnrollmentRequest, self.id)
            assert content
            assert profile_id == request.profile_id  # only the newest, and only before a device enrolled
            assert (request.enrolled_at, request.ended_at) == (None, None)
            progress.profile_downloaded(session, profile_id, self.now)
            return profile_id

        profile_id = self.do(fetch)
        if profile_id and profile_id not in self.tickets:
            self.tickets.append(profile_id)

    @rule()
    def helpdesk_asks_to_sign_in_again(self):
        self.do(access.ask_to_sign_in_again, self.id, "helpdesk:x", self.now)

    def certify(self, profile_id):
        def issue(session):
            profile = session.get_one(IssuedProfile, profile_id)
            request = requests.lock(session, self.id)
            usable = progress._challenge_problem(profile, request, "csr", [profile_id], self.now) is None
            if usable and profile.csr_sha256 is None:
                profile.csr_sha256, profile.certificate_at = "csr", self.now
                session.add(
                    Certificate(
                        fingerprint=profile_id,
                        serial=profile_id,
                        profile_id=profile_id,
                        request_id=self.id,
                        der=b"",
                        issued_at=self.now,
                        expires_at=self.now + timedelta(days=365),
                    )
                )

        self.do(issue)

    @precondition(lambda self: self.tickets)
    @rule(which=st.integers(0, 9))
    def device_gets_certificate(self, which):
        self.certify(self.tickets[which % len(self.tickets)])

    @precondition(lambda self: self.tickets)
    @rule(which=st.integers(0, 9), enrollment=st.sampled_from(["E1", "E2"]))
    def device_authenticates(self, which, enrollment):
        profile_id = self.tickets[which % len(self.tickets)]
        report = progress.DeviceReport(f"{self.id}-{enrollment}", "17.6", "21G", "iPhone14,5")
        device = self.do(progress.device_authenticated, profile_id, report, self.now)
        if device is not None:
            self.devices.append(device.id)

    @precondition(lambda self: self.tickets)
    @rule(which=st.integers(0, 9))
    def device_is_refused(self, which):
        self.do(progress.device_refused, self.tickets[which % len(self.tickets)], "hardware_identifier", self.now)

    @precondition(lambda self: self.devices)
    @rule(which=st.integers(0, 9))
    def device_enrolls(self, which):
        def enroll(session):
            device = session.get_one(Device, self.devices[which % len(self.devices)])
            certificate = session.get_one(Certificate, device.certificate_fingerprint)
            if certificate.revoked_at is None:  # the backend checks this for every message
                progress.device_enrolled(session, device, self.now)

        self.do(enroll)

    @precondition(lambda self: self.devices)
    @rule(which=st.integers(0, 9))
    def device_leaves(self, which):
        self.do(
            lambda s: progress.device_left(
                s, s.get_one(Device, self.devices[which % len(self.devices)]), "removed_on_device", self.now
            )
        )

    @rule()
    def helpdesk_cancels(self):
        self.do(requests.cancel, self.id, "helpdesk:x", self.now)

    @invariant()
    def holds(self):
        if not hasattr(self, "id"):
            return
        with self.database.session() as session:
            request = session.get_one(EnrollmentRequest, self.id)
            known = journey.of(request)
            state = journey.status(known, self.now)
            row = session.execute(
                select(journey.status_expression(self.now))
                .select_from(EnrollmentRequest)
                .outerjoin(IssuedProfile, IssuedProfile.id == EnrollmentRequest.profile_id)
                .where(EnrollmentRequest.id == self.id)
            ).scalar_one()
            assert row == state.value
            # What ended stays ended, what enrolled stays so until it ends.
            assert not (self.ended_before and request.ended_at is None)
            assert not (self.enrolled_before and request.enrolled_at is None)
            self.ended_before, self.enrolled_before = request.ended_at is not None, request.enrolled_at is not None
            # At most one device ever enrolls on one request, and only with every step answered.
            devices = session.scalars(select(Device).where(Device.request_id == self.id)).all()
            assert sum(device.enrolled_at is not None for device in devices) <= 1
            if request.enrolled_at is not None:
                answered = (request.signed_in_at, request.privacy_at, request.passcode_verified_at)
                assert None not in (*answered, request.overview_at, request.terms_accepted_at)
                assert request.ownership == "employee"
            # Only the latest download can have a living certificate, none after the end.
            alive = session.scalars(
                select(Certificate).where(Certificate.request_id == self.id, Certificate.revoked_at.is_(None))
            ).all()
            assert {certificate.profile_id for certificate in alive} <= {request.profile_id}
            assert not (request.ended_at and alive)
            assert request.passcode_tries <= self.portal.settings.passcode.tries
            # No access token is good for anything but the newest profile, none after the end.
            living = session.scalars(
                select(AccessToken).where(AccessToken.request_id == self.id, AccessToken.revoked_at.is_(None))
            ).all()
            assert {token.profile_id for token in living} <= {request.profile_id}
            assert not (request.ended_at and living)
            # Nobody but the browser with the passcode sees a profile.
            for browser in ("browser-a", "browser-b"):
                step = journey.current_step(journey.of(request, Walk(browser)), self.now)
                if step is Step.PROFILE:
                    assert request.passcode_visit_id == browser

    def teardown(self):
        if not hasattr(self, "id"):
            return
        with self.database.session() as session:
            assert list(audit.broken_links(session)) == []
            kinds = [event.kind for event in audit.timeline(session, self.id)]
            assert kinds.count("device.enrolled") <= 1
            happened = [kind for kind in ORDER if kind in kinds]
            assert happened == list(ORDER[: len(happened)])  # none without the one before it
            assert sorted(happened, key=kinds.index) == happened
        portal_clock.use(lambda: START)


@pytest.mark.timeout(600)
def test_the_journey_keeps_its_invariants(portal, clock):
    World.portal = portal
    run_state_machine_as_test(
        JourneyMachine,
        settings=settings(max_examples=40, stateful_step_count=30, deadline=None, print_blob=True),
    )
