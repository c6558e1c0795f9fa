"""The worker's part of licenses: who needs which is compared with who has which, and Apple is asked for the difference.

What is asked is written down before it is asked: whoever dies in between, or gets no answer, finds a request that
nobody knows about, and reads at Apple what became of it before anything is asked again. So nothing is lost while Apple
is away, and nothing given twice. No transaction waits for the network.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from portal import clock
from portal.apps import seats
from portal.apps.seats import Asset, Batch, Kind, SeatState, UserState
from portal.apps_and_books import answers, store
from portal.apps_and_books.answers import Event, Failure
from portal.apps_and_books.client import ClaimedElsewhere, Client, OtherLocation, Refused, TokenGone, Unavailable
from portal.apps_and_books.store import Described, NotFound
from portal.database import Database
from portal.models import AppLicense, LicenseRequest, LicenseSeat, LicenseUser, new_id
from portal.settings import Settings
from portal.storage import apple_content, licensing
from portal.storage.cases import Services
from portal.vault import Vault

POLLS = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 10, 30, 60, 120))
"""How long an event is left alone before it is asked about again; the last one again and again."""
SAID_AGAIN = timedelta(seconds=30)
"""How often whoever asks says so."""
NAMED_AT_A_TIME = 50
"""Apps whose names are looked up after one count."""
MOST_UNKNOWN = 3
"""How often somebody whom Apple does not know is made known anew for the same license."""
PROBLEMS = {TokenGone: "token", ClaimedElsewhere: "claimed", OtherLocation: "other_location"}
"""Why nothing works until an admin acted."""

log = logging.getLogger("portal.licensing")


class TakenOver(Exception):
    """Who asked Apple did not say so for so long that somebody else does it now."""


class Turn:
    """The right to ask Apple, which one worker has at a time."""

    def __init__(self, database: Database, now: datetime) -> None:
        self.database, self.holder, self._until = database, new_id(), now + SAID_AGAIN

    def hold(self) -> None:
        """Say that it still asks. Raises TakenOver."""
        now = clock.now()
        if now < self._until:
            return
        with self.database.transaction() as session:
            if not apple_content.take_turn(session, self.holder, now):
                raise TakenOver
        self._until = now + SAID_AGAIN

    def give_back(self) -> None:
        """Let others ask."""
        with self.database.transaction() as session:
            apple_content.give_turn_back(session, self.holder)


def open_client(settings: Settings, token: str, own: str, uid: str) -> Client:
    """A client of Apps and Books."""
    return Client(settings.apps.service, token, own, uid)


def work(
    database: Database,
    services: Services,
    now: datetime,
    open_: Callable[..., Client] = open_client,
    look_up: Callable[..., Described] = store.look_up,
) -> None:
    """Give and take back what is due, as far as Apple lets itself be asked; what went wrong is kept for admins."""
    settings, vault = services.settings, services.vault
    with database.transaction() as session:
        apple_content.warn(session, now)
        known = apple_content.known(session)
        if known is None or known.problem or (known.rests is not None and now < known.rests):
            return
        if known.address != apple_content.address_of(settings.apps.service, settings.apps.store):
            apple_content.stop(session, "address", now)
            return
        due, look = licensing.next_due(session), known.due(now)
        if not look and (due is None or due > now):
            return
        turn = Turn(database, now)
        if not apple_content.take_turn(session, turn.holder, now):
            return  # somebody else is at it
        token, own = apple_content.token(session, vault), apple_content.own_id(session)
    client = open_(settings, token, own, known.uid)
    try:
        Round(database, vault, client, turn.hold).go(look=look)
    except TakenOver:
        log.warning("licensing.taken_over")
        return
    except Unavailable as away:
        log.warning("licensing.waits reason=%s", away.reason)
        with database.transaction() as session:
            apple_content.rest(session, away.reason, timedelta(seconds=away.wait), now)
        return
    except Refused as refusal:
        problem = "token" if isinstance(refusal, TokenGone) else ""
        log.error("licensing.refused error_number=%s", refusal.number)
        with database.transaction() as session:
            if problem:
                apple_content.stop(session, problem, now)
            else:
                apple_content.rest(session, str(refusal.number), timedelta(), now)
        return
    except (ClaimedElsewhere, OtherLocation) as problem:
        with database.transaction() as session:
            apple_content.stop(session, PROBLEMS[type(problem)], now)
        return
    except Exception:  # whatever Apple answers keeps nothing else of the worker from being done
        log.exception("licensing.failed")
        with database.transaction() as session:
            apple_content.rest(session, "unexpected", timedelta(), now)
        return
    finally:
        client.close()
        turn.give_back()
    with database.transaction() as session:
        apple_content.went_well(session, client.expires)
    if look:
        _name(database, lambda adam_id: look_up(settings.apps.store, token, known.country, adam_id))


def _name(database: Database, look_up: Callable[[str], Described]) -> None:
    """Ask the store what some apps are called for which there are licenses, so that admins recognize them."""
    with database.session() as session:
        query = select(AppLicense.adam_id).where(AppLicense.name.is_(None), AppLicense.usable).distinct()
        nameless = session.scalars(query.limit(NAMED_AT_A_TIME)).all()
    for adam_id in nameless:
        try:
            name = look_up(adam_id).name
        except NotFound as unknown:
            if unknown.code == "unreachable":
                return
            name = adam_id
        with database.transaction() as session:
            session.execute(update(AppLicense).where(AppLicense.adam_id == adam_id).values(name=name[:200]))


@dataclass
class Round:
    """One round of asking Apple: what it needs, and what was asked."""

    database: Database
    vault: Vault
    client: Client
    hold: Callable[[], None] = lambda: None
    """Keeps others from doing the same meanwhile. Raises TakenOver."""
    exchanged: bool = False
    """Whether licenses changed hands."""
    counted: bool = False

    def go(self, *, look: bool) -> None:
        """Everything that is due. Raises what the client raises for what concerns everything."""
        try:
            if look:
                self.look()
            self.follow()
            self._decide()
            self.ask()
            self.follow()
            if self.exchanged:
                self.count_soon()
        finally:
            self._decide()  # devices are told of what came, whatever went wrong after that

    def look(self) -> None:
        """Limits, the location and its claim, the licenses there are."""
        self.client.read_limits()
        where = self.client.location()
        if where.claim is not None and where.claim.id != self._own_id():
            with self.database.transaction() as session:
                apple_content.located(session, where, clock.now())
            raise ClaimedElsewhere(where.claim)
        with self.database.transaction() as session:
            apple_content.located(session, where, clock.now())
        self.count()

    def count(self) -> None:
        """How many licenses there are of each app, and how many are free."""
        found, self.counted = self.client.assets(), True
        with self.database.transaction() as session:
            licensing.keep_assets(session, found, clock.now())

    def _own_id(self) -> str:
        with self.database.transaction() as session:
            return apple_content.own_id(session)

    def count_soon(self) -> None:
        """Count now, or a minute after they were counted last."""
        with self.database.transaction() as session:
            at = licensing.counted_at(session)
            counted_again = at + licensing.COUNTED_AT_MOST if at is not None else clock.now()
            if counted_again > clock.now():
                apple_content.look_again(session, counted_again)
                return
        self.count()

    def _decide(self) -> None:
        looked_at = 1
        while looked_at:
            with self.database.transaction() as session:
                looked_at = licensing.decide(session, clock.now())

    # --- asking ---------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Make users known, give licenses, take them back."""
        while self._create():
            pass
        if not self.counted and self._lacks_some():
            self.count()
        for kind in (Kind.DISASSOCIATE, Kind.ASSOCIATE):  # what is given back may be what somebody lacks
            while self._exchange(kind):
                pass
        while self._retire():
            pass

    def _lacks_some(self) -> bool:
        """Whether somebody waits for a license of which there was none when they were counted last."""
        with self.database.session() as session:
            return licensing.lacks_some(session, clock.now())

    def _create(self) -> bool:
        with self.database.transaction() as session:
            now = clock.now()
            wanted = LicenseUser.state.in_((UserState.NEW.value, UserState.FAILED.value)) & (LicenseUser.next_at <= now)
            has_seat = select(LicenseSeat.user_id).where(LicenseSeat.user_id == LicenseUser.id).exists()
            query = select(LicenseUser).where(wanted, has_seat, LicenseUser.account.is_not(None))
            query = query.order_by(LicenseUser.id).limit(self.client.limits.users).with_for_update(skip_locked=True)
            users = session.scalars(query).all()
            if not users:
                return False
            request = licensing.open_request(session, Kind.CREATE, now)
            for user in users:
                user.state, user.asked_in, user.next_at = UserState.ASKED.value, request.id, None
            rows = {each.id: (self._client_id(each), str(each.account)) for each in users}
            request_id = request.id
        self._ask_about_users(Kind.CREATE, request_id, rows)
        return True

    def _ask_about_users(self, kind: Kind, request_id: int, rows: Mapping[str, tuple[str, str]]) -> None:
        """Make users known or give them up, by row their id at Apple and account.

        Whoever makes Apple refuse them all is found by halving.
        """

        def ask() -> str:
            if kind is Kind.CREATE:
                return self.client.create_users(list(rows.values()))
            return self.client.retire_users([client_id for client_id, _ in rows.values()])

        try:
            self._begin(request_id, ask)
        except Refused as refusal:
            if len(rows) == 1:
                failure = Failure(refusal.number, frozenset(), frozenset())
                self._settle_users(request_id, kind, Event(answers.FAILED, (failure,)))
                return
            ids = sorted(rows)
            halves = ids[: len(ids) // 2], ids[len(ids) // 2 :]
            with self.database.transaction() as session:
                now = clock.now()
                pieces = [(licensing.open_request(session, kind, now).id, piece) for piece in halves]
                for piece_id, piece in pieces:
                    theirs = update(LicenseUser).where(LicenseUser.id.in_(piece))
                    session.execute(theirs.values(asked_in=piece_id))
                session.execute(delete(LicenseRequest).where(LicenseRequest.id == request_id))
            for piece_id, piece in pieces:
                self._ask_about_users(kind, piece_id, {each: rows[each] for each in piece})

    def _retire(self) -> bool:
        with self.database.transaction() as session:
            now = clock.now()
            has_seat = select(LicenseSeat.user_id).where(LicenseSeat.user_id == LicenseUser.id).exists()
            query = select(LicenseUser).where(LicenseUser.account.is_(None), ~has_seat, LicenseUser.asked_in.is_(None))
            query = query.where(or_(LicenseUser.next_at.is_(None), LicenseUser.next_at <= now))
            users = session.scalars(query.limit(self.client.limits.users).with_for_update(skip_locked=True)).all()
            for unheard in [each for each in users if each.state in (UserState.NEW, UserState.FAILED)]:
                licensing.forget_user(session, unheard.id)
            users = [each for each in users if each.state not in (UserState.NEW, UserState.FAILED)]
            if not users:
                return False
            request = licensing.open_request(session, Kind.RETIRE, now)
            for user in users:
                user.state, user.asked_in = UserState.RETIRED.value, request.id
            rows, request_id = {each.id: (self._client_id(each), "") for each in users}, request.id
        self._ask_about_users(Kind.RETIRE, request_id, rows)
        return True

    def _exchange(self, kind: Kind) -> bool:
        """Ask for what is due of one kind; whether there may be more."""
        with self.database.transaction() as session:
            now = clock.now()
            before, after = (
                (SeatState.WANTED, SeatState.ASKED)
                if kind is Kind.ASSOCIATE
                else (SeatState.UNWANTED, SeatState.RETURNING)
            )
            due = self._due(session, before, now)
            if kind is Kind.ASSOCIATE:
                wanted, due = due, licensing.while_there_are_any(session, due, now)
                session.flush()
                licensing.mark(session, {each.user_id for each in wanted} - {each.user_id for each in due}, now)
            lacking: dict[str, list[Asset]] = {}
            for seat in due:
                lacking.setdefault(seat.user_id, []).append((seat.adam_id, seat.pricing))
            asked: list[tuple[int, Batch]] = []
            by_key = {(each.user_id, each.adam_id): each for each in due}
            for batch in seats.batches(lacking, self.client.limits):
                request = licensing.open_request(session, kind, now)
                asked.append((request.id, batch))
                for user_id in batch.users:
                    for adam_id, _ in batch.assets:
                        seat = by_key[user_id, adam_id]
                        seat.state, seat.asked_in, seat.next_at = after.value, request.id, None
            users = session.scalars(select(LicenseUser).where(LicenseUser.id.in_(lacking)))
            clients = {each.id: self._client_id(each) for each in users}
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
            .limit(self.client.limits.client_user_ids * self.client.limits.assets)
            .with_for_update(of=LicenseSeat, skip_locked=True)
        )
        return list(session.scalars(query))

    def _give_or_take(self, kind: Kind, request_id: int, batch: Batch, clients: Mapping[str, str]) -> None:
        ask = self.client.associate if kind is Kind.ASSOCIATE else self.client.disassociate
        try:
            self._begin(request_id, lambda: ask(batch.assets, [clients[each] for each in batch.users]))
        except Refused as refusal:
            smaller = seats.halves(batch)
            if not smaller:
                failure = Failure(refusal.number, frozenset(), frozenset())
                self._settle_seats(request_id, kind, Event(answers.FAILED, (failure,)))
                return
            with self.database.transaction() as session:
                now = clock.now()
                pieces = [(licensing.open_request(session, kind, now).id, piece) for piece in smaller]
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
        """Ask Apple, and keep what it calls it. Raises Refused, and what concerns everything."""
        self.hold()
        try:
            event_id = ask()
        except Unavailable as away:
            if not away.unsure:
                self._undo(request_id)
            raise
        except (TokenGone, ClaimedElsewhere, OtherLocation):
            self._undo(request_id)
            raise
        with self.database.transaction() as session:
            now = clock.now()
            values = {"event_id": event_id, "next_at": now + POLLS[0], "tries": 0}
            session.execute(update(LicenseRequest).where(LicenseRequest.id == request_id).values(**values))

    def _undo(self, request_id: int) -> None:
        """Apple never heard of it: everything is as it was."""
        with self.database.transaction() as session:
            now = clock.now()
            licensing.ask_again(session, request_id, SeatState.ASKED, SeatState.WANTED, now)
            licensing.ask_again(session, request_id, SeatState.RETURNING, SeatState.UNWANTED, now)
            asked = LicenseUser.asked_in == request_id
            for state, before in ((UserState.ASKED, UserState.NEW), (UserState.RETIRED, UserState.KNOWN)):
                values = {"state": before.value, "asked_in": None, "next_at": now}
                session.execute(update(LicenseUser).where(asked, LicenseUser.state == state).values(**values))
            session.execute(delete(LicenseRequest).where(LicenseRequest.id == request_id))

    def _client_id(self, user: LicenseUser) -> str:
        return self.vault.open(user.client_id_sealed).decode()

    # --- what became of it ----------------------------------------------------------------------------------

    def follow(self) -> None:
        """Ask about every event that is due, and look into requests of which nobody knows whether Apple heard."""
        with self.database.session() as session:
            query = select(LicenseRequest).where(LicenseRequest.next_at <= clock.now()).order_by(LicenseRequest.id)
            due = [(each.id, each.event_id) for each in session.scalars(query)]
        for request_id, event_id in due:
            self.hold()
            if event_id is None:
                self._look_into(request_id)
                continue
            try:
                event = self.client.event(event_id)
            except (TokenGone, ClaimedElsewhere, OtherLocation):
                raise
            except Refused:  # Apple forgot the event: what became of it stands in its lists
                self._look_into(request_id)
                continue
            if event.over:
                self._settle(request_id, event)
            else:
                self._later(request_id)

    def _later(self, request_id: int) -> None:
        with self.database.transaction() as session:
            request = session.get(LicenseRequest, request_id)
            if request is not None:
                request.next_at = clock.now() + POLLS[min(request.tries, len(POLLS) - 1)]
                request.tries += 1

    def _look_into(self, request_id: int, number: int = 0) -> None:
        """Read at Apple what became of a request: what is not there is asked again, or failed with ``number``."""
        with self.database.session() as session:
            request = session.get(LicenseRequest, request_id)
            if request is None:
                return
            kind = Kind(request.kind)
            theirs = session.execute(
                select(LicenseSeat.user_id, LicenseSeat.adam_id).where(LicenseSeat.asked_in == request_id)
            ).all()
            asked = session.scalars(select(LicenseUser).where(LicenseUser.asked_in == request_id)).all()
            about = session.scalars(select(LicenseUser).where(LicenseUser.id.in_({row[0] for row in theirs}))).all()
            clients = {each.id: self._client_id(each) for each in (*asked, *about)}
        if kind in (Kind.CREATE, Kind.RETIRE):
            known = {each.id for each in asked if self.client.user(clients[each.id]) is not None}
            with self.database.transaction() as session:
                now = clock.now()
                for user in session.scalars(select(LicenseUser).where(LicenseUser.asked_in == request_id)):
                    if kind is Kind.CREATE:
                        licensing.user_is(user, UserState.KNOWN if user.id in known else UserState.NEW, now)
                    elif user.id in known:
                        licensing.user_is(user, UserState.KNOWN, now)
                    else:
                        licensing.forget_user(session, user.id)
                session.execute(delete(LicenseRequest).where(LicenseRequest.id == request_id))
            return
        has = self._has({(row[0], row[1]) for row in theirs}, clients)
        with self.database.transaction() as session:
            now = clock.now()
            held = list(session.scalars(select(LicenseSeat).where(LicenseSeat.asked_in == request_id)))
            for seat in held:
                is_there = (seat.user_id, seat.adam_id) in has
                if is_there:
                    licensing.is_held(seat, SeatState.HELD if kind is Kind.ASSOCIATE else SeatState.UNWANTED, now)
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
            return {(each, adam_id) for each in users for adam_id in self.client.assigned(clients[each])} & wanted
        by_client = {clients[each]: each for each in users}
        found = ((by_client.get(client), adam_id) for adam_id in adam_ids for client in self.client.holders(adam_id))
        return {(user_id, adam_id) for user_id, adam_id in found if user_id is not None} & wanted

    def _settle(self, request_id: int, event: Event) -> None:
        """An event is over: who failed, and why; everybody else has it."""
        with self.database.session() as session:
            request = session.get(LicenseRequest, request_id)
            kind = Kind(request.kind) if request is not None else None
        if kind in (Kind.CREATE, Kind.RETIRE):
            self._settle_users(request_id, kind, event)
        elif kind is not None:
            if event.failures and not self._names_ours(request_id, event):
                self._look_into_failures(request_id, event)
            else:
                self._settle_seats(request_id, kind, event)

    def _names_ours(self, request_id: int, event: Event) -> bool:
        """Whether each failure says whom or what it is about, and it is about what was asked for."""
        with self.database.session() as session:
            query = select(LicenseSeat.adam_id, LicenseUser).join(LicenseUser, LicenseUser.id == LicenseSeat.user_id)
            rows = session.execute(query.where(LicenseSeat.asked_in == request_id)).all()
        clients, adam_ids = {self._client_id(user) for _, user in rows}, {adam_id for adam_id, _ in rows}
        return all(
            licensing.names_somebody(each) and each.client_ids <= clients and each.adam_ids <= adam_ids
            for each in event.failures
        )

    def _look_into_failures(self, request_id: int, event: Event) -> None:
        """Apple does not say whom it failed for: its lists do; who is missing there failed."""
        number = event.failures[0].number
        self._look_into(request_id, number or -1)
        log.warning("licensing.failed_for_nobody_named error_number=%s", number)

    def _settle_seats(self, request_id: int, kind: Kind, event: Event) -> None:
        self.exchanged = True
        with self.database.transaction() as session:
            now = clock.now()
            theirs = list(session.scalars(select(LicenseSeat).where(LicenseSeat.asked_in == request_id)))
            users = session.scalars(select(LicenseUser).where(LicenseUser.id.in_({each.user_id for each in theirs})))
            by_id = {each.id: each for each in users}
            clients = {each.id: self._client_id(each) for each in by_id.values()} if event.failures else {}
            unknown: set[str] = set()
            for seat in theirs:
                number = licensing.number_for(event, clients.get(seat.user_id, ""), seat.adam_id)
                if number == answers.USER_UNKNOWN:
                    unknown.add(seat.user_id)
                if number == answers.USER_UNKNOWN and kind is Kind.ASSOCIATE and seat.tries < MOST_UNKNOWN:
                    licensing.is_wanted_again(seat, now)
                elif number and kind is Kind.ASSOCIATE:
                    licensing.has_failed(seat, str(number), now)
                elif number and kind is Kind.DISASSOCIATE and number != answers.USER_UNKNOWN:
                    licensing.is_not_returned(seat, str(number), now)
                elif kind is Kind.ASSOCIATE:
                    licensing.is_held(seat, SeatState.HELD, now)
                else:
                    session.delete(seat)
            for user_id in sorted(unknown):
                licensing.is_not_known(session, by_id[user_id], now)
            session.flush()
            licensing.mark(session, by_id, now)
            session.execute(delete(LicenseRequest).where(LicenseRequest.id == request_id))

    def _settle_users(self, request_id: int, kind: Kind | None, event: Event) -> None:
        with self.database.session() as session:
            users = list(session.scalars(select(LicenseUser).where(LicenseUser.asked_in == request_id)))
        told = {each.id: licensing.number_for(event, self._client_id(each), "") for each in users}
        if event.failures and not any(told.values()):  # it names nobody of ours
            told = dict.fromkeys(told, event.failures[0].number or -1)
        adopted = {each.id: self._adopt(each) for each in users if told[each.id]} if kind is Kind.CREATE else {}
        with self.database.transaction() as session:
            now, lacking = clock.now(), []
            for user in session.scalars(select(LicenseUser).where(LicenseUser.asked_in == request_id)):
                if kind is Kind.RETIRE and told[user.id] in (0, answers.USER_UNKNOWN):
                    licensing.forget_user(session, user.id)
                elif kind is Kind.RETIRE:
                    log.warning("licensing.not_retired error_number=%s", told[user.id])
                    licensing.user_is(user, UserState.KNOWN, now)
                    user.next_at, user.tries = licensing.again_at(user.tries, now), user.tries + 1
                elif not told[user.id]:
                    licensing.user_is(user, UserState.KNOWN, now)
                elif adopted[user.id] is not None:
                    self._take_over(session, str(adopted[user.id]), user, now)
                    user.client_id_sealed = self.vault.seal(str(adopted[user.id]).encode())
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
            session.execute(delete(LicenseRequest).where(LicenseRequest.id == request_id))

    def _take_over(self, session: Session, client_id: str, new: LicenseUser, now: datetime) -> None:
        """An id of somebody forgotten is somebody's again: it is not given up any more."""
        for old in session.scalars(select(LicenseUser).where(LicenseUser.account.is_(None))).all():
            if old.id != new.id and self._client_id(old) == client_id:
                licensing.take_over(session, old, new, now)

    def _adopt(self, user: LicenseUser) -> str | None:
        """The id under which Apple knows an account already, if it is the only one that it names."""
        own = self._client_id(user)
        if self.client.user(own) is not None:
            return own
        found = self.client.users_of(str(user.account))
        return found[0].client_id if len(found) == 1 and found[0].client_id else None
