"""The worker's part of licenses: who needs which is compared with who has which, and Apple is asked for the difference.

What is asked is written down before it is asked: whoever dies in between, or gets no answer, finds a request that
nobody knows about, and reads at Apple what became of it before anything is asked again. So nothing is lost while Apple
is away, and nothing given twice. No transaction waits for the network.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal import clock
from portal.apps_and_books import store
from portal.apps_and_books.client import ClaimedElsewhere, Client, OtherLocation, Refused, TokenGone, Unavailable
from portal.apps_and_books.store import Described, NotFound
from portal.database import Database
from portal.models import AppLicense
from portal.settings import Settings
from portal.storage import apple_content
from portal.storage.apple_content import Known
from portal.storage.cases import Services
from portal.storage.licenses import counts, needs
from portal.storage.licenses.asking import Asking
from portal.storage.licenses.outcomes import Apple, Outcomes
from portal.storage.licenses.turn import TakenOver, Turn

MOST_NAMED = 50
"""Apps whose names are looked up after one count."""
PROBLEMS: dict[type[Exception], str] = {
    TokenGone: "token",
    ClaimedElsewhere: "claimed",
    OtherLocation: "other_location",
}
"""Why nothing works until an admin acted."""

log = logging.getLogger("portal.licensing")


def open_client(settings: Settings, token: str, own: str, uid: str) -> Client:
    """A client of Apps and Books."""
    return Client(settings.apps.service, token, own, uid)


def exchange(
    database: Database,
    services: Services,
    now: datetime,
    open_: Callable[..., Client] = open_client,
    look_up: Callable[..., Described] = store.look_up,
) -> None:
    """Give and take back what is due, as far as Apple lets itself be asked; what went wrong is kept for admins."""
    settings, vault = services.settings, services.vault
    with database.transaction() as session:
        known = _usable(session, settings, now)
        if known is None or not (known.due(now) or _is_due(session, now)):
            return
        try:
            turn = Turn(session, database, now)
        except TakenOver:
            return  # somebody else is at it
        token, own = apple_content.token(session, vault), apple_content.own_id(session)
    client = open_(settings, token, own, known.uid)
    try:
        Round(Apple(database, vault, client, turn.hold)).go(look=known.due(now))
        with database.transaction() as session:
            if turn.is_ours(session):
                apple_content.went_well(session, client.expires)
    except TakenOver:
        log.warning("licensing.taken_over")
        return
    except Exception as problem:  # whatever Apple answers keeps nothing else of the worker from being done
        with database.transaction() as session:
            if turn.is_ours(session):  # else it is about a token that is not in use any more
                _keep(session, problem, now)
        return
    finally:
        client.close()
        turn.give_back()
    if known.due(now):
        _name(database, lambda adam_id: look_up(settings.apps.store, token, known.country, adam_id))


def look(database: Database, services: Services) -> str:
    """Count the licenses now, whoever's turn it is; why that could not be done, or an empty string."""
    settings, vault = services.settings, services.vault
    with database.transaction() as session:
        known = apple_content.known(session)
        if known is None or known.address != apple_content.address_of(settings.apps.service, settings.apps.store):
            return "address"
        token, own = apple_content.token(session, vault), apple_content.own_id(session)

    def hold() -> None:
        with database.session() as session:
            if apple_content.known(session) is None or apple_content.token(session, vault) != token:
                raise TakenOver

    client = open_client(settings, token, own, known.uid)
    try:
        Round(Apple(database, vault, client, hold)).compare()
    except TakenOver:
        return ""  # what another token is for was counted when it came
    except Unavailable as away:
        return away.reason
    except Refused:
        return "token"
    except tuple(PROBLEMS) as problem:
        return PROBLEMS[type(problem)]
    finally:
        client.close()
    return ""


def _usable(session: Session, settings: Settings, now: datetime) -> Known | None:
    """What is known of the token, if Apple can be asked with it now."""
    apple_content.warn(session, now)
    known = apple_content.known(session)
    if known is None or known.problem or (known.rests is not None and now < known.rests):
        return None
    if known.address != apple_content.address_of(settings.apps.service, settings.apps.store):
        apple_content.stop(session, "address", now)
        return None
    return known


