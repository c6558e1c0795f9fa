"""What one running portal is made of, opened once: for web, worker and command line alike."""

import math
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from portal import audit, clock
from portal.backends import open_backend
from portal.backends.base import Backend
from portal.credentials.local import LocalAccounts
from portal.credentials.reachable import Reachable
from portal.credentials.sign_in import Sources
from portal.database import Database
from portal.kept import Kept
from portal.models import PortalState
from portal.pki.authority import Authority, Identity, identity_from_pem
from portal.pki.authority import load as load_authority
from portal.settings import Settings
from portal.settings.live import LOOK_EVERY_SECONDS, Live
from portal.vault import Vault, read_keys

if TYPE_CHECKING:
    from portal.credentials.directory import Directory
    from portal.credentials.oidc import Provider

OPENED_WITH = {
    "account_driven": ("domains",),
    "ldap": ("directory", "sources", "reachable"),
    "oidc": ("providers", "reachable"),
    "profile": ("signer",),
    "mdm": ("backend",),
    "nanomdm": ("backend",),
    "maas360": ("backend",),
    "policies": ("directory", "sources", "reachable"),
    "apps": ("directory", "sources", "reachable"),
}
"""By section of the settings: what was opened with them and is opened anew when they change."""

DOMAINS_KEPT_SECONDS = 60.0
REVOCATIONS_KEPT_SECONDS = 10.0
KEYS_ROTATED = "keys_rotated"
"""Where the time of the last rotation is kept."""


class Portal:
    """What one running portal is made of; opened when first needed."""

    def __init__(self, settings: Settings) -> None:
        self.database = Database(settings.database)
        self.database.trail_key = lambda: audit.key_of(self.database, self.vault)
        self.live = Live(settings, self.database, lambda: self.vault)
        self.work_revocations: Kept[tuple[object, bytes]] = Kept(REVOCATIONS_KEPT_SECONDS)
        """The list of revoked identities for work, after what it was made of: anybody may ask for it."""
        self._opened_with = settings

    @property
    def settings(self) -> Settings:
        """The settings as they are now; a snapshot that never changes."""
        return self.live.refresh(math.inf)  # looks only if nobody did yet

    def refresh(self, max_age: float = LOOK_EVERY_SECONDS) -> None:
        """Look whether somebody saved settings (at most every ``max_age`` seconds), and open anew what they concern."""
        before, after = self._opened_with, self.live.refresh(max_age)
        self._opened_with = after
        if after is before:
            return
        for section, opened in OPENED_WITH.items():
            if getattr(after, section) != getattr(before, section):
                for name in opened:
                    self.__dict__.pop(name, None)

    @cached_property
    def vault(self) -> Vault:
        """The sealed-secret keys. Raises VaultError before setup."""
        return Vault(read_keys(self.live.base.secret_keys, self.live.base.data))

    @cached_property
    def authority(self) -> Authority:
        """The portal's CA and profile signer. Raises AuthorityMissing before setup."""
        with self.database.session() as reading:
            return load_authority(reading, self.vault)

    @cached_property
    def signer(self) -> Identity:
        """Who signs profiles: uploaded, else in files, else the CA's own signer. Raises OSError, ValueError."""
        return signer_of(self.settings, self.authority)

    @property
    def gives_policies(self) -> bool:
        """Whether the portal itself has policies for devices: the room is open, and no other server has them."""
        return self.settings.policies.enabled and not self.backend.does.policies

    @property
    def gives_apps(self) -> bool:
        """The same for work apps."""
        return self.settings.apps.enabled and not self.backend.does.apps

    @cached_property
    def directory(self) -> "Directory | None":
        """The configured directory, if any."""
        if not self.settings.ldap.servers:
            return None
        from portal.credentials.directory import Directory  # what only some portals use is only loaded there

        return Directory(self.settings.ldap, with_groups=self.settings.knows_groups)

    @cached_property
    def domains(self) -> Kept[frozenset[str]]:
        """The domains whose accounts may enroll: thousands of phones may ask, and people change seldom."""
        return Kept(DOMAINS_KEPT_SECONDS)

    @cached_property
    def sources(self) -> Sources:
        """Who can say whose password it is."""
        return Sources(LocalAccounts(), self.directory)

    @cached_property
    def reachable(self) -> Reachable:
        """Whether the sources of credentials answer."""
        return Reachable(self.directory, self.providers.values())

    @cached_property
    def providers(self) -> "dict[str, Provider]":
        """Single sign-on, by name."""
        if not self.settings.oidc.providers:
            return {}
        from portal.credentials.oidc import Provider

        return {each.name: Provider(each) for each in self.settings.oidc.providers}

    @cached_property
    def backend(self) -> Backend:
        """The configured device-management backend. Raises NotSetUp, VaultError before setup."""
        return open_backend(self.settings, self.database, self.vault)

    @cached_property
    def rotated_at(self) -> datetime | None:
        """When the secret keys were rotated last, as it was when this process first asked."""
        with self.database.session() as reading:
            state = reading.get(PortalState, KEYS_ROTATED)
        return datetime.fromisoformat(state.value) if state is not None and state.value else None

    def signing_keys(self, purpose: str) -> list[bytes]:
        """Keys for what browsers and devices bring back, the newest last: it signs, the others still verify.

        They do so only as long after a rotation as a session may last: then nothing honest is signed with them.
        """
        keys = self.vault.derive_all(purpose)
        if len(keys) == 1:
            return keys
        lasts = timedelta(hours=self.settings.session.absolute_hours)
        return keys if self.rotated_at is not None and clock.now() < self.rotated_at + lasts else keys[-1:]

    def forget(self) -> None:
        """Open everything anew when next needed (after setup or a key rotation)."""
        for name in ("vault", "authority", "signer", "backend", "rotated_at"):
            self.__dict__.pop(name, None)
        self.refresh(0)


def signer_of(settings: Settings, authority: Authority) -> Identity:
    """Who signs profiles with these settings. Raises OSError, ValueError."""
    profile = settings.profile
    if profile.signing_identity:
        pem = profile.signing_identity.encode()
        return identity_from_pem(pem, pem)
    if not profile.signing_certificate:
        return authority.signer
    with open(profile.signing_certificate, "rb") as chain, open(profile.signing_key, "rb") as key:
        return identity_from_pem(chain.read(), key.read())
