"""Employees and staff, their local passwords, their signed-in browsers."""

import re
import unicodedata
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import JSON, ColumnElement, Connection, ForeignKey, Index, String, and_, delete, event, insert
from sqlalchemy import text as sql
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, Mapper, mapped_column, relationship

from portal.models.base import BELONGS, Base, new_id, personal

if TYPE_CHECKING:
    from portal.models.enrollment import EnrollmentRequest


LONGEST_USERNAME, LONGEST_NAME, LONGEST_PHONE, LONGEST_KEY = 128, 200, 40, 255
"""Characters of a person's username, name and phone number, and of a source's key for them."""
LONGEST_WORD = 100
"""Characters of a word to search by; nobody types more."""
_WORD_BREAK = re.compile(r"[\s@._+-]+")


class Person(Base):
    """Someone who may sign in: kept here (``source`` local), or told of by a source under its stable ``subject``."""

    __tablename__ = "people"
    __table_args__ = (
        Index("ix_people_source_subject", "source", "subject", unique=True),
        Index(
            "ix_people_disabled",
            "id",
            sqlite_where=sql("disabled_at IS NOT NULL"),
            postgresql_where=sql("disabled_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    username: Mapped[str] = mapped_column(String(LONGEST_USERNAME), unique=True)
    name: Mapped[str] = mapped_column(String(LONGEST_NAME), info=personal(""))
    email: Mapped[str] = mapped_column(String(254), info=personal(""))
    managed_apple_account: Mapped[str | None] = mapped_column(String(254), unique=True, info=personal())
    locale: Mapped[str] = mapped_column(String(16), default="en")
    role: Mapped[str] = mapped_column(String(16), default="employee")
    source: Mapped[str] = mapped_column(String(32), default="local")
    subject: Mapped[str | None] = mapped_column(String(LONGEST_KEY), info=personal())
    phone: Mapped[str | None] = mapped_column(String(LONGEST_PHONE), info=personal())
    synced_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]
    sign_ins_ended: Mapped[int] = mapped_column(default=0, server_default="0")
    """How often: a sign-in that began before the last time counts no more."""

    local_account: Mapped["LocalAccount | None"] = relationship(back_populates="person")

    @hybrid_property
    def is_active_admin(self) -> bool:
        """Whether they are an admin who may do something."""
        return self.role == "admin" and self.disabled_at is None

    @is_active_admin.inplace.expression
    @classmethod
    def _is_active_admin(cls) -> ColumnElement[bool]:
        return and_(cls.role == "admin", cls.disabled_at.is_(None))


class SearchWord(Base):
    """A folded word by which a person is found, by its beginning; follows the person, whoever writes it."""

    __tablename__ = "search_words"
    __table_args__ = {"info": {BELONGS: True}}

    word: Mapped[str] = mapped_column(
        String(LONGEST_WORD).with_variant(String(LONGEST_WORD, collation="C"), "postgresql"), primary_key=True
    )
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, index=True)


def folded(text: str) -> str:
    """How words are compared: no case, no accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(each for each in decomposed if not unicodedata.combining(each))


def search_words(*texts: str | None) -> set[str]:
    """The words by which somebody with these names and addresses is found: each whole, and its parts."""
    words = set()
    for text in texts:
        whole = folded(text or "").strip()
        own, at, domain = whole.rpartition("@")
        words |= {whole, at + domain, *_WORD_BREAK.split(own)} if at else {whole, *_WORD_BREAK.split(whole)}
    return {word[:LONGEST_WORD] for word in words if word}


@event.listens_for(Person, "after_insert")
@event.listens_for(Person, "after_update")
def _follow(_mapper: Mapper[Person], connection: Connection, person: Person) -> None:
    words = SearchWord.__table__
    connection.execute(delete(words).where(words.c.person_id == person.id))  # type: ignore[arg-type]
    found = search_words(person.name, person.username, person.email, person.managed_apple_account)
    if person.erased_at is None and found:
        rows = [{"word": word, "person_id": person.id} for word in sorted(found)]
        connection.execute(insert(words), rows)  # type: ignore[arg-type]


class LocalAccount(Base):
    """A password kept by the portal itself, for small companies, staff and the demo."""

    __tablename__ = "local_accounts"
    __table_args__ = {"info": {BELONGS: True}}

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), primary_key=True)
    password_hash: Mapped[str] = mapped_column(String(200))

    person: Mapped[Person] = relationship(back_populates="local_account")


class PasswordLink(Base):
    """A one-time link that sets a local password. Only the token's hash is kept; using it deletes it."""

    __tablename__ = "password_links"
    __table_args__ = {"info": {BELONGS: True}}

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    created_at: Mapped[datetime]


class SecondFactor(Base):
    """What staff of any source proves besides the password: a TOTP secret and hashes of unused recovery codes."""

    __tablename__ = "second_factors"
    __table_args__ = {"info": {BELONGS: True}}

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), primary_key=True)
    totp_secret_sealed: Mapped[bytes]
    totp_last_step: Mapped[int] = mapped_column(default=0)
    recovery_hashes: Mapped[list[str]] = mapped_column(JSON, default=list)
    wrong_codes: Mapped[int] = mapped_column(default=0, server_default="0")
    """In a row, since the last right one."""
    locked_at: Mapped[datetime | None]


class Passkey(Base):
    """A passkey of staff: its public key. ``credential_id`` in base64url."""

    __tablename__ = "passkeys"
    __table_args__ = {"info": {BELONGS: True}}

    credential_id: Mapped[str] = mapped_column(String(1400), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    public_key: Mapped[bytes]
    sign_count: Mapped[int]
    name: Mapped[str] = mapped_column(String(60))
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]


class PasskeyChallenge(Base):
    """The one challenge that a passkey has to answer next in a session (``WebSession``), which may be over."""

    __tablename__ = "passkey_challenges"
    __table_args__ = {"info": {BELONGS: True}}

    session_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    challenge: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime]


class WebSession(Base):
    """One signed-in browser. Its token changes at every gain of rights; only the token's hash is stored.

    ``profile_id`` is set when a managed device sends its owner to sign in again: the profile it enrolled with.
    ``method`` and ``proved_at``: how somebody proved who they are, and when last. ``factor_secret_sealed``: the TOTP
    secret that is being set up. The token before counts until ``previous_until``, should the answer with the new one
    have been lost.
    """

    __tablename__ = "visits"  # as the table was called first
    __table_args__ = {"info": {BELONGS: True}}

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    area: Mapped[str] = mapped_column(String(16))
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    request_id: Mapped[str | None] = mapped_column(ForeignKey("enrollment_requests.id"), index=True)
    profile_id: Mapped[str | None] = mapped_column(String(16))
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    method: Mapped[str | None] = mapped_column(String(40))
    address: Mapped[str | None] = mapped_column(String(64))
    browser: Mapped[str | None] = mapped_column(String(64))
    proved_at: Mapped[datetime | None]
    factor_secret_sealed: Mapped[bytes | None]
    previous_token_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    previous_until: Mapped[datetime | None]

    person: Mapped[Person] = relationship(lazy="joined", innerjoin=True)
    request: Mapped["EnrollmentRequest | None"] = relationship(lazy="joined")


class SignInAttempt(Base):
    """One failed or unfinished try to sign in, counted for an account and for an address."""

    __tablename__ = "sign_in_attempts"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_key: Mapped[str] = mapped_column(String(64), index=True)
    address_key: Mapped[str] = mapped_column(String(64), index=True)
    at: Mapped[datetime] = mapped_column(index=True)
