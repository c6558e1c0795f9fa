"""A leaked key can be retired; whoever has only the database cannot write the trail; the queue hears nobody else."""

import json
import pickle

import pytest
from flask import session as flask_session
from flask.sessions import SecureCookieSessionInterface
from huey.exceptions import HueyException
from sqlalchemy import select, text

from portal import audit, installation, jobs, vault
from portal.audit import links
from portal.events import Event
from portal.models import AuditEvent, AuditHead, EnrollmentRequest, PortalState
from portal.models.operations import GENESIS
from portal.web.apple.challenges import Handle, _sealed, open_handle
from tests.account_driven.steps import begin, web_view
from tests.factories import Company
from tests.pages import BASE, Browser


@pytest.fixture
def files(make_app, template, tmp_path, clock):
    """Portals whose keys are in a file, opened anew after each rotation as a restart does."""
    vault.write_keys(tmp_path, template.keys)

    def open_one():
        return make_app(secret_keys=())

    return open_one


def forged(app, key):
    """A cookie that says whatever its maker likes, signed with ``key``."""
    made = type("App", (), {"secret_key": key, "config": {"SECRET_KEY_FALLBACKS": []}})()
    return SecureCookieSessionInterface().get_signing_serializer(made).dumps({"forged": "yes"})


def believes(app, cookie):
    with app.test_request_context("/", base_url=BASE, headers={"Cookie": f"__Host-portal={cookie}"}):
        return flask_session.get("forged") == "yes"


def keys_of(tmp_path):
    return vault.read_keys((), tmp_path)


def web_key(keys):
    return vault.Vault(keys).derive("web sessions")


def test_after_a_rotation_the_newest_key_signs_and_the_old_one_counts_for_a_session_s_time(files, tmp_path, clock):
    old = files()
    old_key = web_key(keys_of(tmp_path))
    installation.rotate_keys(old.extensions["portal"])
    app = files()
    new_key = web_key(keys_of(tmp_path))
    assert app.secret_key == new_key != old_key
    assert believes(app, forged(app, new_key))
    assert believes(app, forged(app, old_key))
    clock.forward(hours=8)
    app.test_client().get("/healthz")  # the process goes on; nobody restarts it for that
    assert not believes(app, forged(app, old_key))
    assert believes(app, forged(app, new_key))


def test_whoever_is_signed_in_and_has_a_form_open_goes_on_after_a_rotation(files, tmp_path, clock):
    app = files()
    company = Company(app.extensions["portal"])
    invitation = company.invite(company.person())
    browser = Browser(app).walk_to("privacy", invitation)
    installation.rotate_keys(app.extensions["portal"])
    again = files()
    other = Browser(again)
    kept = browser.client.get_cookie("__Host-portal", "portal.example.com", "/").value
    other.client.set_cookie("__Host-portal", kept, domain="portal.example.com", secure=True)
    other.post("/enroll/privacy", browser.hidden() | {"acknowledge": "yes"})
    assert other.path == "/enroll/passcode"


def test_after_dropping_the_old_keys_nothing_made_with_one_is_believed(files, tmp_path, clock):
    before = files()
    leaked = keys_of(tmp_path)
    with before.test_request_context("/", base_url=BASE):
        handle = _sealed(Handle(profile_id="x"))
    installation.rotate_keys(before.extensions["portal"], drop_old=True)
    assert len(keys_of(tmp_path)) == 1
    assert keys_of(tmp_path)[0] not in leaked
    app = files()
    portal = app.extensions["portal"]
    assert not believes(app, forged(app, web_key(leaked)))
    with app.test_request_context("/", base_url=BASE):
        assert open_handle(handle) == Handle()
        assert open_handle(_sealed(Handle(profile_id="x"))).profile_id == "x"
    with pytest.raises(vault.VaultError):
        portal.vault.open(vault.Vault(leaked).seal(b"forged"))
    assert portal.authority.ca  # everything that is stored was sealed anew
    assert audit.broken_links(portal.database) == []
    assert ("keys.rotated", "dropped_old") in [(e.kind, e.reason) for e in Company(portal).all_events()]


def test_a_half_finished_sign_in_is_no_value_in_a_cookie(files, tmp_path, clock):
    """Who proved the first factor is in a table: with a leaked key nobody can claim it."""
    app = files()
    company = Company(app.extensions["portal"])
    ada = company.person("ada", "admin")
    made = type("App", (), {"secret_key": app.secret_key, "config": {"SECRET_KEY_FALLBACKS": []}})()
    serializer = SecureCookieSessionInterface().get_signing_serializer(made)
    for claim in ({"person": ada.id, "at": int(clock().timestamp())}, ada.id, "made up"):
        cookie = serializer.dumps({"second_factor_pending": claim, "second_factor": claim})
        browser = Browser(app)
        browser.client.set_cookie("__Host-portal", cookie, domain="portal.example.com", secure=True)
        assert browser.get("/staff/second-factor").path == "/staff/sign-in"


def test_the_command_says_what_to_do(files, tmp_path, clock):
    run = files().test_cli_runner()
    assert "Restart web and worker" in run.invoke(args=["keys", "rotate"]).output
    assert len(keys_of(tmp_path)) == 2
    assert run.invoke(args=["keys", "rotate", "--drop-old"]).exit_code == 0
    assert len(keys_of(tmp_path)) == 1


# --- the trail --------------------------------------------------------------------------------------------------------


