"""The engine and the request's session; SQLite and PostgreSQL behave alike through it."""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

SQLITE_WAIT_SECONDS = 10
CONNECT_SECONDS, UNANSWERED_SECONDS = 10, 30
"""How long a database that is gone is waited for: to take a connection, and to acknowledge what was sent."""
BEGIN = "begin"
"""Execution option: how a transaction begins at SQLite; empty: each statement is one of its own."""
TRAIL_KEY, WRITING = "trail_key", "writing"
"""Keys in ``Session.info``: gives the trail's key; a transaction is under way."""


class Recorded(Exception):
    """A refusal that is itself a fact: what was recorded before it was raised is kept, not rolled back."""


def open_engine(url: str) -> Engine:
    """An engine for ``url``. SQLite: WAL, foreign keys, one writer at a time that waits instead of failing.

    Parameters never show in an error: they name people.
    """
    if make_url(url).get_backend_name() != "sqlite":
        engine = create_engine(
            url,
            pool_pre_ping=True,
            pool_size=10,
            max_overflow=20,
            hide_parameters=True,
            connect_args={
                "options": "-c jit=off",  # compiling a statement takes longer than any of ours runs
                "connect_timeout": CONNECT_SECONDS,
                "tcp_user_timeout": UNANSWERED_SECONDS * 1000,
                "keepalives_idle": UNANSWERED_SECONDS,
            },
        )
        event.listen(engine, "handle_error", _forget_values)
        return engine
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": SQLITE_WAIT_SECONDS}, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


RAISED_BY_TRIGGER = "P0001"
"""SQLSTATE of our own triggers' messages, which name nobody."""


def _forget_values(context: ExceptionContext) -> DBAPIError | None:
    # PostgreSQL quotes the failing row in its message, and messages get logged: keep only what names no person.
    original, known = context.original_exception, context.sqlalchemy_exception
    diagnosis = getattr(original, "diag", None)
    if diagnosis is None or diagnosis.sqlstate is None or not isinstance(known, DBAPIError):
        return None
    where = (diagnosis.table_name, diagnosis.column_name, diagnosis.constraint_name)
    what = diagnosis.message_primary if diagnosis.sqlstate == RAISED_BY_TRIGGER else f"SQLSTATE {diagnosis.sqlstate}"
    original.args = (" ".join(part for part in (what, *where) if part),)
    return type(known)(known.statement, None, original, True, connection_invalidated=known.connection_invalidated)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Any) -> None:
    # A transaction that will write takes the write lock at once: upgrading later fails without waiting.
    begin = connection.get_execution_options().get(BEGIN, "BEGIN")
    if begin:
        connection.exec_driver_sql(begin)


class WriteQueue:
    """Lets SQLite's writers wait in line, across threads and processes, instead of polling and starving.

    A kernel lock on a file beside the database: gone with its holder, whatever happens to it.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".queue")
        self.begin_anew()

    def begin_anew(self) -> None:
        """With no lock held; needed in a forked process, where the parent's file would give both the lock at once."""
        self._threads = threading.Lock()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            self._file = self._file or self._path.open("ab")
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *_error: object) -> None:
        assert self._file is not None
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()


_OPEN: "WeakSet[Database]" = WeakSet()


def _before_fork() -> None:
    for each in _OPEN:
        each.before_fork()


def _after_fork() -> None:
    for each in _OPEN:
        each.after_fork()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


class Database:
    """Holds the engine; hands out sessions."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self.trail_key: Callable[[], object] = lambda: None
        """Gives the key of the audit trail to whoever writes it (``audit.record``)."""
        self.check: Callable[[Session], object] = lambda _session: None
        """Raises if whoever is about to write may not do so any more, by what ``session`` sees."""
        self._one_writer = self.engine.dialect.name == "sqlite"
        if self._one_writer:
            option, ways = BEGIN, ("", "BEGIN", "BEGIN IMMEDIATE")
        else:
            option, ways = "isolation_level", ("AUTOCOMMIT", "REPEATABLE READ", "READ COMMITTED")
        each_by_itself, self._as_of_now, self._writing = ({option: way} for way in ways)
        self._reading = self.engine.execution_options(**each_by_itself)
        file = self.engine.url.database if self._one_writer else None
        self._queue: AbstractContextManager[None] = WriteQueue(Path(file)) if file else nullcontext()
        _OPEN.add(self)

    def before_fork(self) -> None:
        """Close what is idle: no connection may be used by two processes."""
        self.engine.dispose()

    def after_fork(self) -> None:
        """In the new process: take nothing of the parent's."""
        self.engine.dispose(close=False)
        if isinstance(self._queue, WriteQueue):
            self._queue.begin_anew()

    def session(self) -> Session:
        """A new session: each of its statements sees what is committed then, and holds nothing.

        Objects stay readable after a commit.
        """
        return Session(self._reading, expire_on_commit=False, info={TRAIL_KEY: self.trail_key})

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """Read all of it as it is at one moment, while others go on writing."""
        with self.session() as session:
            session.connection(execution_options=self._as_of_now)
            yield session

    @contextmanager
    def transaction(self, session: Session | None = None) -> Iterator[Session]:
        """Write in one piece: commit at the end, roll back on an error (except Recorded).

        Within a transaction on ``session`` it is part of that. A read begun on ``session`` ends first. What was read
        keeps its values: whoever decides on a row reads it again under its lock (``populate_existing``). It begins with
        ``check``; where it may wait for a lock after that, it also ends with it, by what others committed meanwhile.
        """
        if session is not None and WRITING in session.info:
            yield session
            return
        own = session is None
        current = self.session() if session is None else session
        current.commit()
        with self._queue:
            current.info[WRITING] = True
            refusal = None
            try:
                current.connection(execution_options=self._writing)
                self.check(current)
                try:
                    yield current
                except Recorded as recorded:
                    refusal = recorded
                if not self._one_writer:  # not after a flush: what is written at the end is one statement with it
                    with self.session() as others:
                        self.check(others)
                current.commit()
                if refusal is not None:
                    raise refusal
            except BaseException:
                current.rollback()
                raise
            finally:
                current.info.pop(WRITING, None)
                if own:
                    current.close()


def lock_name(session: Session, name: str) -> None:
    """Serialize writers on ``name`` until the transaction ends (SQLite's single writer already does)."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})
