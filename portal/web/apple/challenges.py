"""The challenge that sends a device's owner to sign in, and the signed handle it carries.

Nothing is stored before a person signs in: what the device said travels in the handle, inside the address of the web
view. The handle is in the path, since the device adds ``user-identifier`` to the query by itself.
"""

from dataclasses import asdict, dataclass
from typing import Any

from flask import Response
from itsdangerous import BadData, URLSafeSerializer

from portal.extensions import current_portal
from portal.web.apple import provider_sign_in
from portal.web.apple.machine_info import MachineInfo

METHOD = "apple-as-web"
MARK = "h"
"""Before each handle: a compressed one begins with a dot, and proxies commonly refuse such parts of an address."""


@dataclass(frozen=True, slots=True)
class Handle:
    """What is known of a device that sent its owner here: what it said at the beginning, or the profile it has."""

    machine: MachineInfo | None = None
    profile_id: str | None = None


def challenge(handle: Handle, ios: int | None = None) -> Response:
    """401: sign in like this, then ask again (an account-driven device unenrolls only on 403).

    Where it is configured, devices with ``ios`` 16 and later sign in at the identity provider by themselves.
    """
    chosen = provider_sign_in.provider()
    if chosen is not None and ios is not None and ios >= provider_sign_in.FIRST_IOS:
        return provider_sign_in.challenge(chosen)
    address = current_portal.settings.url(f"/apple/sign-in/{_sealed(handle)}")
    response = Response(status=401)
    response.headers["WWW-Authenticate"] = f'Bearer method="{METHOD}", url="{address}"'
    del response.headers["Content-Type"]
    return response


def open_handle(sealed: str) -> Handle:
    """The handle in an address; an empty one if it is mangled. It gives no rights, so it never expires."""
    try:
        values: Any = _serializer().loads(sealed.removeprefix(MARK))
        if "profile" in values:
            return Handle(profile_id=values["profile"])
        return Handle(machine=MachineInfo(**values["machine"]))
    except (BadData, KeyError, TypeError):
        return Handle()


def _sealed(handle: Handle) -> str:
    if handle.profile_id is not None:
        return MARK + _serializer().dumps({"profile": handle.profile_id})
    assert handle.machine is not None
    return MARK + _serializer().dumps({"machine": asdict(handle.machine)})


def _serializer() -> URLSafeSerializer:
    return URLSafeSerializer(current_portal.signing_keys("account-driven handles"))
