"""Whose turn it is to ask Apple about licenses: one worker's at a time, so that nothing is asked twice."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from portal import clock
from portal.database import Database, lock_name
from portal.models import PortalState, new_id

TURN = "apps_and_books_turn"
LASTS = timedelta(minutes=3)
"""Who asks Apple says so again within that; then somebody else may."""
SAID_AGAIN = timedelta(seconds=30)
"""How often whoever asks says so."""


class TakenOver(Exception):
    """Who asked Apple did not say so for so long that somebody else does it now, or the token is another one now."""


class Turn:
    """The turn of one worker, taken in ``session``'s transaction. Raises TakenOver if it is another's."""

    def __init__(self, session: Session, database: Database, now: datetime) -> None:
        self.database, self._holder = database, new_id()
        self._take(session, now)

    def hold(self) -> None:
        """Make sure that it still is this one's, and say so from time to time. Raises TakenOver."""
        now = clock.now()
        if now >= self._say_again:
            with self.database.transaction() as session:
                if not self.is_ours(session):
                    raise TakenOver
                self._take(session, now)
            return
        with self.database.session() as session:
            state = session.get(PortalState, TURN)
            if state is None or not self._is_in(state):
                raise TakenOver

    def is_ours(self, session: Session) -> bool:
        """Whether nobody took it; nobody does until the transaction ends."""
        return self._is_in(_locked(session))

    def give_back(self) -> None:
        """Let others ask."""
        with self.database.transaction() as session:
            state = _locked(session)
            if self._is_in(state):
                state.value = ""

    def _is_in(self, state: PortalState) -> bool:
        return (state.value or "").startswith(f"{self._holder} ")

    def _take(self, session: Session, now: datetime) -> None:
        state = _locked(session)
        who, _, until = (state.value or "").partition(" ")
        if until and who != self._holder and datetime.fromisoformat(until) > now:
            raise TakenOver
        state.value, self._say_again = f"{self._holder} {(now + LASTS).isoformat()}", now + SAID_AGAIN


def take_away(session: Session) -> None:
    """Whoever asks stops: the token they ask with is not the one any more."""
    _locked(session).value = ""


def _locked(session: Session) -> PortalState:
    lock_name(session, TURN)
    state = session.get(PortalState, TURN, populate_existing=True)
    if state is None:
        state = PortalState(name=TURN, value="")
        session.add(state)
    return state
