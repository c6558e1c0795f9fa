"""The heart decides without a database: any order of steps and messages keeps what is promised."""

import inspect
from datetime import timedelta

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from portal.enrollment import access, devices, ending, errors, invitations, management, steps, terms
from portal.enrollment import profile as profiles
from portal.enrollment.case import Store
from portal.enrollment.devices import DeviceReport
from portal.enrollment.ending import Reason
from portal.enrollment.journey import SignedInBrowser, Step
from portal.models import AccessToken, Certificate, Command, Device, IssuedProfile, Person
from portal.settings import load
from portal.storage.cases import Cases
from tests.enrollment.memory import TEXT, Enrollment, MemoryStore

A, B = SignedInBrowser("browser-a"), SignedInBrowser("browser-b")
DIGEST = terms.sha256(TEXT)


@pytest.fixture
def rules(tmp_path):
    return load(data_dir=tmp_path, public_url="https://portal.example.com")


@pytest.fixture(autouse=True)
def unsigned(monkeypatch):
    """What is signed is of no matter here."""
    monkeypatch.setattr(profiles, "_sign", lambda *_: b"profile")


@pytest.fixture
def enrollment(rules):
    return Enrollment(rules)


def answer_everything(enrollment, walk=A):
    steps.sign_in(enrollment.case(), enrollment.request.person)
    steps.choose_ownership(enrollment.case(walk), "employee")
    steps.acknowledge_privacy(enrollment.case(walk))
    steps.enter_passcode(enrollment.case(walk), enrollment.passcode)
    steps.see_overview(enrollment.case(walk))
    steps.accept_terms(enrollment.case(walk), "1", DIGEST, "en")


def download(enrollment, walk=A):
    profiles.issue(enrollment.case(walk), None)
    profile = enrollment.store.of(IssuedProfile)[-1]
    steps.profile_downloaded(enrollment.case(walk), profile.id)
    return profile


def certify(enrollment, profile):
    if enrollment.store.certificate_of(profile.id) is None:
        profile.csr_sha256, profile.certificate_at = "csr", enrollment.now
        enrollment.store.add(Certificate(fingerprint=profile.id, profile_id=profile.id))


def enroll(enrollment, name="E1"):
    profile = download(enrollment)
    certify(enrollment, profile)
    devices.authenticated(enrollment.case(profile=profile), DeviceReport(name))
    devices.enrolled(enrollment.case(profile=profile))
    return profile


def test_somebody_else_s_sign_in_is_refused_and_told(enrollment):
    with pytest.raises(errors.WrongPerson):
        steps.sign_in(enrollment.case(), Person(id="another"))
    assert enrollment.events == ["sign_in.refused"]
    assert enrollment.request.signed_in_at is None


@pytest.mark.parametrize(
    "act",
    [
        lambda case: steps.acknowledge_privacy(case),
        lambda case: steps.enter_passcode(case, "123456"),
        lambda case: steps.see_overview(case),
        lambda case: steps.accept_terms(case, "1", DIGEST, "en"),
        lambda case: profiles.issue(case, None),
        lambda case: access.grant(case, None),
    ],
    ids=["privacy", "passcode", "overview", "terms", "profile", "token"],
)
def test_no_step_comes_before_its_turn(enrollment, act):
    steps.sign_in(enrollment.case(), enrollment.request.person)
    with pytest.raises(errors.StepOutOfOrder):
        act(enrollment.case(A))
    assert enrollment.events == ["sign_in.accepted"]


def test_the_second_browser_proves_itself_again(enrollment):
    answer_everything(enrollment)
    assert enrollment.case(A).step is Step.PROFILE
    assert enrollment.case(B).step is Step.PASSCODE
    with pytest.raises(errors.StepOutOfOrder):
        profiles.issue(enrollment.case(B), None)


