"""A person's own local account."""

from flask import Blueprint

blueprint = Blueprint("account", __name__)

from portal.web.account import password  # noqa: E402  (the views register themselves on the blueprint)

__all__ = ["blueprint", "password"]
