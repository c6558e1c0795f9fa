"""What became of what Apple was asked about licenses: events are followed to their end; else its lists are read."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.orm import Session

from portal import clock
from portal.apps import seat_outcomes
from portal.apps.seat_outcomes import Outcome, UserOutcome
from portal.apps.seats import Kind, UserState
from portal.apps_and_books import answers
from portal.apps_and_books.answers import Event
from portal.apps_and_books.client import Client, Refused
from portal.database import Database
from portal.models import LicenseRequest, LicenseSeat, LicenseUser
from portal.storage.licenses import marking, rows
from portal.vault import Vault

POLLS = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 10, 30, 60, 120))
"""How long an event is left alone before it is asked about again; the last one again and again."""

log = logging.getLogger("portal.licensing")


@dataclass(frozen=True)
class Apple:
    """Apple, as it is asked in one round. ``hold`` keeps others from asking meanwhile, and raises TakenOver."""

    database: Database
    vault: Vault
    client: Client
    hold: Callable[[], None]

    def client_id(self, user: LicenseUser) -> str:
        """Under which id Apple knows somebody."""
        return self.vault.open(user.client_id_sealed).decode()


class Outcomes:
    """Takes what Apple says became of requests. ``exchanged``: whether licenses changed hands."""

    def __init__(self, apple: Apple) -> None:
        self.apple, self.exchanged = apple, False

    def follow(self) -> None:
        """Ask about every event that is due, and look into requests of which nobody knows whether Apple heard."""
        with self.apple.database.session() as session:
            query = select(LicenseRequest).where(LicenseRequest.next_at <= clock.now()).order_by(LicenseRequest.id)
            due = [(each.id, Kind(each.kind), each.event_id) for each in session.scalars(query)]
        for request_id, kind, event_id in due:
            self.apple.hold()
            try:
                self._follow(request_id, kind, event_id)
            except Refused as refusal:  # it cannot be read now what became of it; the others need not wait
                log.warning("licensing.not_told error_number=%s", refusal.number)
                self._later(request_id)

    def _follow(self, request_id: int, kind: Kind, event_id: str | None) -> None:
        event = self._event(event_id) if event_id is not None else None
        if event is None:
            self._look_into(request_id, kind)
        elif not event.over:
            self._later(request_id)
        elif kind in (Kind.CREATE, Kind.RETIRE):
            if self.settle_users(request_id, kind, event):
                self._look_into(request_id, kind)
        elif self._is_about_others(request_id, event):
            number = event.failures[0].number if event.failures else 0
            log.warning("licensing.failed_for_nobody_named error_number=%s", number)
            self._look_into(request_id, kind, number or -1)
        elif self.settle_seats(request_id, kind, event):
            self._look_into(request_id, kind)

    def _event(self, event_id: str) -> Event | None:
        try:
            return self.apple.client.event(event_id)
        except Refused:  # Apple forgot it: what became of it stands in its lists
            return None

    def _later(self, request_id: int) -> None:
        with self.apple.database.transaction() as session:
            request = session.get(LicenseRequest, request_id)
            if request is not None:
                request.next_at = clock.now() + POLLS[min(request.tries, len(POLLS) - 1)]
                request.tries += 1

    def _is_about_others(self, request_id: int, event: Event) -> bool:
        """Whether an event failed without saying for whom of those that were asked for: Apple's lists tell it then."""
        if not event.failures:
            return event.status != answers.COMPLETE
        with self.apple.database.session() as session:
            query = select(LicenseSeat.adam_id, LicenseUser).join(LicenseUser, LicenseUser.id == LicenseSeat.user_id)
            asked = session.execute(query.where(LicenseSeat.asked_in == request_id)).all()
        clients, adam_ids = {self.apple.client_id(user) for _, user in asked}, {adam_id for adam_id, _ in asked}
        return not all(
            each.names_somebody and each.client_ids <= clients and each.adam_ids <= adam_ids for each in event.failures
        )

    # --- by Apple's lists ------------------------------------------------------------------------------------------

    def _look_into(self, request_id: int, kind: Kind, number: int = 0) -> None:
        """Read at Apple what became of a request. ``number``: why it failed for those who are missing there, if so."""
        if kind in (Kind.CREATE, Kind.RETIRE):
            self._look_for_users(request_id, kind)
        else:
            self._look_for_seats(request_id, kind, number)

    def _look_for_users(self, request_id: int, kind: Kind) -> None:
        with self.apple.database.session() as session:
            asked = session.scalars(select(LicenseUser).where(LicenseUser.asked_in == request_id)).all()
        known = {each.id for each in asked if self.apple.client.user(self.apple.client_id(each)) is not None}
        with self.apple.database.transaction() as session:
            now = clock.now()
            for user in session.scalars(select(LicenseUser).where(LicenseUser.asked_in == request_id)):
                outcome = seat_outcomes.of_listed_user(kind, is_known=user.id in known)
                rows.user_becomes(session, user, outcome, 0, now)
            session.execute(delete(LicenseRequest).where(LicenseRequest.id == request_id))

    def _look_for_seats(self, request_id: int, kind: Kind, number: int) -> None:
        with self.apple.database.session() as session:
            query = select(LicenseSeat.user_id, LicenseSeat.adam_id).where(LicenseSeat.asked_in == request_id)
            asked = {(user_id, adam_id) for user_id, adam_id in session.execute(query)}
            about = session.scalars(select(LicenseUser).where(LicenseUser.id.in_({each for each, _ in asked}))).all()
            clients = {each.id: self.apple.client_id(each) for each in about}
        has = self._has(asked, clients)
        with self.apple.database.transaction() as session:
            now = clock.now()
            theirs = session.scalars(select(LicenseSeat).where(LicenseSeat.asked_in == request_id)).all()
            for seat in theirs:
                is_there = (seat.user_id, seat.adam_id) in has
                outcome = seat_outcomes.of_listed_seat(kind, number, is_there=is_there)
                rows.seat_becomes(session, seat, outcome, number, now)
            session.flush()
            marking.mark(session, {each.user_id for each in theirs}, now)
            session.execute(delete(LicenseRequest).where(LicenseRequest.id == request_id))

    def _has(self, wanted: set[tuple[str, str]], clients: Mapping[str, str]) -> set[tuple[str, str]]:
        """Which of these pairs of user and app Apple has: read by user or by app, whatever are fewer requests."""
        users, adam_ids = {user_id for user_id, _ in wanted}, {adam_id for _, adam_id in wanted}
        if len(users) <= len(adam_ids):
            return {(each, adam_id) for each in users for adam_id in self.apple.client.assigned(clients[each])} & wanted
        by_client = {clients[each]: each for each in users}
        found = (
            (by_client.get(client), adam_id) for adam_id in adam_ids for client in self.apple.client.holders(adam_id)
        )
        return {(user_id, adam_id) for user_id, adam_id in found if user_id is not None} & wanted

    # --- by an event that is over ----------------------------------------------------------------------------------

    def settle_seats(self, request_id: int, kind: Kind, event: Event) -> bool:
        """Settle those of whom the event tells; whether others are left, for whom the request stays."""
        complete = event.status == answers.COMPLETE
        with self.apple.database.transaction() as session:
            now = clock.now()
            theirs = session.scalars(select(LicenseSeat).where(LicenseSeat.asked_in == request_id)).all()
            users = session.scalars(select(LicenseUser).where(LicenseUser.id.in_({each.user_id for each in theirs})))
            by_id = {each.id: each for each in users}
            clients = {each.id: self.apple.client_id(each) for each in by_id.values()} if event.failures else {}
            unknown, outcomes = set[str](), set[Outcome]()
            for seat in theirs:
                number = event.number_for(clients.get(seat.user_id, ""), seat.adam_id)
                outcome = seat_outcomes.of_seat(kind, number, seat.tries, complete=complete)
                rows.seat_becomes(session, seat, outcome, number, now)
                outcomes.add(outcome)
                if number == answers.USER_UNKNOWN:
                    unknown.add(seat.user_id)
            for user_id in sorted(unknown):
                rows.is_not_known(session, by_id[user_id], now)
            session.flush()
            marking.mark(session, by_id, now)
            left = Outcome.OPEN in outcomes
            if not left:
                session.execute(delete(LicenseRequest).where(LicenseRequest.id == request_id))
        self.exchanged |= not outcomes.isdisjoint((Outcome.HELD, Outcome.RETURNED))
        return left

    def settle_users(self, request_id: int, kind: Kind, event: Event) -> bool:
        """The same of making users known, or giving them up."""
        with self.apple.database.session() as session:
            users = list(session.scalars(select(LicenseUser).where(LicenseUser.asked_in == request_id)))
        told = {each.id: event.number_for(self.apple.client_id(each), "") for each in users}
        if event.failures and not any(told.values()):  # it names nobody of ours
            told = dict.fromkeys(told, event.failures[0].number or -1)
        adopted = self._adopt_all([each for each in users if told[each.id]]) if kind is Kind.CREATE else {}
        complete = event.status == answers.COMPLETE
        with self.apple.database.transaction() as session:
            now, lacking, left = clock.now(), [], False
            for user in session.scalars(select(LicenseUser).where(LicenseUser.asked_in == request_id)):
                client_id, number = adopted.get(user.id), told[user.id]
                if client_id is not None:
                    self._transfer_seats(session, client_id, user, now)
                    user.client_id_sealed = self.apple.vault.seal(client_id.encode())
                    number = 0
                outcome = seat_outcomes.of_user(kind, number, complete=complete or client_id is not None)
                rows.user_becomes(session, user, outcome, number, now)
                left |= outcome is UserOutcome.OPEN
                if outcome is UserOutcome.NOT_RETIRED:
                    log.warning("licensing.not_retired error_number=%s", number)
                elif outcome is UserOutcome.FAILED:
                    lacking.append(user.id)
            session.flush()
            marking.mark(session, lacking, now)
            if not left:
                session.execute(delete(LicenseRequest).where(LicenseRequest.id == request_id))
        return left

    def _transfer_seats(self, session: Session, client_id: str, new: LicenseUser, now: datetime) -> None:
        """An id of somebody forgotten is somebody's again: it is not given up any more."""
        for old in session.scalars(select(LicenseUser).where(LicenseUser.account.is_(None))).all():
            if old.id != new.id and self.apple.client_id(old) == client_id:
                rows.transfer_seats(session, old, new, now)

    def _adopt_all(self, refused: Sequence[LicenseUser]) -> dict[str, str]:
        """By user whom Apple does not take under our id: under which it knows their account already.

        That id is nobody else's, and Apple is not about to give it up.
        """
        if not refused:
            return {}
        with self.apple.database.session() as session:
            given_up = and_(LicenseUser.state == UserState.RETIRED.value, LicenseUser.asked_in.is_not(None))
            query = select(LicenseUser).where(or_(LicenseUser.account.is_not(None), given_up))
            query = query.where(LicenseUser.id.not_in([each.id for each in refused]))
            taken = {self.apple.client_id(each) for each in session.scalars(query)}
        adopted: dict[str, str] = {}
        for user in refused:
            client_id = self._adopt(user, taken)
            if client_id is not None:
                adopted[user.id] = client_id
                taken.add(client_id)
        return adopted

    def _adopt(self, user: LicenseUser, others: Collection[str]) -> str | None:
        """The id under which Apple knows an account already, if it is the only one that it names, and nobody else's."""
        own = self.apple.client_id(user)
        try:
            if self.apple.client.user(own) is not None:
                return own
            found = self.apple.client.users_of(user.account) if user.account is not None else []
        except Refused as refusal:
            log.warning("licensing.not_told error_number=%s", refusal.number)
            return None
        return found[0].client_id if len(found) == 1 and found[0].client_id not in ("", *others) else None
