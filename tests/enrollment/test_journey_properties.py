"""The journey as a state machine: any sequence of events, in any order and twice, keeps every invariant."""

from dataclasses import replace
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
from sqlalchemy.orm import Session

from portal import audit
from portal import clock as portal_clock
from portal.database import Database
from portal.enrollment import access, devices, ending, errors, journey, passcode, steps
from portal.enrollment import profile as profiles
from portal.enrollment.devices import DeviceReport
from portal.enrollment.journey import CARRIED_OVER, STEPS, Facts, SignedInBrowser, Status, Step
from portal.events import Event
from portal.models import AccessToken, Certificate, Device, EnrollmentRequest, IssuedProfile, Person
from portal.storage import states, terms
from portal.storage.cases import Cases
from tests.factories import Company

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ORDER = ("sign_in.accepted", "ownership.chosen", "privacy.acknowledged", "passcode.verified", "overview.seen",
         "terms.accepted", "profile.issued", "profile.downloaded", "device.authenticated",
         "device.enrolled")  # fmt: skip
REFUSALS = (errors.EnrollmentError, profiles.ProfileNotSigned)

# --- pure facts ----------------------------------------------------------------------------------------------------

moments = st.integers(-60, 60).map(lambda minutes: START + timedelta(minutes=minutes))
times = st.one_of(st.none(), moments)
facts = st.builds(
    Facts,
    expires_at=moments,
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
).map(lambda known: known if known.profile_issued_at else replace(known, profile_downloaded_at=None))
"""Whatever is known, but for one thing that no row can say: a profile that was downloaded was issued."""


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
    with Session(portal.database.engine) as session:  # rolled back: nothing is kept
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
        told = states.status_expression(now), EnrollmentRequest.is_unfinished, EnrollmentRequest.can_enroll(now)
        row = session.execute(
            select(EnrollmentRequest, *told).outerjoin(IssuedProfile, IssuedProfile.id == EnrollmentRequest.profile_id)
        ).one()
        held, found = row[0], journey.of(row[0])
        assert row[1:] == (journey.status(found, now).value, held.is_unfinished, held.can_enroll(now))
        assert held.can_enroll(now) == (found.enrolled_at is None and not found.over(now))


# --- events in any order -------------------------------------------------------------------------------------------


class World:
    """The portal that the machine plays with; made once, since it is the invariants that are tested."""

    portal = None
    people = enrolled = 0