def _is_due(session: Session, now: datetime) -> bool:
    due = needs.next_due(session)
    return due is not None and due <= now


def _keep(session: Session, problem: Exception, now: datetime) -> None:
    """Keep for admins what went wrong, and leave Apple in peace: until they acted, or for a while."""
    stops = PROBLEMS.get(type(problem))
    if stops is not None:
        log.error("licensing.stopped reason=%s", stops)
        apple_content.stop(session, stops, now)
    elif isinstance(problem, Unavailable):
        log.warning("licensing.waits reason=%s", problem.reason)
        apple_content.rest(session, problem.reason, timedelta(seconds=problem.wait), now)
    elif isinstance(problem, Refused):
        log.error("licensing.refused error_number=%s", problem.number)
        apple_content.rest(session, str(problem.number), timedelta(), now)
    else:
        log.error("licensing.failed", exc_info=problem)
        apple_content.rest(session, "unexpected", timedelta(), now)


def _name(database: Database, look_up: Callable[[str], Described]) -> None:
    """Ask the store what some apps are called for which there are licenses, so that admins recognize them."""
    with database.session() as session:
        query = select(AppLicense.adam_id).where(AppLicense.name.is_(None), AppLicense.usable).distinct()
        nameless = session.scalars(query.limit(MOST_NAMED)).all()
    for adam_id in nameless:
        try:
            name = look_up(adam_id).name
        except NotFound as unknown:
            if unknown.code == "unreachable":
                return
            name = adam_id
        with database.transaction() as session:
            session.execute(update(AppLicense).where(AppLicense.adam_id == adam_id).values(name=name[:200]))


class Round:
    """One round of asking Apple."""

    def __init__(self, apple: Apple) -> None:
        self.apple, self._counted = apple, False
        self.outcomes = Outcomes(apple)
        self.asking = Asking(apple, self.outcomes)

    def go(self, *, look: bool) -> None:
        """Everything that is due. Raises what the client raises for what concerns everything."""
        try:
            if look:
                self.compare()
            self.outcomes.follow()
            self._decide()
            self.asking.make_known()
            if not self._counted and self._lacks_some():
                self._count()
            self.asking.exchange()
            self.asking.give_up()
            self.outcomes.follow()
            if self.outcomes.exchanged:
                self._count_soon()
        finally:
            self._decide()  # devices are told of what came, whatever went wrong after that

    def compare(self) -> None:
        """Limits, the location and its claim, the licenses there are. Raises what the client raises."""
        self.apple.client.read_limits()
        where = self.apple.client.location()
        self.apple.hold()
        if where.claim is not None and where.claim.id != self._own_id():
            with self.apple.database.transaction() as session:
                apple_content.claimed(session, where.claim)
            raise ClaimedElsewhere(where.claim)
        with self.apple.database.transaction() as session:
            apple_content.located(session, where, clock.now())
        self._count()

    def _count(self) -> None:
        """How many licenses there are of each app, and how many are free."""
        found, self._counted = self.apple.client.assets(), True
        self.apple.hold()
        with self.apple.database.transaction() as session:
            counts.keep_assets(session, found, clock.now())

    def _count_soon(self) -> None:
        """Count now, or a minute after they were counted last."""
        with self.apple.database.transaction() as session:
            at = counts.counted_at(session)
            counted_again = at + counts.COUNTED_AT_MOST if at is not None else clock.now()
            if counted_again > clock.now():
                apple_content.look_again(session, counted_again)
                return
        self._count()

    def _lacks_some(self) -> bool:
        """Whether somebody waits for a license of which there was none when they were counted last."""
        with self.apple.database.session() as session:
            return counts.lacks_some(session, clock.now())

    def _own_id(self) -> str:
        with self.apple.database.transaction() as session:
            return apple_content.own_id(session)

    def _decide(self) -> None:
        looked_at = 1
        while looked_at:
            with self.apple.database.transaction() as session:
                looked_at = needs.decide(session, clock.now())
