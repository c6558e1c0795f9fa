"""Somebody with every way in."""

import pytest

from portal import clock as portal_clock
from portal.credentials import passkeys
from portal.credentials.passkeys import PasskeyRefused
from portal.models import Passkey


@pytest.fixture
def ada(company):
    """An admin who could enroll a device of her own, with a passkey beside the app."""
    person = company.person("ada", "admin", managed_apple_account="ada@work.example.com")
    with company.portal.database.transaction() as session:
        session.add(Passkey(credential_id="key", person_id=person.id, public_key=b"k", sign_count=0, name="Key",
                            created_at=portal_clock.now()))  # fmt: skip
    return person


@pytest.fixture
def keys(monkeypatch):
    """Passkeys without a browser: what it sends says itself whether it fits."""

    def use(session, party, person, answer, now):
        if not answer.get("good"):
            raise PasskeyRefused("malformed")

    monkeypatch.setattr(passkeys, "use", use)