def drop_triggers(session):
    if session.get_bind().dialect.name == "sqlite":
        for (name,) in session.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
            session.execute(text(f"DROP TRIGGER {name}"))
    else:
        session.execute(text("ALTER TABLE audit_events DISABLE TRIGGER ALL"))


def rewrite(portal, digest):
    """What an attacker with the database does: another actor everywhere, every link made anew with ``digest``."""
    with portal.database.transaction() as session:
        drop_triggers(session)
        previous = {}
        for event in session.scalars(select(AuditEvent).order_by(AuditEvent.id)):
            event.actor = "somebody else"
            event.previous = previous.get(event.chain, GENESIS)
            event.digest = digest(event)
            previous[event.chain] = event.digest
        for head in session.scalars(select(AuditHead)):
            head.digest = previous[head.chain]
        for request in session.scalars(select(EnrollmentRequest)):
            request.audit_digest = previous[audit.request_chain(request.id)]


def test_whoever_has_only_the_database_cannot_rewrite_the_trail(portal, company):
    company.invite(company.person())
    assert audit.broken_links(portal.database) == []
    rewrite(portal, lambda event: links.digest_of(event, None))
    broken = audit.broken_links(portal.database)
    assert {problem for _, _, problem in broken} == {"the event was changed"}


def test_without_the_key_nothing_of_the_trail_holds(portal, company):
    """Taking the key away, or putting in another, does not help either: it is sealed."""
    company.invite(company.person())
    with portal.database.transaction() as session:
        state = session.get_one(PortalState, links.KEY)
        content = json.dumps({"secret": "00" * 32, "since": 10**6}).encode()
        state.sealed = vault.Vault([vault.new_key()]).seal(content)
    links._KEYS.clear()
    with pytest.raises(vault.VaultError):
        audit.broken_links(portal.database)


def without_key(portal, tmp_path):
    """A portal from before there was a key."""
    with portal.database.transaction() as session:
        session.delete(session.get_one(PortalState, links.KEY))
    (tmp_path / links.MARK).unlink(missing_ok=True)
    links._KEYS.clear()
    rewrite(portal, lambda event: links.digest_of(event, None))


@pytest.fixture
def upgraded(portal, company, clock, tmp_path):
    """One chain from before there was a key, that goes on."""
    without_key(portal, tmp_path)
    invitation = company.invite(company.person())
    with portal.database.transaction() as session:
        audit.make_key(session, portal.vault, tmp_path)
    with portal.database.transaction() as session:
        audit.record(session, audit.request_chain(invitation.request.id), Event.REQUEST_EXTENDED, clock())
    return invitation


def broken_of(portal):
    found = audit.broken_links(portal.database)
    return [(chain, problem) for chain, seq, problem in found if chain != audit.SETTINGS or seq == 0]


def test_links_from_before_there_was_a_key_still_hold(portal, company, upgraded):
    assert broken_of(portal) == []
    with portal.database.session() as session:
        old, new = session.scalars(select(AuditEvent).where(AuditEvent.chain.startswith("request"))).all()
        assert old.digest == links.digest_of(old, None)
    key = audit.key_of(portal.database, portal.vault)
    assert key.since == new.id


def test_what_was_written_before_there_was_a_key_cannot_be_changed_afterwards(portal, company, upgraded):
    key = audit.key_of(portal.database, portal.vault)
    rewrite(portal, lambda event: links.digest_of(event, None) if event.id < key.since else event.digest)
    assert ("settings", "events from before there was a key were changed") in broken_of(portal)


def test_a_chain_cannot_be_moved_to_before_there_was_a_key(portal, company):
    """Ids below the first one that has a key, plain links: a chain of somebody's own making."""
    company.invite(company.person())
    with portal.database.transaction() as session:
        drop_triggers(session)
        for event in session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())):
            session.execute(
                text("UPDATE audit_events SET id = :to WHERE id = :of"), {"to": event.id - 10_000, "of": event.id}
            )
    rewrite(portal, lambda event: links.digest_of(event, None))
    assert broken_of(portal) == [("settings", "events from before there was a key were changed")]


def test_whoever_deletes_the_key_gets_no_new_one(app, portal, company, tmp_path):
    company.invite(company.person())
    with portal.database.transaction() as session:
        session.delete(session.get_one(PortalState, links.KEY))
    (tmp_path / links.MARK).touch()
    links._KEYS.clear()
    rewrite(portal, lambda event: links.digest_of(event, None))
    installation.setup(portal)
    assert ("settings", "the key of the trail is missing") in broken_of(portal)
    assert app.test_cli_runner().invoke(args=["audit", "verify"]).exit_code == 1


# --- the queue --------------------------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("somebody else's pickle was opened",))


def test_the_queue_opens_nothing_that_the_portal_did_not_sign(portal, tmp_path):
    worker = jobs.Worker(portal.live.base)
    queue = worker.queue
    queue.storage.flush_queue()
    queue.storage.enqueue(pickle.dumps(Evil()))
    with pytest.raises((ValueError, HueyException)):
        queue.dequeue()
    jobs.nudge(portal.settings)
    assert queue.dequeue().name.endswith("deliver")
    worker.database.engine.dispose()


def test_a_handle_outlives_nothing_and_gives_nothing(app, company):
    """The web view opens with whatever handle: an unknown one only knows nothing of the device."""
    company.person()
    assert web_view(app, begin(app)[:-4] + "AAAA").status == 200
