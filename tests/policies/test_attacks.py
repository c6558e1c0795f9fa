"""What an attacker tried on policies, and what an admin may do by mistake."""

import hashlib
import io
import plistlib
from dataclasses import replace

import pytest
from sqlalchemy import select

from portal import installation, people
from portal.backends import reconciling, sending
from portal.credentials import syncing
from portal.credentials.base import Found
from portal.lifecycle import closing
from portal.models import AuditEvent, Command, DeclarativeState, Device
from portal.people import audiences
from portal.people.audiences import Line
from portal.policies import accepting, content, holding, uploading
from portal.policies.content import new_part
from portal.storage import brake, policies, rounds
from portal.storage.cases import Cases
from tests.factories import editing
from tests.orders import answer, fetch_one
from tests.pages import Browser
from tests.policies.conftest import EVERYBODY, mail, passcode, restrictions, wifi

WIFI, ROOT, SCEP = "com.apple.wifi.managed", "com.apple.security.root", "com.apple.security.scep"


@pytest.fixture
def admin(app, company, clock):
    company.person("ada", "admin")
    return Browser(app).staff_sign_in("ada", clock())


def upload(admin, policy, *payloads):
    """Uploads a profile with these payloads."""
    profile = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": "com.example.uploaded",
        "PayloadUUID": "0",
        "PayloadContent": list(payloads),
    }
    admin.get(f"/admin/policies/{policy}")
    action = f"/admin/policies/{policy}/upload"
    told = {**admin.hidden(action), "profile": (io.BytesIO(plistlib.dumps(profile)), "work.mobileconfig")}
    return admin.post(action, told)


def test_rotating_keys_keeps_every_version_apart(held_policies, portal):
    policy = held_policies.make("Basics", wifi("One"))
    held_policies.publish(policy, wifi("Two"))
    installation.rotate_keys(portal, drop_old=False)
    with portal.database.session() as session:
        opened = [policies.opened(session, portal.vault, policy, number)[0].values["SSID_STR"] for number in (1, 2)]
    assert opened == ["One", "Two"]


def test_the_form_of_a_part_gives_no_means_to_guess_its_secret(held_policies, admin):
    policy = held_policies.make("Basics", part := wifi())
    admin.get(f"/admin/policies/{policy}/parts/{part.uuid}")
    seen = admin.filled()["seen"]
    assert seen not in hashlib.sha256(content.write([part])).hexdigest()


@pytest.mark.parametrize("ssid", ["Wo\x0brk", "Wo\ud800rk", "Work\x00"])
def test_what_cannot_be_written_is_refused(held_policies, ssid):
    with pytest.raises(policies.NotUsable) as refused:
        held_policies.make("Basics", wifi(ssid))
    assert refused.value.problem.problem == "control_character"


def test_what_got_in_nevertheless_stops_nothing_else(held_policies, enrolled, monkeypatch):
    """A policy published before that rule: the phone still gets everything else, and is still told to go."""
    monkeypatch.setattr(accepting, "problems", lambda parts: [])
    bad = held_policies.make("Bad", wifi("Wo\x0brk"))
    good = held_policies.make("Good", wifi("Fine"))
    for ios in ("14.8", "17.6.1"):
        held, device = enrolled(f"person{ios[:2]}", 0 if ios == "14.8" else 1, ios=ios)
        states = held_policies.states(device)
        assert states[good] == ("applied", None)
        assert states[bad][0] in ("failed", "sent")
        assert held.connect() == []


PROXY = {"HTTPEnable": 1, "HTTPProxy": "proxy.example.com", "HTTPPort": 8080, "HTTPProxyPassword": "secret"}