def test_a_wrong_passcode_is_counted_and_told_and_the_last_locks(enrollment, rules):
    steps.sign_in(enrollment.case(), enrollment.request.person)
    steps.choose_ownership(enrollment.case(A), "employee")
    steps.acknowledge_privacy(enrollment.case(A))
    wrong = "000000" if enrollment.passcode != "000000" else "111111"
    for left in range(rules.passcode.tries - 1, 0, -1):
        with pytest.raises(errors.PasscodeWrong) as refusal:
            steps.enter_passcode(enrollment.case(A), wrong)
        assert refusal.value.tries_left == left
    for entered in (wrong, enrollment.passcode):
        with pytest.raises(errors.PasscodeLocked):
            steps.enter_passcode(enrollment.case(A), entered)
    assert enrollment.events.count("passcode.rejected") == rules.passcode.tries + 1


def test_a_refusal_that_repeats_is_told_once(enrollment):
    for _ in range(3):
        steps.sign_in_failed(enrollment.case(), "throttled")
    steps.sign_in_failed(enrollment.case(), "wrong_credentials")
    steps.sign_in_failed(enrollment.case(), "wrong_credentials")
    assert enrollment.events == ["sign_in.refused"] * 3


@pytest.mark.parametrize("reason", [each for each in Reason if each is not Reason.CANCELLED])
def test_whatever_the_reason_everything_ends_with_it(enrollment, reason):
    answer_everything(enrollment)
    profile = enroll(enrollment)
    enrollment.store.add(AccessToken(token_hash="t", profile_id=profile.id))
    assert ending.end(enrollment.case(profile=profile), reason)
    device, request = enrollment.store.of(Device)[0], enrollment.request
    assert (device.ended_at, device.end_reason) == (enrollment.now, reason)
    assert (request.ended_at, request.end_reason) == (enrollment.now, "removed")
    assert (profile.superseded_at, profile.content_sealed) == (enrollment.now, None)
    assert all(each.revoked_at for kind in (Certificate, AccessToken) for each in enrollment.store.of(kind))
    assert {each.status for each in enrollment.store.of(Command)} == {"dropped"}
    assert enrollment.store.mails[-1:] == ["left"]
    assert enrollment.events[-1] == "device.left"
    before = (list(enrollment.events), list(enrollment.store.mails))
    assert not ending.end(enrollment.case(profile=profile), Reason.LEFT)
    assert (enrollment.events, enrollment.store.mails) == before


@pytest.mark.parametrize("reason", [Reason.CANCELLED, Reason.ERASED, Reason.FORGOTTEN])
def test_a_device_on_its_way_gets_no_further_when_its_request_ends(enrollment, reason):
    answer_everything(enrollment)
    profile = download(enrollment)
    certify(enrollment, profile)
    devices.authenticated(enrollment.case(profile=profile), DeviceReport("E1"))
    ending.end(enrollment.case(), reason)
    assert enrollment.store.of(Device)[0].ended_at == enrollment.now
    assert enrollment.store.of(Certificate)[0].revoked_at == enrollment.now
    assert enrollment.store.mails == []  # nobody was enrolled
    assert not devices.enrolled(enrollment.case(profile=profile))


def test_a_managed_device_is_asked_to_leave_and_goes_with_the_reason_it_was_asked_for(enrollment):
    answer_everything(enrollment)
    profile = enroll(enrollment)
    ending.cancel(enrollment.case(), "helpdesk:x")
    ending.cancel(enrollment.case(), "helpdesk:x")
    assert enrollment.events.count("device.asked_to_leave") == 1
    assert enrollment.request.ended_at is None
    ending.end(enrollment.case(profile=profile), Reason.LEFT)
    assert enrollment.store.of(Device)[0].end_reason == "cancelled"


def test_where_the_brake_holds_nothing_is_removed_and_giving_up_is_refused(enrollment):
    answer_everything(enrollment)
    profile = enroll(enrollment)
    enrollment.store.brake_is_on = True
    assert not ending.ask(enrollment.case(profile=profile), Reason.WIPED, "admin:x")
    with pytest.raises(errors.RemovalsHeld):
        management.give_up(enrollment.case(profile=profile), "iPhone", "admin:x")
    device = enrollment.store.of(Device)[0]
    assert (device.leaving_held_at, device.leaving_at, device.ended_at) == (enrollment.now, None, None)


