"""What became of what Apple was asked about licenses: events are followed to their end; else its lists are read."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from portal import clock
from portal.apps.seats import Kind, SeatState, UserState
from portal.apps_and_books import answers
from portal.apps_and_books.answers import Event
from portal.apps_and_books.client import Client, Refused
from portal.database import Database
from portal.models import LicenseRequest, LicenseSeat, LicenseUser
from portal.storage import licensing
from portal.vault import Vault

POLLS = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 10, 30, 60, 120))
"""How long an event is left alone before it is asked about again; the last one again and again."""
MOST_UNKNOWN = 3
"""How often somebody whom Apple does not know is made known anew for the same license."""

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
            due = [(each.id, each.event_id) for each in session.scalars(query)]
        for request_id, event_id in due:
            self.apple.hold()
            try:
                self._follow(request_id, event_id)
            except Refused as refusal:  # it cannot be read now what became of it; the others need not wait
                log.warning("licensing.not_told error_number=%s", refusal.number)
                self._later(request_id)

    def _follow(self, request_id: int, event_id: str | None) -> None:
        event = self._event(event_id) if event_id is not None else None
        if event is None:
            self._look_into(request_id)
        elif event.over:
            self._settle(request_id, event)
        else:
            self._later(request_id)

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

    def _look_into(self, request_id: int, number: int = 0) -> None:
        """Read at Apple what became of a request: what is not there is asked again, or failed with ``number``."""
        with self.apple.database.session() as session:
            request = session.get(LicenseRequest, request_id)
            if request is None:
                return
            kind = Kind(request.kind)
            theirs = session.execute(
                select(LicenseSeat.user_id, LicenseSeat.adam_id).where(LicenseSeat.asked_in == request_id)
            ).all()
            asked = session.scalars(select(LicenseUser).where(LicenseUser.asked_in == request_id)).all()
            about = session.scalars(select(LicenseUser).where(LicenseUser.id.in_({row[0] for row in theirs}))).all()
            clients = {each.id: self.apple.client_id(each) for each in (*asked, *about)}
        if kind in (Kind.CREATE, Kind.RETIRE):
            known = {each.id for each in asked if self.apple.client.user(clients[each.id]) is not None}
            with self.apple.database.transaction() as session:
                now = clock.now()
                for user in session.scalars(select(LicenseUser).where(LicenseUser.asked_in == request_id)):
                    if kind is Kind.CREATE and user.id not in known:
                        licensing.user_is(user, UserState.NEW, now)
                        user.next_at, user.tries = licensing.soon_at(user.tries, now), user.tries + 1
                    elif kind is Kind.CREATE:
                        licensing.user_is(user, UserState.KNOWN, now)
                        user.tries = 0
                    elif user.id in known:
                        licensing.user_is(user, UserState.KNOWN, now)
                    else:
                        licensing.forget_user(session, user.id)
                session.execute(delete(LicenseRequest).where(LicenseRequest.id == request_id))
            return
        has = self._has({(row[0], row[1]) for row in theirs}, clients)
        with self.apple.database.transaction() as session:
            now = clock.now()
            held = list(session.scalars(select(LicenseSeat).where(LicenseSeat.asked_in == request_id)))
            for seat in held:
                is_there = (seat.user_id, seat.adam_id) in has
                if is_there and kind is Kind.ASSOCIATE:
                    licensing.is_held(seat, now)
                elif is_there:
                    licensing.is_not_returned(seat, str(number) if number else None, now)
                elif kind is Kind.ASSOCIATE and number:
                    licensing.has_failed(seat, str(number), now)
                elif kind is Kind.ASSOCIATE:
                    licensing.is_wanted_again(seat, now)
                else:
                    session.delete(seat)
            session.flush()
            licensing.mark(session, {each.user_id for each in held}, now)
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

    def _settle(self, request_id: int, event: Event) -> None:
        """An event is over: who failed, and why. Of everybody else it is known if it is complete; else it is read."""
        with self.apple.database.session() as session:
            request = session.get(LicenseRequest, request_id)
            kind = Kind(request.kind) if request is not None else None
        if kind in (Kind.CREATE, Kind.RETIRE):
            self.settle_users(request_id, kind, event)
            self._look_into(request_id)  # who is left
        elif kind is not None:
            silent = event.status != answers.COMPLETE and not event.failures
            if silent or (event.failures and not self._names_ours(request_id, event)):
                self._look_into_failures(request_id, event)
            else:
                self.settle_seats(request_id, kind, event)
                self._look_into(request_id)  # who is left

    def _names_ours(self, request_id: int, event: Event) -> bool:
        """Whether each failure says whom or what it is about, and it is about what was asked for."""
        with self.apple.database.session() as session:
            query = select(LicenseSeat.adam_id, LicenseUser).join(LicenseUser, LicenseUser.id == LicenseSeat.user_id)
            rows = session.execute(query.where(LicenseSeat.asked_in == request_id)).all()
        clients, adam_ids = {self.apple.client_id(user) for _, user in rows}, {adam_id for adam_id, _ in rows}
        return all(
            licensing.names_somebody(each) and each.client_ids <= clients and each.adam_ids <= adam_ids
            for each in event.failures
        )

    def _look_into_failures(self, request_id: int, event: Event) -> None:
        """Apple does not say whom it failed for: its lists do; who is missing there failed."""
        number = event.failures[0].number if event.failures else 0
        self._look_into(request_id, number or -1)
        log.warning("licensing.failed_for_nobody_named error_number=%s", number)

    def settle_seats(self, request_id: int, kind: Kind, event: Event) -> None:
        """Settle those of whom the event tells; one that failed, of whom it names; the request stays for others.

        Whether Apple gave the others what was asked is not documented [?].
        """
        with self.apple.database.transaction() as session:
            now = clock.now()
            theirs = list(session.scalars(select(LicenseSeat).where(LicenseSeat.asked_in == request_id)))
            users = session.scalars(select(LicenseUser).where(LicenseUser.id.in_({each.user_id for each in theirs})))
            by_id = {each.id: each for each in users}
            clients = {each.id: self.apple.client_id(each) for each in by_id.values()} if event.failures else {}
            unknown, left = set[str](), False
            for seat in theirs:
                number = licensing.number_for(event, clients.get(seat.user_id, ""), seat.adam_id)
                if not number and event.status != answers.COMPLETE:
                    left = True
                    continue
                if number == answers.USER_UNKNOWN:
                    unknown.add(seat.user_id)
                if number == answers.USER_UNKNOWN and kind is Kind.ASSOCIATE and seat.tries < MOST_UNKNOWN:
                    licensing.is_wanted_again(seat, now)
                elif number and kind is Kind.ASSOCIATE:
                    licensing.has_failed(seat, str(number), now)
                elif number and kind is Kind.DISASSOCIATE and number != answers.USER_UNKNOWN:
                    licensing.is_not_returned(seat, str(number), now)
                elif kind is Kind.ASSOCIATE:
                    licensing.is_held(seat, now)
                    self.exchanged = True
                else:
                    session.delete(seat)
                    self.exchanged = True
            for user_id in sorted(unknown):
                licensing.is_not_known(session, by_id[user_id], now)
            session.flush()
            licensing.mark(session, by_id, now)
            if not left:
                session.execute(delete(LicenseRequest).where(LicenseRequest.id == request_id))

    def settle_users(self, request_id: int, kind: Kind | None, event: Event) -> None:
        """The same of making users known, or giving them up."""
        with self.apple.database.session() as session:
            users = list(session.scalars(select(LicenseUser).where(LicenseUser.asked_in == request_id)))
        told = {each.id: licensing.number_for(event, self.apple.client_id(each), "") for each in users}
        if event.failures and not any(told.values()):  # it names nobody of ours
            told = dict.fromkeys(told, event.failures[0].number or -1)
        refused = [each for each in users if told[each.id]] if kind is Kind.CREATE else []
        taken, adopted = self._ids_of_others(refused), {}
        for each in refused:
            adopted[each.id] = self._adopt(each, taken)
            taken.add(adopted[each.id])
        with self.apple.database.transaction() as session:
            now, lacking, left = clock.now(), [], False
            for user in session.scalars(select(LicenseUser).where(LicenseUser.asked_in == request_id)):
                if not told[user.id] and event.status != answers.COMPLETE:
                    left = True
                elif kind is Kind.RETIRE and told[user.id] in (0, answers.USER_UNKNOWN):
                    licensing.forget_user(session, user.id)
                elif kind is Kind.RETIRE:
                    log.warning("licensing.not_retired error_number=%s", told[user.id])
                    licensing.user_is(user, UserState.KNOWN, now)
                    user.next_at, user.tries = licensing.again_at(user.tries, now), user.tries + 1
                elif not told[user.id]:
                    licensing.user_is(user, UserState.KNOWN, now)
                elif adopted.get(user.id) is not None:
                    self._transfer_seats(session, str(adopted[user.id]), user, now)
                    user.client_id_sealed = self.apple.vault.seal(str(adopted[user.id]).encode())
                    licensing.user_is(user, UserState.KNOWN, now)
                else:
                    licensing.user_is(user, UserState.FAILED, now, str(told[user.id]))
                    user.next_at = licensing.again_at(user.tries, now)
                    user.tries += 1
                    theirs = LicenseSeat.user_id == user.id, LicenseSeat.state == SeatState.WANTED
                    failed = {"state": SeatState.FAILED.value, "reason": licensing.NOT_KNOWN, "next_at": user.next_at}
                    session.execute(update(LicenseSeat).where(*theirs).values(**failed))
                    lacking.append(user.id)
            session.flush()
            licensing.mark(session, lacking, now)
            if not left:
                session.execute(delete(LicenseRequest).where(LicenseRequest.id == request_id))

    def _transfer_seats(self, session: Session, client_id: str, new: LicenseUser, now: datetime) -> None:
        """An id of somebody forgotten is somebody's again: it is not given up any more."""
        for old in session.scalars(select(LicenseUser).where(LicenseUser.account.is_(None))).all():
            if old.id != new.id and self.apple.client_id(old) == client_id:
                licensing.transfer_seats(session, old, new, now)

    def _ids_of_others(self, users: Sequence[LicenseUser]) -> set[str | None]:
        """Under which ids Apple knows everybody but these, who still has an account."""
        if not users:
            return set()
        with self.apple.database.session() as session:
            query = select(LicenseUser).where(LicenseUser.account.is_not(None))
            query = query.where(LicenseUser.id.not_in([each.id for each in users]))
            return {self.apple.client_id(each) for each in session.scalars(query)}

    def _adopt(self, user: LicenseUser, others: Collection[str | None]) -> str | None:
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