@pytest.mark.parametrize(
    ("kind", "before", "changed"),
    [
        ("com.apple.vpn.managed.applayer", {"Proxies": PROXY}, {"Proxies": PROXY | {"HTTPProxy": "evil.example"}}),
        ("com.apple.vpn.managed.applayer", {"VendorConfig": {"Password": "s"}}, {"IKEv2": {"RemoteAddress": "evil"}}),
        (SCEP, {"PayloadContent": {"URL": "https://ca.example.com", "Challenge": "secret"}},
         {"PayloadContent": {"URL": "http://ca.example.com", "Challenge": "secret"}}),
        (WIFI, {"EAPClientConfiguration": {"UserPassword": "secret", "TLSMinimumVersion": "1.2"}},
         {"EAPClientConfiguration": {"UserPassword": "secret", "TLSMinimumVersion": "1.0"}}),
        ("com.apple.airplay", {"Passwords": [{"DeviceName": "One", "Password": "secret"}]},
         {"Passwords": [{"DeviceName": "Two", "Password": "secret"}]}),
    ],
)  # fmt: skip
def test_a_secret_that_is_kept_goes_nowhere_else(kind, before, changed):
    part = new_part(kind, before)
    assert holding.sent_elsewhere(part, content.Part(part.uuid, kind, before | changed))
    assert not holding.sent_elsewhere(part, content.Part(part.uuid, kind, before | {"UserDefinedName": "Other"}))


@pytest.mark.parametrize("written", [str, str.lower])
def test_another_certificate_asks_for_the_secrets_that_go_by_it(written):
    root = new_part(ROOT, {"PayloadContent": b"one"})
    by_it = wifi(EAPClientConfiguration={"UserPassword": "s", "PayloadCertificateAnchorUUID": [written(root.uuid)]})
    other = content.Part(root.uuid, ROOT, {"PayloadContent": b"two"})
    assert holding.trusting(root, other, [root, by_it]) == [by_it]
    assert holding.trusting(root, root, [root, by_it]) == []
    assert holding.trusting(root, other, [root, wifi()]) == []
    assert content.references(by_it) == {root.uuid}


@pytest.mark.parametrize(
    ("kind", "path", "secret"),
    [
        ("com.apple.airplay", "Passwords.0.Password", True),
        ("com.apple.relay.managed", "Relays.0.AdditionalHTTPHeaderFields.X-Anything", True),
        ("com.apple.extensiblesso", "ExtensionData.client_secret", True),
        ("com.apple.extensiblesso", "ExtensionData.ClientSecrets.tenant-a", True),
        ("com.apple.extensiblesso", "ExtensionData.Credentials.0.value", True),
        ("com.apple.extensiblesso", "ExtensionData.SecretType.value", False),
        ("com.apple.airplay", "Passwords.0.DeviceName", False),
        ("com.apple.security.acme", "ClientIdentifier", True),
        (WIFI, "Passphrase", True),
        ("com.apple.mail.managed", "OutgoingPasswordSameAsIncomingPassword", False),
        ("com.apple.eas.account", "OAuthTokenRequestURL", False),
        ("com.apple.eas.account", "Certificate", True),
    ],
)
def test_what_is_a_secret(kind, path, secret):
    assert content.is_secret(kind, path) is secret


def test_an_uploaded_secret_is_never_shown(held_policies, admin):
    policy = held_policies.make("Basics", wifi())
    payload = {
        "PayloadType": "com.apple.extensiblesso",
        "PayloadUUID": "9E5E51F4-3D7B-4E0E-8D6C-3B9C9E6C1D10",
        "ExtensionIdentifier": "com.example.sso",
        "Type": "Redirect",
        "URLs": ["https://id.example.com"],
        "ExtensionData": {"client_secret": "do not show", "items": [{"Password": "nor this"}]},
    }
    upload(admin, policy, payload)
    assert "Saved as a draft" in admin.text
    admin.submit(f"/admin/policies/{policy}/publish", what="all")
    assert "Published" in admin.text
    for address in (f"/admin/policies/{policy}", f"/admin/policies/{policy}/versions/2"):
        admin.get(address)
        assert "do not show" not in admin.text
        assert "nor this" not in admin.text


