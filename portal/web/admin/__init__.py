"""Admin pages: how the portal is set up."""

from portal.storage.apple_content import WARN_DAYS
from portal.web.operations import RENEW_BEFORE
from portal.web.rules import STAFF, Rules, pages

blueprint = pages(
    "admin",
    __name__,
    Rules(
        area=STAFF,
        roles=frozenset({"admin"}),
        bodies={
            "save_settings": 1_200_000,
            "preview_settings": 1_200_000,
            "save_terms": 600_000,
            "install_profile": 600_000,
            "upload_parts": 600_000,
            "new_part": 300_000,
            "edit_part": 300_000,
            "save_policy_list": 300_000,
            "set_behaviour": 120_000,
            "set_app_audience": 120_000,
        },
        long_texts=True,
    ),
    url_prefix="/admin",
)


@blueprint.context_processor
def _soon() -> dict[str, int]:
    """From how many days on pages say that a certificate, or a token of Apple's, ends."""
    return {"certificate_soon": RENEW_BEFORE.days, "token_soon": WARN_DAYS[0]}


from portal.web.admin import (  # noqa: E402  (the views register themselves on the blueprint)
    app_licenses_page,
    app_pages,
    apple_business_page,
    audit_trail,
    dashboard,
    device_management,
    discovery,
    people_pages,
    policy_catalogue,
    policy_pages,
    policy_parts,
    policy_people,
    settings_pages,
    terms_page,
    tokens_page,
)

__all__ = [
    "app_licenses_page",
    "app_pages",
    "apple_business_page",
    "audit_trail",
    "blueprint",
    "dashboard",
    "device_management",
    "discovery",
    "people_pages",
    "policy_catalogue",
    "policy_pages",
    "policy_parts",
    "policy_people",
    "settings_pages",
    "terms_page",
    "tokens_page",
]
