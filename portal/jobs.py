"""Background work: the queue (huey) that nudges the worker, and what the worker does by itself every minute."""

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from portal import audit, clock, people
from portal.backends import dispatch, reconciling, sending
from portal.backends.base import Backend
from portal.backends.nanomdm import events
from portal.credentials import sign_in, throttle
from portal.credentials.base import AccountProblem, SourceUnavailable
from portal.database import Database
from portal.lifecycle import leavers
from portal.models import Command, Person
from portal.notifications import alerts, outbox
from portal.notifications.email import open_transport
from portal.notifications.sms import open_gateway
from portal.services import Portal
from portal.settings import Settings
from portal.storage import (
    app_rounds,
    apple_business,
    campaigns,
    policy_rounds,
    retention,
    rounds,
    terms,
)
from portal.storage.cases import Cases, CaseServices
from portal.storage.licenses import exchanging, needs
from portal.vault import Vault, read_keys

if TYPE_CHECKING:
    from huey.api import Huey


MAIL, DEVICES, POLICIES = "deliver", "manage", "declare"
"""What a nudge can be about: mail to send, messages of devices and commands for them, or what devices are to have."""
SHORTEST_WAIT = timedelta(seconds=1)

log = logging.getLogger("portal.jobs")


class Worker:
    """Delivers mail and cleans up; everything it needs is read from the database, so it may die at any moment."""

    def __init__(self, settings: Settings) -> None:
        from huey import crontab

        self.portal = Portal(settings)
        self.database, self.vault, self.live = self.portal.database, self.portal.vault, self.portal.live
        self.queue = _queue(settings.queue.redis_url, settings.data, self.vault)
        deliver = self.queue.task(name=MAIL)(self.deliver)
        self._declare_later = self.queue.task(name=POLICIES)(self.declare)
        self._apps_at = clock.now()
        self._manage_later = self.queue.task(name=DEVICES)(self.manage)
        self._manage_at = clock.now()
        self.queue.periodic_task(crontab(minute="*"), name="every_minute")(self.every_minute)
        deliver()

    def deliver(self) -> None:
        """Send every mail that is due."""
        settings = self.settings
        outbox.deliver_due(self.database, self.vault, open_transport(settings), open_gateway(settings))
        audit.check_if_asked(self.database, clock.now())

    def manage(self) -> None:
        """Take up what the device management told, and hand waiting commands to it."""
        backend = self.backend
        backend.take_up(self.database, self.vault, self.live.current)
        dispatch.hand_over_due(self.database, backend, self._fill, self._refuse)
        self._come_back()
        if self.settings.apps.enabled:
            self._come_back_for_apps()

    def _fill(self, database: Database, command_id: int) -> bytes | None:
        """See dispatch.Fill."""
        with database.transaction() as session:
            device_id = session.get_one(Command, command_id).device_id
            return sending.handed_over(
                Cases(session, CaseServices(self.live.current, self.vault)), command_id, device_id
            )

    def _refuse(self, database: Database, command_id: int, why: str) -> None:
        """See dispatch.Refuse."""
        with database.transaction() as session:
            device_id = session.get_one(Command, command_id).device_id
            sending.refused(Cases(session, CaseServices(self.live.current, self.vault)), command_id, device_id, why)

    def _come_back(self) -> None:
        """What waits for less than a minute is not left to the next one."""
        now = clock.now()
        with self.database.session() as session:
            dues = (self.backend.next_due(session), dispatch.next_due(session, self.backend))
        times = [each for each in dues if each is not None]
        due = max(min(times), now + SHORTEST_WAIT) if times else None
        if due is not None and due < now + timedelta(minutes=1) and not now < self._manage_at <= due:
            self._manage_at = due
            self._manage_later.schedule(delay=(due - now).total_seconds())

    @property
    def settings(self) -> Settings:
        """As they are now, looked up again every few seconds."""
        self.portal.refresh()
        return self.live.current

    @property
    def backend(self) -> Backend:
        """The device management of the settings as they are now."""
        self.portal.refresh()
        return self.portal.backend

    def every_minute(self) -> None:
        """Mail whose nudge got lost or whose wait is over; then housekeeping.

        What goes wrong keeps nothing else from being done: it is raised at the end. Raises ExceptionGroup.
        """
        steps = (
            self.deliver,
            self.invite_many,
            self.look_for_leavers,
            self.find_new_policies,
            self.give_apps,
            self._go_on_with_cases,
            self.ask_apple,
            self._renew_push_certificate,
            self.manage,
            self._tell,
            self._publish,
            self._keep_house,
        )
        problems = []
        for step in steps:
            try:
                step()
            except Exception as problem:
                log.exception("jobs.failed step=%s", step.__name__)
                problems.append(problem)
        if problems:
            raise ExceptionGroup("not everything was done", problems)

    def _go_on_with_cases(self) -> None:
        """Enrollments of people who left, or at which something is due."""
        now, settings = clock.now(), self.settings
        for each in (
            rounds.of_disabled_people,
            rounds.of_enabled_people,
            rounds.go_on,
            rounds.refresh_quiet,
            self.backend.look_after,
        ):
            with self.database.transaction() as session:  # each its own: nobody waits for what another locked
                each(Cases(session, CaseServices(settings, self.vault), now))
        with self.database.transaction() as session:
            events.forget(session, now)

    def _renew_push_certificate(self) -> None:
        if self.backend.elsewhere is None:
            reconciling.give_push_certificate(self.database, self.backend, self.settings, clock.now())

    def _keep_house(self) -> None:
        """What is over is forgotten."""
        now, settings = clock.now(), self.settings
        rules = settings.retention
        parts: tuple[Callable[[Session], object], ...] = (
            lambda session: throttle.forget_old(session, settings.sign_in, now),
            lambda session: people.forget_old_sessions(session, settings.session, now),
            lambda session: retention.forget_mail(session, rules, now),
            lambda session: retention.forget_commands(session, rules, now),
            lambda session: retention.forget_expired_profiles(session, now),
            lambda session: retention.forget_closed(Cases(session, CaseServices(settings, self.vault), now)),
        )
        for forget in parts:
            with self.database.transaction() as session:  # each its own: nobody waits for what another locked
                forget(session)

    def _tell(self) -> None:
        """Helpdesk, admins and people are told by mail of what they should know."""
        with self.database.transaction() as session:
            alerts.mail_new(session, self.vault, self.settings, clock.now())

    def _publish(self) -> None:
        """License terms whose day has come count."""
        with self.database.transaction() as session:
            terms.publish_if_due(session, self.vault, clock.now())

    def declare(self) -> None:
        """Policies changed: tell whose device has something new, and wake it."""
        changed = self.find_new_policies()
        if self.give_apps() or changed:
            self.manage()

    def find_new_policies(self) -> int:
        """Look whose device is to have something else than it was told, and tell it; how many were."""
        settings, now = self.settings, clock.now()
        policy_rounds.mark_devices(self.database, settings, now)
        return policy_rounds.tell_devices(self.database, CaseServices(settings, self.vault), now)

    def give_apps(self) -> int:
        """Look whose device is to have other apps, get licenses for them, and go on; how many devices were told."""
        settings, now = self.settings, clock.now()
        with self.database.session() as session:
            if not app_rounds.is_open(session, settings):
                return 0
        services = CaseServices(settings, self.vault)
        told = (
            policy_rounds.tell_devices(self.database, services, now)
            if app_rounds.mark_devices(self.database, settings, now)
            else 0
        )
        told += app_rounds.go_on(self.database, services, now)
        exchanging.exchange(self.database, services, now)
        told += app_rounds.go_on(self.database, services, now)
        told += policy_rounds.tell_devices(self.database, services, now)  # what came to be declared
        self._come_back_for_apps()
        return told

    def _come_back_for_apps(self) -> None:
        """What Apple does by and by, and devices that are asked again within the minute."""
        now = clock.now()
        with self.database.session() as session:
            times = (needs.next_due(session), app_rounds.next_due(session))
        due = min((each for each in times if each is not None), default=None)
        if due is None or due >= now + timedelta(minutes=1):
            return
        due = max(due, now + SHORTEST_WAIT)
        if not now < self._apps_at <= due:
            self._apps_at = due
            self._declare_later.schedule(delay=(self._apps_at - now).total_seconds())

    def ask_apple(self) -> None:
        """Once a day: whether Apple Business still knows the server token."""
        now, address = clock.now(), self.live.current.mdm.apple_business
        with self.database.session() as session:
            if not apple_business.due(session, now):
                return
            token = apple_business.token(session, self.vault, address)
        server, problem = apple_business.ask(address, token)
        with self.database.transaction() as session:
            apple_business.asked(session, server, problem, now)

    def invite_many(self) -> None:
        """Go on with the campaigns; while the directory is out of reach they wait."""
        settings = self.settings
        sources = self.portal.sources

        def find(username: str) -> Person | None:
            try:
                return sign_in.look_up(self.database, sources, settings, username, clock.now())
            except AccountProblem:
                return None
            except (SourceUnavailable, OperationalError) as problem:
                if getattr(problem, "reason", "") == "mapping":
                    raise campaigns.NotTaken from problem
                raise
            except Exception as problem:
                log.exception("campaigns.not_taken")
                raise campaigns.NotTaken from problem

        try:
            if campaigns.invite_next(self.database, CaseServices(settings, self.vault), find, clock.now()):
                self.deliver()
        except SourceUnavailable as problem:
            log.warning("campaigns.wait reason=%s", problem.reason)

    def look_for_leavers(self) -> None:
        """Ask the directory about people with managed devices."""
        settings = self.settings
        directory = self.portal.directory if settings.ldap.bind == "search" else None
        if directory is not None:
            leavers.check_accounts(self.database, CaseServices(settings, self.vault), directory, clock.now())

    def run(self) -> None:
        """Work until told to stop (SIGTERM, SIGINT). Three threads: devices never wait for a slow mail server."""
        from huey.consumer import Consumer

        Consumer(self.queue, workers=3, worker_type="thread", initial_delay=0.1, max_delay=1.0).run()


