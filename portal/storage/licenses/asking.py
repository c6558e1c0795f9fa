"""Apple is asked: to make users known, to give licenses and take them back, to give users up.

Each request is written down before it is asked, and forgotten if Apple surely never heard of it.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from portal import clock
from portal.apps import seats
from portal.apps.seats import Asset, Batch, Kind, SeatState, UserState
from portal.apps_and_books import answers
from portal.apps_and_books.answers import Event, Failure
from portal.apps_and_books.client import Refused, TokenGone, Unavailable
from portal.models import LONGEST_EVENT_ID, LicenseRequest, LicenseSeat, LicenseUser
from portal.storage.licenses import counts, marking, needs, rows
from portal.storage.licenses.outcomes import POLLS, Apple, Outcomes


class Asking:
    """Asks for everything that is due of one kind after the other. Raises what concerns everything."""

    def __init__(self, apple: Apple, outcomes: Outcomes) -> None:
        self.apple, self.outcomes = apple, outcomes

    def make_known(self) -> None:
        """Those who need a license, and whom Apple does not know."""
        while self._create():
            pass

    def exchange(self) -> None:
        """Licenses; what is given back may be what somebody lacks."""
        for kind in (Kind.DISASSOCIATE, Kind.ASSOCIATE):
            while self._exchange(kind):
                pass

    def give_up(self) -> None:
        """Those who are forgotten, and have nothing left."""
        while self._retire():
            pass

    def _create(self) -> bool:
        with self.apple.database.transaction() as session:
            now = clock.now()
            query = select(LicenseUser).where(needs.to_be_known(), LicenseUser.next_at <= now)
            query = (
                query.order_by(LicenseUser.id).limit(self.apple.client.limits.users).with_for_update(skip_locked=True)
            )
            users = session.scalars(query).all()
            if not users:
                return False
            request = rows.open_request(session, Kind.CREATE, now)
            for user in users:
                user.state, user.asked_in, user.next_at = UserState.ASKED.value, request.id, None
            whom = {each.id: (self.apple.client_id(each), str(each.account)) for each in users}
            request_id = request.id
        self._ask_about_users(Kind.CREATE, request_id, whom)
        return True

    def _ask_about_users(self, kind: Kind, request_id: int, whom: Mapping[str, tuple[str, str]]) -> None:
        """Make users known or give them up, by user their id at Apple and account.

        Whoever makes Apple refuse them all is found by halving.
        """

        def ask() -> str:
            if kind is Kind.CREATE:
                return self.apple.client.create_users(list(whom.values()))
            return self.apple.client.retire_users([client_id for client_id, _ in whom.values()])

        try:
            self._begin(request_id, ask)
        except Refused as refusal:
            if len(whom) == 1:
                failure = Failure(refusal.number, frozenset(), frozenset())
                self.outcomes.settle_users(request_id, kind, Event(answers.FAILED, (failure,)))
                return
            ids = sorted(whom)
            halves = ids[: len(ids) // 2], ids[len(ids) // 2 :]
            with self.apple.database.transaction() as session:
                now = clock.now()
                pieces = [(rows.open_request(session, kind, now).id, piece) for piece in halves]
                for piece_id, piece in pieces:
                    theirs = update(LicenseUser).where(LicenseUser.id.in_(piece))
                    session.execute(theirs.values(asked_in=piece_id))
                session.execute(delete(LicenseRequest).where(LicenseRequest.id == request_id))
            for piece_id, piece in pieces:
                self._ask_about_users(kind, piece_id, {each: whom[each] for each in piece})

    def _retire(self) -> bool:
        with self.apple.database.transaction() as session:
            now = clock.now()
            has_seat = select(LicenseSeat.user_id).where(LicenseSeat.user_id == LicenseUser.id).exists()
            query = select(LicenseUser).where(LicenseUser.account.is_(None), ~has_seat, LicenseUser.asked_in.is_(None))
            query = query.where(or_(LicenseUser.next_at.is_(None), LicenseUser.next_at <= now))
            users = session.scalars(query.limit(self.apple.client.limits.users).with_for_update(skip_locked=True)).all()
            unheard = [each for each in users if each.state in (UserState.NEW, UserState.FAILED)]
            for each in unheard:
                rows.forget_user(session, each.id)
            users = [each for each in users if each not in unheard]
            if not users:
                return bool(unheard)  # others may wait behind those
            request = rows.open_request(session, Kind.RETIRE, now)
            for user in users:
                user.state, user.asked_in = UserState.RETIRED.value, request.id
            whom, request_id = {each.id: (self.apple.client_id(each), "") for each in users}, request.id
        self._ask_about_users(Kind.RETIRE, request_id, whom)
        return True

    def _exchange(self, kind: Kind) -> bool:
        """Ask for what is due of one kind; whether there may be more."""
        with self.apple.database.transaction() as session:
            now = clock.now()
            before, after = (
                (SeatState.WANTED, SeatState.ASKED)
                if kind is Kind.ASSOCIATE
                else (SeatState.UNWANTED, SeatState.RETURNING)
            )
            due = self._due(session, before, now)
            if kind is Kind.ASSOCIATE:
                wanted, due = due, counts.while_there_are_any(session, due, now)
                session.flush()
                marking.mark(session, {each.user_id for each in wanted} - {each.user_id for each in due}, now)
            lacking: dict[str, list[Asset]] = {}
            for seat in due:
                lacking.setdefault(seat.user_id, []).append((seat.adam_id, seat.pricing))
            asked: list[tuple[int, Batch]] = []
            by_key = {(each.user_id, each.adam_id): each for each in due}
            for batch in seats.batches(lacking, self.apple.client.limits):
                request = rows.open_request(session, kind, now)
                asked.append((request.id, batch))
                for user_id in batch.users:
                    for adam_id, _ in batch.assets:
                        seat = by_key[user_id, adam_id]
                        seat.state, seat.asked_in, seat.next_at = after.value, request.id, None
            users = session.scalars(select(LicenseUser).where(LicenseUser.id.in_(lacking)))
            clients = {each.id: self.apple.client_id(each) for each in users}
        for request_id, batch in asked:
            self._give_or_take(kind, request_id, batch, clients)
        return bool(due)

    def _due(self, session: Session, state: SeatState, now: datetime) -> list[LicenseSeat]:
        query = (
            select(LicenseSeat)
            .join(LicenseUser, LicenseUser.id == LicenseSeat.user_id)
            .where(LicenseUser.state == UserState.KNOWN)
            .where(LicenseSeat.state == state.value, LicenseSeat.next_at <= now)
            .order_by(LicenseSeat.user_id, LicenseSeat.adam_id)
            .limit(self.apple.client.limits.client_user_ids * self.apple.client.limits.assets)
            .with_for_update(of=LicenseSeat, skip_locked=True)
        )
        return list(session.scalars(query))

    def _give_or_take(self, kind: Kind, request_id: int, batch: Batch, clients: Mapping[str, str]) -> None:
        ask = self.apple.client.associate if kind is Kind.ASSOCIATE else self.apple.client.disassociate
        try:
            self._begin(request_id, lambda: ask(batch.assets, [clients[each] for each in batch.users]))
        except Refused as refusal:
            smaller = seats.halves(batch)
            if not smaller:
                failure = Failure(refusal.number, frozenset(), frozenset())
                self.outcomes.settle_seats(request_id, kind, Event(answers.FAILED, (failure,)))
                return
            with self.apple.database.transaction() as session:
                now = clock.now()
                pieces = [(rows.open_request(session, kind, now).id, piece) for piece in smaller]
                for piece_id, piece in pieces:
                    adam_ids = [adam_id for adam_id, _ in piece.assets]
                    theirs = (LicenseSeat.user_id.in_(piece.users), LicenseSeat.adam_id.in_(adam_ids))
                    session.execute(
                        update(LicenseSeat).where(LicenseSeat.asked_in == request_id, *theirs).values(asked_in=piece_id)
                    )
                session.execute(delete(LicenseRequest).where(LicenseRequest.id == request_id))
            for piece_id, piece in pieces:
                self._give_or_take(kind, piece_id, piece, clients)

    def _begin(self, request_id: int, ask: Callable[[], str]) -> None:
        """Ask Apple, and keep what it calls it. Raises Refused, and what concerns everything.

        That another server claims the location, or that it is another one, stands in an answer: Apple did what was
        asked. What became of it is looked into later.
        """
        self.apple.hold()
        try:
            event_id = ask()
        except Unavailable as away:
            if not away.unsure:
                self._undo(request_id)
            raise
        except TokenGone:
            self._undo(request_id)
            raise
        with self.apple.database.transaction() as session:
            now = clock.now()
            can_be_kept = len(event_id) <= LONGEST_EVENT_ID  # else it is as if the answer were lost
            next_at = now + (POLLS[0] if can_be_kept else rows.LEASE)
            values = {"event_id": event_id if can_be_kept else None, "next_at": next_at, "tries": 0}
            session.execute(update(LicenseRequest).where(LicenseRequest.id == request_id).values(**values))

    def _undo(self, request_id: int) -> None:
        """Apple never heard of it: everything is as it was."""
        with self.apple.database.transaction() as session:
            now = clock.now()
            rows.ask_again(session, request_id, SeatState.ASKED, SeatState.WANTED, now)
            rows.ask_again(session, request_id, SeatState.RETURNING, SeatState.UNWANTED, now)
            asked = LicenseUser.asked_in == request_id
            for state, before in ((UserState.ASKED, UserState.NEW), (UserState.RETIRED, UserState.KNOWN)):
                values = {"state": before.value, "asked_in": None, "next_at": now}
                session.execute(update(LicenseUser).where(asked, LicenseUser.state == state).values(**values))
            session.execute(delete(LicenseRequest).where(LicenseRequest.id == request_id))
