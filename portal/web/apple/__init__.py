"""What iPhones talk to: SCEP and device management."""

from portal.pki.asn1 import LARGEST_MESSAGE
from portal.web.rules import Rules, pages

blueprint = pages("apple", __name__, Rules(machines=True, bodies={"scep": LARGEST_MESSAGE, "enroll": LARGEST_MESSAGE}))
"""At ``scep`` and ``enroll`` anybody may send: the message is read before its sender is known."""

from portal.web.apple import authorize, discovery, enroll, mdm, scep  # noqa: E402  (the views register themselves on the blueprint)

__all__ = ["authorize", "blueprint", "discovery", "enroll", "mdm", "scep"]
