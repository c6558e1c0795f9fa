"""The Settings app of a simulated iPhone: account-driven user enrollment, iOS 15 and later.

Discovery, the two posts, the web view, the Managed Apple Account, the profile; and signing in again when the server
asks for it. Facts: Apple, "Implementing the simple authentication account-driven enrollment flow".
"""

import plistlib
from collections.abc import Callable
from urllib.parse import urlencode, urljoin, urlsplit

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from portal.pki import cms
from portal.simulator.iphone import IPhone, SignInAgain, challenge_url
from portal.simulator.model import MODELS
from portal.simulator.scep_client import InstallationFailed, self_signed

WELL_KNOWN = "/.well-known/com.apple.remotemanagement"
USER_AGENT = "DeviceManagementClient/1.0"
FIRST_IOS = 15
MOST_REDIRECTS = 5

Owner = Callable[[str], str]
"""Walks the web view that begins at an address; returns the access token it ended with."""


class SettingsApp:
    """Settings > General > VPN & Device Management > Sign In to Work or School Account."""

    def __init__(self, phone: IPhone | None = None, language: str = "en") -> None:
        self.phone = phone or IPhone(model=MODELS[18])
        self.language = language
        self._built_in = rsa.generate_private_key(65537, 2048) if self.phone.key is None else self.phone.key
        if self.phone.model.major < FIRST_IOS:
            raise InstallationFailed("Settings has no work accounts before iOS 15")

    def sign_in(self, identifier: str, owner: Owner, server: str = "") -> list[str]:
        """Enroll with a Managed Apple Account; ``server`` stands for ``https://domain`` where there is no such domain.

        Returns a line for each thing done. Raises InstallationFailed.
        """
        lines = []
        base_url = self.discover(identifier, server)
        lines.append(f"discovered {base_url}")
        token = self.ask_owner(self.begin(base_url), identifier, owner)
        lines.append("the owner signed in: access token")
        profile = self.fetch_profile(base_url, token)
        self.phone.account, self.phone.token = identifier, token
        payload = self.phone.open_profile(profile)
        lines.append(f"profile verified: {payload['PayloadDisplayName']}")
        self.sign_in_to_apple(identifier)
        lines.append("signed in with the Managed Apple Account (Apple's part, not simulated)")
        self.phone.obtain_identity(payload)
        lines.append("certificate issued over SCEP")
        self.phone.authenticate()
        lines.append("Authenticate accepted")
        self.phone.token_update()
        lines.append("TokenUpdate accepted")
        lines.append(f"commands answered: {', '.join(self.phone.connect()) or 'none'}")
        return lines

    def discover(self, identifier: str, server: str = "") -> str:
        """The BaseURL for user enrollment; redirects are followed without the query. Raises InstallationFailed."""
        domain = identifier.rpartition("@")[2]
        family = self.phone.model.model_name
        query = urlencode({"user-identifier": identifier, "model-family": family})
        address = f"{server or f'https://{domain}'}{WELL_KNOWN}?{query}"
        answer = self._get(address)
        try:
            offered = answer.json()["Servers"][0]
            if answer.status_code == 200 and offered["Version"] == "mdm-byod":
                return str(offered["BaseURL"])
        except (ValueError, LookupError, TypeError):
            pass
        raise InstallationFailed(f"discovery answered {answer.status_code} {answer.text.strip()[:200]}")

    def begin(self, base_url: str) -> str:
        """The first post: where the owner has to sign in."""
        answer = self._post(base_url)
        if answer.status_code != 401:
            raise InstallationFailed(f"the server answered {answer.status_code} {answer.text.strip()[:200]}")
        return challenge_url(answer)

    def ask_owner(self, url: str, identifier: str, owner: Owner) -> str:
        """Open the web view; its access token."""
        separator = "&" if urlsplit(url).query else "?"
        return owner(f"{url}{separator}{urlencode({'user-identifier': identifier})}")

    def fetch_profile(self, base_url: str, token: str) -> bytes:
        """The second post."""
        answer = self._post(base_url, token)
        if answer.status_code == 401:
            raise SignInAgain(challenge_url(answer))
        if answer.status_code != 200 or answer.headers["content-type"] != "application/x-apple-aspen-config":
            raise InstallationFailed(f"no profile but {answer.status_code} {answer.text.strip()[:200]}")
        return answer.content

    def sign_in_to_apple(self, identifier: str) -> None:
        """Where the owner's password goes to Apple; only the account of the profile can sign in."""
        if self.phone.mdm["AssignedManagedAppleID"].casefold() != identifier.casefold():
            raise InstallationFailed("the profile is for another Managed Apple Account")

    def sign_in_again(self, asked: SignInAgain, owner: Owner) -> None:
        """The owner signs in again; the enrollment goes on with a new token."""
        self.phone.token = self.ask_owner(asked.url, self.phone.account, owner)

    def machine_info(self) -> bytes:
        """The body of both posts: MachineInfo, signed by a certificate that stands for the device's built-in one."""
        content = plistlib.dumps(self.phone.model.machine_info(self.language))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Simulated iPhone")])
        return cms.sign(content, self._built_in, self_signed(name, self._built_in))

    def _post(self, base_url: str, token: str = "") -> httpx.Response:
        headers = {"Content-Type": "application/pkcs7-signature", "User-Agent": USER_AGENT}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return self.phone.http.post(base_url, content=self.machine_info(), headers=headers)

    def _get(self, address: str) -> httpx.Response:
        for _ in range(MOST_REDIRECTS):
            answer = self.phone.http.get(address, headers={"User-Agent": USER_AGENT})
            if not answer.is_redirect:
                return answer
            address = urljoin(address, answer.headers["location"])  # as it stands there: the query is not repeated
        raise InstallationFailed("discovery redirects in circles")