def test_payloads_of_an_upload_never_take_each_others_place(held_policies, admin):
    policy = held_policies.make("Basics", wifi())
    one = {"PayloadType": WIFI, "PayloadUUID": "same", "SSID_STR": "A", "EncryptionType": "None"}
    upload(admin, policy, one, one | {"SSID_STR": "B"})
    assert "Two payloads in the file have the same PayloadUUID." in admin.text
    bare = {key: value for key, value in one.items() if key != "PayloadUUID"}
    parts = uploading.parts_of({"PayloadContent": [bare, bare | {"SSID_STR": "B"}]})
    assert len({each.uuid for each in parts}) == 2
    word = {"PayloadType": "com.apple.mail.managed", "PayloadUUID": "EmailAuthPassword", **mail().values}
    (part,) = uploading.parts_of({"PayloadContent": [word]})
    assert part.values["IncomingMailServerAuthentication"] == "EmailAuthPassword"


def test_a_passcode_or_restrictions_with_strange_values_stop_no_publishing(held_policies, admin):
    policy = held_policies.make("Basics", wifi())
    upload(
        admin,
        policy,
        {"PayloadType": "com.apple.mobiledevice.passwordpolicy", "forcePIN": True, "minLength": b"x"},
        {"PayloadType": "com.apple.applicationaccess", "allowScreenShot": False, "PayloadFoo": b"x"},
    )
    admin.submit(f"/admin/policies/{policy}/publish", what="all")
    assert "Published" in admin.text


def test_a_list_is_changed_with_a_fresh_proof_and_the_trail_tells_who_is_on_it(held_policies, admin, company, clock):
    company.person("erika")
    admin.get("/admin/policies/lists")
    admin.submit("/admin/policies/lists", name="vpn", people="erika")
    with company.portal.database.session() as session:
        erika = people.by_username(session, "erika").id
        told = session.scalars(select(AuditEvent.detail).where(AuditEvent.kind == "policy.list")).one()
        assert told["who"] == {"in": [erika], "out": []}
    clock.forward(minutes=11)
    admin.get("/admin/policies/lists")
    admin.submit("/admin/policies/lists", name="vpn", people="ada")
    assert admin.status == 403


def test_an_exception_is_lost_neither_by_an_old_page_nor_by_an_empty_group(held_policies, admin, company):
    policy = held_policies.make("Basics", wifi(), audience=(*EVERYBODY, Line("out", "group", "local:nobody in it")))
    admin.get(f"/admin/policies/{policy}")
    old = admin.filled(f"/admin/policies/{policy}/audience")
    admin.post(f"/admin/policies/{policy}/audience", old)
    with company.portal.database.session() as session:
        assert Line("out", "group", "local:nobody in it") in policies.audience(session, policy)
    held_policies.audience(policy, *EVERYBODY, Line("out", "group", "local:other"))
    admin.post(f"/admin/policies/{policy}/audience", old)
    assert admin.status == 409
    with company.portal.database.session() as session:
        assert Line("out", "group", "local:other") in policies.audience(session, policy)


def test_groups_go_with_the_source_that_told_them(held_policies, portal, clock):
    def come(source, groups):
        found = Found(source=source, subject="1", username="erika", name="E", email="e@example.com", groups=groups)
        with portal.database.transaction() as session:
            person, _ = syncing.sync(session, portal.settings, found, clock())
            return sorted(audiences.groups(session)), person.id

    assert come("oidc:one", frozenset({"vpn"}))[0] == [("oidc:one:vpn", 1)]
    assert come("oidc:one", None)[0] == [("oidc:one:vpn", 1)]
    with portal.database.transaction() as session:
        person = people.by_username(session, "erika")
        person.source, person.subject = "oidc:two", "1"
    assert come("oidc:two", None)[0] == []
    assert come("oidc:two", frozenset({"a\x00b", "\ud800", "good"}))[0] == [("oidc:two:good", 1)]


