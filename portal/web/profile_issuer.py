"""What making a profile needs of the running portal, for both ways of enrolling."""

from portal import texts
from portal.enrollment import profile as profiles
from portal.enrollment.errors import BackendUnavailable
from portal.extensions import current_portal, db_session
from portal.pki.authority import Identity
from portal.storage import apple_business
from portal.web import i18n


def check_backend() -> None:
    """No profile while the device could not report. Raises BackendUnavailable."""
    if not current_portal.backend.health().ready:
        raise BackendUnavailable


def open_issuer() -> profiles.ProfileIssuer:
    """Everything but the request. Raises ProfileNotSigned."""
    return profiles.ProfileIssuer(
        authority=current_portal.authority,
        signer=_signer(),
        management=current_portal.backend.management,
        display_name=_text("name", i18n.current()),
        description=_text("description", i18n.current()),
        consent={"default": _text("consent", "en")}
        | {language: _text("consent", language) for language in current_portal.settings.languages},
        vouches=apple_business.vouches(db_session),
    )


def _signer() -> Identity:
    try:
        return current_portal.signer
    except (OSError, ValueError) as error:
        raise profiles.ProfileNotSigned(str(error)) from error


def _text(name: str, locale: str) -> str:
    return texts.render(f"profile/{name}.txt", locale, company=current_portal.settings.company)