def nudge(settings: Settings, what: str = MAIL) -> None:
    """Tell the worker that there is something to do. Never fails a page: what gets lost is found within a minute."""
    try:
        _nudging(settings.queue.redis_url, settings.data, settings.secret_keys)[what]()
    except Exception:
        log.exception("jobs.nudge_failed")


@lru_cache(maxsize=4)
def _nudging(redis_url: str, data: Path, secret_keys: tuple[str, ...]) -> dict[str, Callable[[], object]]:
    queue = _queue(redis_url, data, Vault(read_keys(secret_keys, data)))

    def nothing() -> None: ...

    return {name: queue.task(name=name)(nothing) for name in (MAIL, DEVICES, POLICIES)}


def _queue(redis_url: str, data: Path, vault: Vault) -> "Huey":
    """The queue. Its messages are pickles, so each is signed: nobody else who can write to it is listened to."""
    from huey import RedisHuey, SqliteHuey  # with it come the clients of all its stores: not for each command
    from huey.serializer import SignedSerializer

    signed = SignedSerializer(secret=vault.derive("queue").hex())
    if redis_url:
        return RedisHuey("portal", url=redis_url, results=False, serializer=signed)
    data.mkdir(parents=True, exist_ok=True)
    return SqliteHuey("portal", filename=str(data / "queue.sqlite3"), results=False, serializer=signed)