def test_a_part_goes_with_what_it_refers_to_or_not_at_all(held_policies, enrolled):
    identity = new_part(
        SCEP, {"PayloadContent": {"URL": "https://ca.example.com", "Subject": [[["CN", "{name}"]]], "Keysize": 2048}}
    )
    by_it = wifi("Secure", "", EncryptionType="None", PayloadCertificateUUID=identity.uuid)
    policy = held_policies.make("Basics", identity, by_it, passcode())
    held, device = enrolled("erika")
    assert held_policies.states(device) == {policy: ("applied", None)}
    with held_policies.portal.database.transaction() as session:
        people.by_username(session, "erika").name = ""
    held_policies.round()
    held.connect()
    assert f"policy.{policy}" not in held.declared.profiles


def test_a_policy_with_a_certificate_taken_out_is_not_published(held_policies):
    identity = new_part(SCEP, {"PayloadContent": {"URL": "https://ca.example.com"}})
    by_it = wifi("Secure", PayloadCertificateUUID=identity.uuid)
    policy = held_policies.make("Basics", identity, by_it)
    with pytest.raises(policies.NotUsable) as refused:
        held_policies.publish(policy, by_it)
    assert refused.value.problem.problem == "certificate_elsewhere"


def test_an_account_that_is_derived_is_put_in(held_policies, enrolled, configure, company):
    configure(managed_apple_account__source="email")
    held_policies.make("Mail", mail(IncomingMailServerUsername="{managed_apple_account}"))
    held, _ = enrolled(person=company.person("erika", managed_apple_account=None))
    assert "erika@example.com" in {each["UserName"] for each in held.declared.credentials.values()}


def test_who_is_disabled_gets_nothing_new_before_the_device_is_asked_to_leave(held_policies, enrolled, portal, clock):
    policy = held_policies.make("Basics", wifi("Old"))
    held, _ = enrolled()
    with portal.database.transaction() as session:
        people.by_username(session, "erika").disabled_at = clock()
    held_policies.publish(policy, wifi("New", "new secret"))
    other = held_policies.make("Other", wifi("Other"))
    held_policies.round()
    held.connect()
    held.declared.synchronize(None)
    assert "new secret" not in str(held.declared.profiles)
    assert set(held.declared.profiles) == {f"policy.{policy}"}  # the brake may hold its removal: what is there stays
    with portal.database.transaction() as session:
        people.enable(editing(portal, session), people.by_username(session, "erika"))
    clock.forward(hours=1)
    held_policies.round()
    held.connect()
    assert "new secret" in str(held.declared.profiles)
    assert set(held.declared.profiles) == {f"policy.{policy}", f"policy.{other}"}


def test_the_brake_holds_policies_too(held_policies, enrolled, portal, company, clock):
    """Otherwise a directory that calls everybody disabled empties every work side but for its name."""
    persons = [company.person(f"person{number}") for number in range(brake.AT_LEAST + 2)]
    policy = held_policies.make("Basics", wifi(), mail())
    phones = {}
    for number, each in enumerate(persons):
        held, device = enrolled(each.username, number, person=each, ios="14.8" if number % 2 else "17.6.1")
        phones[device] = held
    with portal.database.transaction() as session:
        for each in persons:
            closing.disable(Cases(session, portal), session.merge(each), "directory")
    with portal.database.transaction() as session:
        rounds.of_disabled_people(Cases(session, portal))
    with portal.database.session() as session:
        mine = [(device, phones[device]) for device in session.scalars(select(Device.id).where(Device.is_held))]
    assert len(mine) == 2

    def is_there():
        return [held_policies.states(device) == {policy: ("applied", None)} for device, _ in mine]

    for _ in range(3):
        clock.forward(days=1)
        held_policies.round()
        for _, held in mine:
            held.connect()
        assert is_there() == [True, True]
    with portal.database.transaction() as session:
        for each in persons:
            people.enable(editing(portal, session), session.merge(each))
        brake.keep(session, "admin:x", clock())
    clock.forward(hours=1)
    held_policies.round()
    for _, held in mine:
        held.connect()
    assert is_there() == [True, True]