def test_a_challenge_that_only_the_common_name_leads_to_gives_no_certificate(enrollment):
    answer_everything(enrollment)
    profile = download(enrollment)
    with pytest.raises(errors.ChallengeRefused, match="unknown_challenge"):
        devices.redeem_challenge(enrollment.case(profile=profile), "guessed", "csr", (profile.id,))
    assert profile.csr_sha256 is None


def test_a_name_that_is_taken_costs_whoever_claims_it_the_certificate(enrollment):
    answer_everything(enrollment)
    profile = download(enrollment)
    certify(enrollment, profile)
    enrollment.store.add(Device(id="other", enrollment_id="E1", profile_id="another"))
    with pytest.raises(errors.DeviceRefused, match="enrollment_id_of_another_device"):
        devices.authenticated(enrollment.case(profile=profile), DeviceReport("E1"))
    assert enrollment.store.certificate_of(profile.id).revoked_at is not None


def test_the_owner_is_sent_to_sign_in_again_and_only_they_may(enrollment):
    answer_everything(enrollment)
    token = access.grant(enrollment.case(A), None)
    profile = enrollment.store.of(IssuedProfile)[-1]
    assert access.check(enrollment.case(profile=profile), token).profile_id == profile.id
    with pytest.raises(errors.WrongPerson):
        access.grant_again(enrollment.case(profile=profile), Person(id="another"))
    certify(enrollment, profile)
    devices.authenticated(enrollment.case(profile=profile), DeviceReport("E1"))
    devices.enrolled(enrollment.case(profile=profile))
    assert access.ask_to_sign_in_again(enrollment.case(), "helpdesk:x")
    with pytest.raises(errors.TokenRefused, match="token_revoked"):
        access.check(enrollment.case(profile=profile), token)
    again = access.grant_again(enrollment.case(profile=profile), enrollment.request.person)
    assert access.check(enrollment.case(profile=profile), again)


def test_a_link_is_only_ever_kept_as_its_hash(enrollment):
    token = invitations.add_link(enrollment.case(), "mail")
    assert token not in repr([vars(row) for row in enrollment.store.rows])


def test_whose_download_was_replaced_ends_nothing_but_itself(enrollment):
    answer_everything(enrollment)
    first = download(enrollment)
    certify(enrollment, first)
    devices.authenticated(enrollment.case(profile=first), DeviceReport("E1"))
    enrollment.now += timedelta(minutes=9)
    managed = enroll(enrollment, "E2")
    assert ending.end(enrollment.case(profile=first), Reason.LEFT)
    assert not ending.end(enrollment.case(profile=first), Reason.LEFT)
    assert enrollment.case(profile=first).device.end_reason == "superseded"
    case = enrollment.case(profile=managed)
    assert (case.request.ended_at, case.device.ended_at, case.certificate.revoked_at) == (None, None, None)
    assert ending.end(case, Reason.LEFT)
    assert enrollment.events[-1] == "device.left"


