"""What iPhones talk to: SCEP and device management."""

from portal.pki.asn1 import LARGEST_MESSAGE
from portal.web.rules import Rules, pages

_READ_FIRST = dict.fromkeys(("scep", "work_scep", "enroll"), LARGEST_MESSAGE)
blueprint = pages("apple", __name__, Rules(machines=True, bodies=_READ_FIRST))
"""At ``scep``, ``work_scep`` and ``enroll`` anybody may send: the message is read before its sender is known."""

from portal.web.apple import authorize, declared, discovery, enroll, mdm, scep, work_scep  # noqa: E402  (the views register themselves on the blueprint)

__all__ = ["authorize", "blueprint", "declared", "discovery", "enroll", "mdm", "scep", "work_scep"]
