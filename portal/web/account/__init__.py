"""A person's own local account."""

from portal.web.rules import Rules, pages

blueprint = pages("account", __name__, Rules())

from portal.web.account import password  # noqa: E402  (the views register themselves on the blueprint)

__all__ = ["blueprint", "password"]