class Machine(RuleBasedStateMachine):
    """Two browsers, devices, helpdesk and the clock, in whatever order."""

    rules = None
    reached = 0

    def __init__(self):
        super().__init__()
        self.it = Enrollment(Machine.rules)
        self.ended = self.enrolled = False

    def do(self, function, *arguments, **keywords):
        try:
            return function(*arguments, **keywords)
        except errors.EnrollmentError:
            return None

    @rule(minutes=st.sampled_from([1, 8, 60, 60 * 24 * 3]))
    def time_passes(self, minutes):
        self.it.now += timedelta(minutes=minutes)

    @rule(walk=st.sampled_from([A, B]), step=st.integers(0, 6), right=st.booleans())
    def answers(self, walk, step, right):
        case = self.it.case(walk)
        acts = (
            lambda: steps.sign_in(case, self.it.request.person if right else Person(id="another")),
            lambda: steps.choose_ownership(case, "employee" if right else "corporate"),
            lambda: steps.acknowledge_privacy(case),
            lambda: steps.enter_passcode(case, self.it.passcode if right else "x"),
            lambda: steps.see_overview(case),
            lambda: steps.accept_terms(case, "1" if right else "0", DIGEST, "en"),
            lambda: steps.send_passcode(case),
        )
        self.do(acts[step])

    @rule(walk=st.sampled_from([A, B]))
    def goes_on(self, walk):
        self.do(answer_everything, self.it, walk)

    @rule(walk=st.sampled_from([A, B]))
    def downloads(self, walk):
        self.do(download, self.it, walk)

    @rule(walk=st.sampled_from([A, B]))
    def gets_a_token(self, walk):
        self.do(access.grant, self.it.case(walk), None)

    def profile(self, which):
        found = self.it.store.of(IssuedProfile)
        return found[-1 - which % len(found)]

    @precondition(lambda self: self.it.store.of(IssuedProfile))
    @rule(which=st.integers(0, 3), name=st.sampled_from(["E1", "E2"]))
    def a_device_comes(self, which, name):
        profile = self.profile(which)
        case = self.it.case(profile=profile)
        if devices.challenge_problem(case, "csr", (profile.id,)) is None:
            certify(self.it, profile)
        self.do(devices.authenticated, self.it.case(profile=profile), DeviceReport(name))

    @precondition(lambda self: self.it.store.of(Device))
    @rule(which=st.integers(0, 3))
    def a_device_is_ready(self, which):
        case = self.it.case(profile=self.profile(which))
        if case.device is not None and case.certificate.revoked_at is None:  # whoever receives a message looks first
            Machine.reached += bool(self.do(devices.enrolled, case))

    @rule()
    def enrolls(self):
        """Everything, one after the other, as it should be."""
        self.goes_on(A)
        self.downloads(A)
        if self.it.store.of(IssuedProfile):
            self.a_device_comes(0, "E1")
            self.a_device_is_ready(0)

    @precondition(lambda self: self.it.store.of(IssuedProfile))
    @rule(which=st.integers(0, 3), reason=st.sampled_from([*Reason, "wrong_topic"]))
    def it_ends(self, which, reason):
        case = self.it.case(profile=self.profile(which))
        if case.device is not None or reason in (Reason.CANCELLED, Reason.ERASED):
            self.do(ending.end, case, reason)

    @rule()
    def helpdesk_cancels(self):
        self.do(ending.cancel, self.it.case(), "helpdesk:x")

    @invariant()
    def holds(self):
        request, store = self.it.request, self.it.store
        assert not (self.ended and request.ended_at is None)
        assert not (self.enrolled and request.enrolled_at is None)
        self.ended, self.enrolled = request.ended_at is not None, request.enrolled_at is not None
        assert sum(each.enrolled_at is not None for each in store.of(Device)) <= 1
        shown = [each for kind in (Certificate, AccessToken) for each in store.of(kind)]
        alive = {each.profile_id for each in shown if not each.revoked_at}
        assert alive <= {request.profile_id}
        if request.ended_at is not None:
            assert not alive
            assert all(each.ended_at for each in store.of(Device))
            assert not any(each.content_sealed for each in store.of(IssuedProfile) if not each.superseded_at)
        if request.enrolled_at is not None:
            answered = (request.signed_in_at, request.privacy_at, request.passcode_verified_at, request.overview_at)
            assert None not in answered
        assert request.passcode_tries <= self.it.settings.passcode.tries
        for once in ("device.enrolled", "request.cancelled"):
            assert self.it.events.count(once) <= 1


def test_any_order_keeps_what_is_promised(rules):
    Machine.rules = rules
    run_state_machine_as_test(
        Machine, settings=hypothesis_settings(max_examples=300, stateful_step_count=40, deadline=None, print_blob=True)
    )
    assert Machine.reached > 20  # else it would prove nothing about what comes after


def test_the_store_in_memory_is_asked_as_the_database_is():
    """Of what it has; what nobody here needs it leaves out."""
    has = {name: each for name, each in vars(MemoryStore).items() if not name.startswith("_") and callable(each)}
    assert has.keys() >= {"add", "profile", "devices_of", "open_commands", "removal_passes"}
    for name in has.keys() & set(dir(Store)):
        of_it, of_both = inspect.signature(has[name]), inspect.signature(getattr(Store, name))
        real = inspect.signature(getattr(Cases, name))
        assert list(of_it.parameters) == list(of_both.parameters) == list(real.parameters), name
