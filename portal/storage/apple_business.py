"""What is kept of Apple Business: the key pair and the server token, sealed, and what Apple said of it."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from portal.apple_business import server_token, service
from portal.apple_business.server_token import ServerToken
from portal.apple_business.service import Server
from portal.apple_business.vouching import Voucher
from portal.audit import Editor
from portal.events import Event
from portal.models import PortalState
from portal.pki.authority import Identity
from portal.vault import Vault

KEY, TOKEN = "apple_business_key", "apple_business_token"
LOOK_EVERY = timedelta(days=1)
OTHER_ADDRESS = "other_address"
"""Why Apple was not asked: the settings name another server than when the token was saved."""


@dataclass(frozen=True, slots=True)
class Known:
    """What Apple said of the token: the server's names; ``problem`` if it did not say lately, and when it was asked.

    ``address``: where the token may be shown, as the settings were when it was saved; empty in what is older than that.
    """

    uuid: str = ""
    name: str = ""
    organization: str = ""
    expires_at: str = ""
    asked_at: str = ""
    problem: str = ""
    address: str = ""

    @property
    def expires(self) -> datetime | None:
        """When the token ends."""
        return datetime.fromisoformat(self.expires_at) if self.expires_at else None


def key(session: Session, vault: Vault) -> Identity | None:
    """The key pair, if one was made. Raises VaultError."""
    state = session.get(PortalState, KEY)
    return server_token.identity(vault.open(state.sealed)) if state is not None and state.sealed else None


def known(session: Session) -> Known | None:
    """What is known of the token; None without one."""
    state = session.get(PortalState, TOKEN)
    return Known(**json.loads(state.value)) if state is not None and state.value else None


def token(session: Session, vault: Vault, address: str) -> ServerToken | None:
    """The token itself, if it may be shown at ``address``. Raises VaultError."""
    state, told = session.get(PortalState, TOKEN), known(session)
    if state is None or not state.sealed or told is None or told.address not in ("", address):
        return None
    return ServerToken(**json.loads(vault.open(state.sealed)))


def ask(address: str, told: ServerToken | None) -> tuple[Server | None, str]:
    """What Apple says of ``token(..., address)``, or why it does not."""
    return service.ask_for_server(address, told) if told is not None else (None, OTHER_ADDRESS)


def voucher(session: Session, vault: Vault) -> Voucher | None:
    """What signs tokens for devices; None as long as Apple did not say what the server is called. Raises VaultError."""
    told = known(session)
    held = key(session, vault) if told is not None and told.uuid else None
    return Voucher(held, told.uuid) if held is not None and told is not None else None


def vouches(session: Session) -> bool:
    """Whether there is such a voucher, without opening anything."""
    told = known(session)
    return told is not None and bool(told.uuid)


def make_key(editor: Editor, organization: str) -> None:
    """A key pair, unless there is one."""
    state = editor.session.get(PortalState, KEY) or PortalState(name=KEY)
    if not state.sealed:
        state.sealed = editor.vault.seal(server_token.make_key(organization, editor.now))
        editor.session.add(state)
        editor.record(Event.APPLE_KEY_MADE)


def keep(editor: Editor, told: ServerToken, server: Server | None, problem: str, address: str) -> None:
    """Use this token from now on; ``server``: what Apple said of it at ``address``, or ``problem``, why it did not."""
    state = editor.session.get(PortalState, TOKEN) or PortalState(name=TOKEN)
    state.sealed = editor.vault.seal(told.as_json())
    found, asked_at = server or Server("", "", ""), editor.now.isoformat()
    names = (found.uuid, found.name, found.organization)
    state.value = _written(Known(*names, told.expires_at, asked_at, problem, address))
    editor.session.add(state)
    editor.record(Event.APPLE_TOKEN_SAVED, server=found.name, expires=told.expires_at)


def asked(session: Session, server: Server | None, problem: str, now: datetime) -> None:
    """What Apple said when it was asked again; a problem leaves what is known."""
    state, told = session.get(PortalState, TOKEN, with_for_update=True), known(session)
    if state is None or told is None:
        return
    if server is not None:
        told = replace(told, uuid=server.uuid, name=server.name, organization=server.organization)
    state.value = _written(replace(told, asked_at=now.isoformat(), problem=problem))


def due(session: Session, now: datetime) -> bool:
    """Whether Apple is to be asked again."""
    told = known(session)
    return told is not None and now - datetime.fromisoformat(told.asked_at) >= LOOK_EVERY


def forget(editor: Editor) -> None:
    """Give up token and key: devices that enroll from now on are not vouched for."""
    for name in (KEY, TOKEN):
        state = editor.session.get(PortalState, name)
        if state is not None:
            editor.session.delete(state)
    editor.record(Event.APPLE_TOKEN_FORGOTTEN)


def _written(told: Known) -> str:
    return json.dumps(asdict(told))