def test_what_a_device_says_fills_no_trail_and_carries_no_text(held_policies, enrolled, company):
    policy = held_policies.make("Basics", wifi())
    held, device = enrolled()
    for number in range(6):
        held.declared.problems = {} if number % 2 else {f"policy.{policy}": "Error.X Erika Mustermann"}
        held.declared.report()
    with company.portal.database.session() as session:
        assert len(session.scalars(select(AuditEvent).where(AuditEvent.kind == "policy.failed")).all()) == 1
        assert "Mustermann" not in str(session.get(DeclarativeState, device).known)


def test_a_draft_that_nobody_saw_is_not_published_and_restoring_leaves_it(held_policies, admin, portal, clock):
    policy = held_policies.make("Basics", wifi("One"))
    held_policies.publish(policy, wifi("Two"))
    draft(held_policies, policy, wifi("Draft"))
    admin.get(f"/admin/policies/{policy}")
    form = admin.filled(f"/admin/policies/{policy}/publish")
    draft(held_policies, policy, wifi("Somebody else's"))
    admin.post(f"/admin/policies/{policy}/publish", {**form, "what": "all"})
    assert admin.status == 409
    admin.get(f"/admin/policies/{policy}")
    admin.submit(f"/admin/policies/{policy}/restore/1")
    with portal.database.session() as session:
        kept = policies.draft(portal.vault, policies.find(session, policy))
    assert kept[0].values["SSID_STR"] == "Somebody else's"


def draft(held_policies, policy, *parts):
    """Somebody writes it."""
    with held_policies.portal.database.transaction() as session:
        found = policies.locked(session, policy)
        policies.save_draft(editing(held_policies.portal, session, held_policies.ticks()), found, parts)


def test_after_a_stopped_trial_one_goes_on_from_what_devices_have(held_policies, portal):
    policy = held_policies.make("Basics", wifi("Good"))
    held_policies.publish(policy, wifi("Bad"), pilot=True)
    held_policies.change(policy, policies.settle_pilot, False)
    with portal.database.session() as session:
        found = policies.current(session, portal.vault, policies.find(session, policy))
    assert found[0].values["SSID_STR"] == "Good"


@pytest.mark.parametrize("number", ["--5", "²", "5.5"])
def test_a_number_that_is_none_is_said(held_policies, admin, number):
    policy = held_policies.make("Basics", part := mail())
    admin.get(f"/admin/policies/{policy}/parts/{part.uuid}")
    admin.post(
        f"/admin/policies/{policy}/parts/{part.uuid}", {**admin.filled(), "IncomingMailServerPortNumber": number}
    )
    assert "Enter a number." in admin.text


def test_restrictions_that_are_no_values_are_refused():
    assert not accepting.usable(accepting.problems([restrictions(allowScreenShot={"a": b"x"})]))


def test_what_one_policy_was_sent_again_is_not_missing_for_the_next(held_policies, enrolled):
    policy = held_policies.make("Basics", wifi())
    held, device = enrolled()
    held.declared.invalid.add(f"policy.{policy}")
    held.declared.report()
    days_go_by(held_policies, held)
    held.declared.invalid.clear()
    held_policies.publish(policy, wifi("Better"))
    other = held_policies.make("Other", wifi("Other"))
    held.declared.invalid.add(f"policy.{other}")
    held_policies.round()
    held.connect()
    assert held_policies.states(device)[other][0] == "failed"
    held.declared.invalid.clear()  # whatever it was is over
    days_go_by(held_policies, held)
    assert held_policies.states(device) == {policy: ("applied", None), other: ("applied", None)}


# --- profiles, for who knows no declarations --------------------------------------------------------------------------


@pytest.fixture
def old(held_policies, enrolled):
    """A policy, and an old iPhone that has its profile; its device."""
    policy = held_policies.make("Basics", wifi("One"))
    held, device = enrolled(ios="14.8")
    held_policies.round()
    held.connect()
    assert work_profiles(held)
    return policy, held, device


def work_profiles(held):
    return [each for each in held.profiles if "policy" in each]


def days_go_by(held_policies, held):
    for _ in range(6):
        held_policies.ticks.forward(days=1)
        held_policies.round()
        held.connect()


