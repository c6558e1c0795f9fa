"""What is kept of Apps and Books: the content token, sealed, whose licenses it is about, and how asking went lately."""

import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from portal import audit
from portal.apps_and_books.answers import Claim, Location
from portal.apps_and_books.content_token import ContentToken
from portal.audit import Editor
from portal.events import Event
from portal.models import PortalState
from portal.storage.licenses import turn
from portal.vault import Vault

TOKEN, OWN_ID, LOCATION = "content_token", "apps_and_books_id", "apps_and_books_location"
RESTS = tuple(timedelta(seconds=seconds) for seconds in (30, 60, 120, 300, 900, 1800))
"""After each failure in a row; the last one again and again. Apple's own wish counts if it is longer."""
LOOK_EVERY = timedelta(hours=1)
WARN_DAYS = (60, 30, 7)
"""How long before it ends admins are told of it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the token: times in ISO 8601, empty if there is none.

    ``address``: where the token may be sent, as the settings were when it was saved. ``problem``: why nothing works:
    nothing is asked until an admin acted. ``trouble``: what went wrong last: it is tried again at ``rests_until``.
    """

    address: str
    organization: str
    expires_at: str
    uid: str = ""
    location: str = ""
    country: str = ""
    claim_id: str = ""
    claim_name: str = ""
    looked_at: str = ""
    problem: str = ""
    trouble: str = ""
    failures: int = 0
    rests_until: str = ""
    warned: int = 0

    @property
    def expires(self) -> datetime:
        """When it ends."""
        return datetime.fromisoformat(self.expires_at)

    @property
    def rests(self) -> datetime | None:
        """Until when Apple is left in peace."""
        return datetime.fromisoformat(self.rests_until) if self.rests_until else None

    @property
    def looked(self) -> datetime | None:
        """When the licenses were counted last."""
        return datetime.fromisoformat(self.looked_at) if self.looked_at else None

    def due(self, now: datetime) -> bool:
        """Whether location and licenses are to be looked at again."""
        return self.looked is None or now - self.looked >= LOOK_EVERY


def address_of(service: str, store: str) -> str:
    """Where a token may be sent with these settings: it never goes to one that was changed after it was saved."""
    return f"{service} {store}"


def known(session: Session) -> Known | None:
    """What is known of the token; None without one."""
    state = session.get(PortalState, TOKEN)
    return Known(**json.loads(state.value)) if state is not None and state.value else None


def token(session: Session, vault: Vault) -> str:
    """The token itself. Raises VaultError, KeyError without one."""
    state = session.get(PortalState, TOKEN)
    if state is None or state.sealed is None:
        raise KeyError(TOKEN)
    return vault.open(state.sealed).decode()


def own_id(session: Session) -> str:
    """By what this portal claims a location: made once, never changed."""
    state = session.get(PortalState, OWN_ID)
    if state is None:
        state = PortalState(name=OWN_ID, value=str(uuid.uuid4()))
        session.add(state)
        session.flush()
    return str(state.value)


def is_another(session: Session, where: Location) -> bool:
    """Whether licenses are those of another location than ever before, also if no token is kept; noted as the one.

    One that does not say which it is, is no other.
    """
    if not where.uid:
        return False
    state = session.get(PortalState, LOCATION) or PortalState(name=LOCATION, value="")
    before, state.value = state.value, where.uid
    session.add(state)
    return bool(before) and before != where.uid


def save(editor: Editor, given: ContentToken, address: str, where: Location) -> None:
    """Keep a token that Apple took, instead of the one before; whose location it does not say, that is the same."""
    before = known(editor.session)
    state = editor.session.get(PortalState, TOKEN) or PortalState(name=TOKEN)
    state.sealed = editor.vault.seal(given.text.encode())
    made = Known(address, given.organization, given.expires.isoformat(), uid=before.uid if before is not None else "")
    state.value = _written(_located(made, where))
    editor.session.add(state)
    turn.take_away(editor.session)
    until = given.expires.date().isoformat()
    editor.record(Event.LICENSES_TOKEN_SAVED, location=where.name, organization=given.organization, expires=until)


def located(session: Session, where: Location, now: datetime) -> None:
    """What Apple said of the location."""
    _change(session, lambda each: replace(_located(each, where), looked_at=now.isoformat()))


def claimed(session: Session, claim: Claim) -> None:
    """Another server uses the location; whatever was wrong before still is."""
    _change(session, lambda each: replace(each, claim_id=claim.id, claim_name=claim.name))


def look_again(session: Session, at: datetime) -> None:
    """The licenses are looked at again then, if not before."""
    _change(session, lambda each: replace(each, looked_at=(at - LOOK_EVERY).isoformat()))


def went_well(session: Session, expires: datetime | None) -> None:
    """Apple answers; when the token ends, if it said so."""

    def better(each: Known) -> Known:
        until = expires.isoformat() if expires is not None else each.expires_at
        return replace(each, expires_at=until, trouble="", failures=0, rests_until="")

    held = known(session)
    if held is not None and held != better(held):
        _change(session, better)


def rest(session: Session, trouble: str, wait: timedelta, now: datetime) -> None:
    """Apple does not answer: the same again later."""

    def tired(each: Known) -> Known:
        until = now + max(wait, RESTS[min(each.failures, len(RESTS) - 1)])
        return replace(each, trouble=trouble, failures=each.failures + 1, rests_until=until.isoformat())

    _change(session, tired)


def stop(session: Session, problem: str, now: datetime) -> None:
    """Nothing is asked any more until an admin acted; they are told."""
    held = known(session)
    if held is not None and held.problem != problem:
        _change(session, lambda each: replace(each, problem=problem))
        audit.record(session, audit.SETTINGS, Event.LICENSES_STOPPED, now, reason=problem)


def warn(session: Session, now: datetime) -> None:
    """Tell admins, each time once, that the token ends soon."""
    held = known(session)
    left = (held.expires - now).days if held is not None else WARN_DAYS[0] + 1
    passed = min((days for days in WARN_DAYS if left <= days), default=None)
    if held is not None and passed is not None and held.warned != passed:
        _change(session, lambda each: replace(each, warned=passed))
        detail = {"name": str(max(0, left))}
        audit.record(session, audit.SETTINGS, Event.LICENSES_EXPIRING, now, reason=str(passed), detail=detail)


def forget(editor: Editor) -> None:
    """Give the token up: no licenses are given or taken back any more."""
    state = editor.session.get(PortalState, TOKEN)
    if state is not None:
        editor.session.delete(state)
        turn.take_away(editor.session)
        editor.record(Event.LICENSES_FORGOTTEN)


def _located(each: Known, where: Location) -> Known:
    claim = where.claim
    return replace(
        each,
        uid=where.uid or each.uid,
        location=where.name or each.location,
        country=where.country or each.country,
        claim_id=claim.id if claim else "",
        claim_name=claim.name if claim else "",
        problem="",
    )


def _change(session: Session, how: Callable[[Known], Known]) -> None:
    state = session.get(PortalState, TOKEN, with_for_update=True, populate_existing=True)
    if state is not None and state.value:
        state.value = _written(how(Known(**json.loads(state.value))))


def _written(each: Known) -> str:
    return json.dumps(asdict(each))