class JourneyMachine(RuleBasedStateMachine):
    """Two browsers, one device after another, helpdesk, the clock and a mail that may be read late."""

    @initialize()
    def begin(self):
        self.portal = World.portal
        self.now = START
        portal_clock.use(lambda: self.now)
        self.database: Database = self.portal.database
        company = Company(self.portal)
        World.people += 1
        self.invitation = company.invite(company.person(f"person{World.people}"))
        self.id = self.invitation.request.id
        self.passcodes = [self.invitation.passcode]
        self.tickets: list[str] = []
        self.tokens: list[str] = []
        self.devices: list[str] = []
        self.highest = 0
        self.enrolled_before = self.ended_before = False

    def do(self, function, *arguments, walk=None, find=None):
        """One event on the locked case, in its own transaction; refusals are fine, other errors are not."""
        try:
            with self.database.transaction() as session:
                cases = Cases(session, self.portal)
                case = find(cases) if find else cases.lock(self.id, walk)
                return None if case is None else function(case, *arguments)
        except REFUSALS:
            return None

    # Two browsers in Safari, and the web view of Settings as it was opened at the beginning and an hour later.
    browsers = st.sampled_from(
        [
            SignedInBrowser("browser-a"),
            SignedInBrowser("browser-b"),
            SignedInBrowser("web-view", START - CARRIED_OVER),
            SignedInBrowser("web-view-later", START + timedelta(minutes=60)),
        ]
    )

    @rule(minutes=st.sampled_from([1, 3, 8, 60, 60 * 24 * 3]))
    def time_passes(self, minutes):
        self.now += timedelta(minutes=minutes)

    @rule()
    def signs_in(self):
        self.do(lambda case: steps.sign_in(case, case.request.person))

    @rule(browser=browsers, ownership=st.sampled_from(["employee", "employee", "corporate"]))
    def chooses(self, browser, ownership):
        self.do(steps.choose_ownership, ownership, walk=browser)

    @rule(browser=browsers)
    def acknowledges(self, browser):
        self.do(steps.acknowledge_privacy, walk=browser)

    @rule(browser=browsers, which=st.integers(-1, 5))
    def enters_passcode(self, browser, which):
        code = "999999" if which < 0 else self.passcodes[min(which, len(self.passcodes) - 1)]
        self.do(steps.enter_passcode, code, walk=browser)

    @rule(browser=browsers)
    def asks_for_passcode(self, browser):
        self.do(steps.send_passcode, walk=browser)
        with self.database.session() as session:
            request = session.get_one(EnrollmentRequest, self.id)
            self.passcodes.append(passcode._hotp(request, self.portal.vault).at(request.passcode_counter))

    @rule(browser=browsers)
    def reads_overview(self, browser):
        self.do(steps.see_overview, walk=browser)

    @rule(browser=browsers)
    def accepts(self, browser):
        def accept(case):
            version = case.request.terms_current
            digest = terms.sha256(terms.in_language(case.store.terms(version), "en").text)
            steps.accept_terms(case, version, digest, "en")

        self.do(accept, walk=browser)

    @rule(browser=browsers)
    def walks_on(self, browser):
        """Answer everything that is open, as most people do."""
        self.signs_in()
        self.chooses(browser, "employee")
        self.acknowledges(browser)
        self.enters_passcode(browser, len(self.passcodes) - 1)
        self.reads_overview(browser)
        self.accepts(browser)

    def issuer(self):
        """What making a profile needs, for either way."""
        portal = self.portal
        return profiles.ProfileIssuer(
            portal.authority, portal.signer, portal.backend.management, "name", "description", {"default": "consent"}
        )

    @rule(browser=browsers)
    def downloads(self, browser):
        def issue(case):
            profiles.issue(case, self.issuer())
            return case.request.profile_id

        profile_id = self.do(issue, walk=browser)
        if profile_id:
            self.tickets.append(profile_id)
            self.do(steps.profile_downloaded, profile_id)

    @rule(browser=browsers)
    def gets_access_token(self, browser):
        token = self.do(access.grant, self.issuer(), walk=browser)
        if token:
            self.tokens.append(token)

    @precondition(lambda self: self.tokens)
    @rule(which=st.integers(0, 9))
    def settings_fetches_profile(self, which):
        def fetch(found):
            case, token = found
            profile_id, content = access.fetch(case, token)
            request = case.request
            assert content
            assert profile_id == request.profile_id  # only the newest, and only before a device enrolled
            assert (request.enrolled_at, request.ended_at) == (None, None)
            steps.profile_downloaded(case, profile_id)
            return profile_id

        token = self.tokens[which % len(self.tokens)]
        profile_id = self.do(fetch, find=lambda cases: cases.of_token(token))
        if profile_id and profile_id not in self.tickets:
            self.tickets.append(profile_id)

    @rule()
    def helpdesk_asks_to_sign_in_again(self):
        self.do(access.ask_to_sign_in_again, "helpdesk:x")

    @precondition(lambda self: self.tickets)
    @rule(which=st.integers(0, 9))
    def device_gets_certificate(self, which):
        def certify(case):
            profile = case.profile
            if devices.challenge_problem(case, "csr", (profile.id,)) is None and profile.csr_sha256 is None:
                profile.csr_sha256, profile.certificate_at = "csr", case.now
                case.record(Event.CERTIFICATE_ISSUED)
                case.store.add(
                    Certificate(
                        fingerprint=profile.id,
                        serial=profile.id,
                        profile_id=profile.id,
                        request_id=self.id,
                        der=b"",
                        issued_at=self.now,
                        expires_at=self.now + timedelta(days=365),
                    )
                )

        self.do(certify, find=self.of_ticket(which))

    def of_ticket(self, which):
        """The case of one of the profiles."""
        profile_id = self.tickets[which % len(self.tickets)]
        return lambda cases: cases.of_profile(profile_id)

    def of_device(self, which):
        """The case of one of the devices."""
        device_id = self.devices[which % len(self.devices)]
        return lambda cases: cases.of_device(device_id)

    @precondition(lambda self: self.tickets)
    @rule(which=st.integers(0, 9), enrollment=st.sampled_from(["E1", "E2"]))
    def device_authenticates(self, which, enrollment):
        report = DeviceReport(f"{self.id}-{enrollment}", "17.6", "21G", "iPhone14,5")
        device = self.do(devices.authenticated, report, find=self.of_ticket(which))
        if device is not None:
            self.devices.append(device.id)

    @precondition(lambda self: self.tickets)
    @rule(which=st.integers(0, 9))
    def device_is_refused(self, which):
        self.do(devices.refused, "hardware_identifier", find=self.of_ticket(which))

    @precondition(lambda self: self.devices)
    @rule(which=st.integers(0, 9))
    def device_enrolls(self, which):
        def enroll(case):
            certificate = case.store.certificate_of(case.profile.id)
            if certificate.revoked_at is None:  # the backend checks this for every message
                World.enrolled += devices.enrolled(case)

        self.do(enroll, find=self.of_device(which))

    @precondition(lambda self: self.tickets)
    @rule()
    def the_newest_device_goes_all_the_way(self):
        """As most do: certificate, its name, its token."""
        newest = len(self.tickets) - 1
        self.device_gets_certificate(newest)
        self.device_authenticates(newest, "E1")
        if self.devices:
            self.device_enrolls(len(self.devices) - 1)

    @rule(browser=st.sampled_from([SignedInBrowser("browser-a"), SignedInBrowser("browser-b")]))
    def enrolls(self, browser):
        """Everything, one after the other, as it should be."""
        self.asks_for_passcode(browser)
        self.walks_on(browser)
        self.downloads(browser)
        if self.tickets:
            self.the_newest_device_goes_all_the_way()

    @precondition(lambda self: self.devices)
    @rule(which=st.integers(0, 9), reason=st.sampled_from([ending.Reason.LEFT, ending.Reason.GIVEN_UP]))
    def device_leaves(self, which, reason):
        self.do(ending.end, reason, find=self.of_device(which))

    @rule()
    def helpdesk_cancels(self):
        self.do(ending.cancel, "helpdesk:x")

    @invariant()
    def holds(self):
        if not hasattr(self, "id"):
            return
        with self.database.session() as session:
            request = session.get_one(EnrollmentRequest, self.id)
            known = journey.of(request)
            state = journey.status(known, self.now)
            row = session.execute(
                select(states.status_expression(self.now))
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
            for which in ("is_managed", "is_managed_here", "is_served", "is_held"):
                of_this = select(Device.id).where(Device.request_id == self.id, getattr(Device, which))
                assert set(session.scalars(of_this)) == {each.id for each in devices if getattr(each, which)}
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
                step = journey.current_step(journey.of(request, SignedInBrowser(browser)), self.now)
                if step is Step.PROFILE:
                    assert request.passcode_session_id == browser

    def teardown(self):
        if not hasattr(self, "id"):
            return
        assert audit.broken_links(self.database) == []
        with self.database.session() as session:
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
    assert World.enrolled > 0  # else it would prove nothing about what comes after