def lose(portal, device, order):
    with portal.database.transaction() as session:
        command = session.scalars(select(Command).where(Command.uuid == order["CommandUUID"])).one()
        reconciling._ask_anew(Cases(session, portal).of_device(device), command)


@pytest.mark.parametrize("how", ["error", "unreadable", "lost", "refused"])
def test_what_an_old_iphone_did_not_remove_is_asked_for_again(held_policies, old, portal, how):
    policy, held, device = old
    held_policies.audience(policy)
    order = None if how == "refused" else fetch_one(held_policies.round, held, "RemoveProfile")
    if how == "refused":
        held_policies.round()
        with portal.database.transaction() as session:
            command = session.scalars(select(Command).where(Command.request_type == "RemoveProfile")).one()
            sending.refused(Cases(session, portal), command.id, device, "HTTP 500")
    elif how == "error":
        answer(held, order, Status="Error", ErrorChain=[{"ErrorCode": 12001, "ErrorDomain": "MCMDMErrorDomain"}])
    elif how == "unreadable":
        body = b"<plist><dict>"
        held.http.put(held.mdm["ServerURL"], content=body, headers={"Mdm-Signature": held.signature(body)})
    else:
        lose(portal, device, order)
    days_go_by(held_policies, held)
    assert work_profiles(held) == []


def test_a_list_that_is_fetched_meanwhile_makes_no_removal_forgotten(held_policies, old, portal):
    """Updated, it knows declarations, and still has to remove what came by command."""
    policy, held, device = old
    held.mood["RemoveProfile"] = "Error"
    held.model = replace(held.model, os_version="17.6.1")
    held_policies.audience(policy)
    answer(held, fetch_one(held_policies.round, held, "RemoveProfile"))
    held.declared.synchronize(None)
    with portal.database.session() as session:
        assert session.get_one(DeclarativeState, device).due_at is not None
    held.mood.clear()
    days_go_by(held_policies, held)
    assert work_profiles(held) == []


def test_a_removal_that_is_always_refused_is_asked_for_a_few_times_only(held_policies, old, portal):
    policy, held, _device = old
    held_policies.audience(policy)
    held.mood["RemoveProfile"] = "Error"
    for _ in range(3):
        days_go_by(held_policies, held)
    with portal.database.session() as session:
        asked = session.scalars(select(Command).where(Command.request_type == "RemoveProfile")).all()
    assert len(asked) == 4


def test_what_was_installed_although_its_answer_was_lost_goes_too(held_policies, enrolled, portal):
    held, device = enrolled(ios="14.8")
    policy = held_policies.make("Basics", wifi("One"))
    order = fetch_one(held_policies.round, held, "InstallProfile")
    held.obey(order["Command"])
    assert work_profiles(held)
    held_policies.audience(policy)
    held_policies.round()
    lose(portal, device, order)
    days_go_by(held_policies, held)
    assert work_profiles(held) == []


def test_what_is_wanted_again_before_it_was_removed_keeps_the_worker_from_nothing(held_policies, old, portal):
    policy, held, device = old
    held_policies.audience(policy)
    held.mood["RemoveProfile"] = "Error"
    held_policies.round()
    held.connect()
    held_policies.audience(policy, *EVERYBODY)
    for _ in range(3):  # it does not connect; the worker has nothing to do for it
        held_policies.ticks.forward(days=2)
        held_policies.round()
    with portal.database.session() as session:
        state = session.get_one(DeclarativeState, device)
        assert state.due_at is None or state.due_at > held_policies.ticks()
    held.connect()
    held.connect()
    assert held_policies.states(device) == {policy: ("applied", None)}


@pytest.mark.parametrize("name", ["1", "²", "", ".", "\\"])
def test_an_uploaded_key_may_be_called_anything(held_policies, admin, name):
    told = {"PayloadType": "com.apple.webClip.managed", "PayloadUUID": "y", "Label": "x", "URL": "https://example.com"}
    upload(admin, held_policies.make("Basics", wifi()), told | {name: "text"})
    assert admin.status == 200
