"""Helpdesk: every request, where it stands, and what can be done about it."""

from portal.people import STAFF_ROLES
from portal.web.rules import STAFF, Rules, pages

blueprint = pages(
    "helpdesk",
    __name__,
    Rules(area=STAFF, roles=frozenset(STAFF_ROLES), bodies={"upload_campaign": 8_500_000}),
    url_prefix="/helpdesk",
)

from portal.web.helpdesk import campaign_pages, device_page, preview, request_list, request_page  # noqa: E402  (the views register)

__all__ = ["blueprint", "campaign_pages", "device_page", "preview", "request_list", "request_page"]
