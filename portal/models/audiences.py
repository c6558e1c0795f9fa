"""Who gets something of work: lines of an audience, and the groups that people are in."""

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from portal.models.base import BELONGS, Base


class AudienceLine:
    """One line of who gets what ``owner_id`` names.

    ``side``: ``in``, ``out`` (an exception to the former), or what else there is of it; ``kind``: ``everybody``,
    ``group`` (``value`` is its name) or ``person`` (``value`` is the person's id).
    """

    owner_id: Mapped[str]
    side: Mapped[str] = mapped_column(String(8), primary_key=True)
    kind: Mapped[str] = mapped_column(String(12), primary_key=True)
    value: Mapped[str] = mapped_column(String(255), primary_key=True, default="")


class PolicyAudience(AudienceLine, Base):
    """Who gets a policy; on the side ``pilot``: who gets new versions first."""

    __tablename__ = "policy_audience"
    __table_args__ = (Index("ix_policy_audience_kind_value", "kind", "value"),)

    @declared_attr
    def owner_id(cls) -> Mapped[str]:  # noqa: N805
        """The policy."""
        return mapped_column("policy_id", ForeignKey("policies.id"), primary_key=True, sort_order=-1)


class Membership(Base):
    """Somebody is in a group: of the directory, of a sign-in provider, or in a list that admins keep (``source``)."""

    __tablename__ = "memberships"
    __table_args__ = (Index("ix_memberships_name", "name", "person_id"), {"info": {BELONGS: True}})

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), primary_key=True)
    source: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
