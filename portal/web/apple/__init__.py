"""What iPhones talk to: SCEP and device management."""

from flask import Blueprint

from portal.extensions import csrf

blueprint = Blueprint("apple", __name__)
csrf.exempt(blueprint)

from portal.web.apple import authorize, discovery, enroll, mdm, scep  # noqa: E402  (the views register themselves on the blueprint)

__all__ = ["authorize", "blueprint", "discovery", "enroll", "mdm", "scep"]
