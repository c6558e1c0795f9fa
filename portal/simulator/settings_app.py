"""The Settings app of a simulated iPhone: account-driven user enrollment, iOS 15 and later.

Discovery, the two posts, the web view, the Managed Apple Account, the profile; and signing in again when the server
asks for it. Facts: Apple, "Implementing the simple authentication account-driven enrollment flow".
"""

import plistlib
import secrets
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from portal.pki import cms
from portal.simulator.iphone import IPhone, SignInAgain, challenge_of
from portal.simulator.model import MODELS
from portal.simulator.scep_client import InstallationFailed, self_signed

WELL_KNOWN = "/.well-known/com.apple.remotemanagement"
USER_AGENT = "DeviceManagementClient/1.0"
FIRST_IOS = 15
MOST_REDIRECTS = 5

Owner = Callable[[str], str]
"""Signs in at an address. For apple-as-web: walks the web view and returns the access token it ended with. For
apple-oauth2: the address of the device itself that the provider's pages lead back to, with code and state."""


class SettingsApp:
    """Settings > General > VPN & Device Management > Sign In to Work or School Account."""

    def __init__(self, phone: IPhone | None = None, language: str = "en") -> None:
        self.phone = phone or IPhone(model=MODELS[18])
        self.language = language
        self.refresh_token = ""
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

    def sign_in_elsewhere(self, identifier: str, owner: Owner, server: str = "") -> list[str]:
        """The same with a server whose profile is its own affair: up to that profile. Raises InstallationFailed."""
        base_url = self.discover(identifier, server)
        token = self.ask_owner(self.begin(base_url), identifier, owner)
        profile = self.fetch_profile(base_url, token)
        return [
            f"discovered {base_url}",
            "the owner signed in there",
            f"{base_url} gave {len(profile)} bytes of profile",
        ]

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

    def begin(self, base_url: str) -> dict[str, str]:
        """The first post: the challenge that says how the owner has to sign in."""
        answer = self._post(base_url)
        if answer.status_code != 401:
            raise InstallationFailed(f"the server answered {answer.status_code} {answer.text.strip()[:200]}")
        return challenge_of(answer)

    def ask_owner(self, challenge: dict[str, str], identifier: str, owner: Owner) -> str:
        """Have the owner sign in; the access token."""
        if challenge["method"] == "apple-oauth2":
            return self._code_grant(challenge, identifier, owner)
        url = challenge["url"]
        separator = "&" if urlsplit(url).query else "?"
        return owner(f"{url}{separator}{urlencode({'user-identifier': identifier})}")

    def fetch_profile(self, base_url: str, token: str) -> bytes:
        """The second post."""
        answer = self._post(base_url, token)
        if answer.status_code == 401:
            raise SignInAgain(challenge_of(answer))
        if answer.status_code != 200 or answer.headers["content-type"] != "application/x-apple-aspen-config":
            raise InstallationFailed(f"no profile but {answer.status_code} {answer.text.strip()[:200]}")
        return answer.content

    def sign_in_to_apple(self, identifier: str) -> None:
        """Where the owner's password goes to Apple; only the account of the profile can sign in."""
        if self.phone.mdm["AssignedManagedAppleID"].casefold() != identifier.casefold():
            raise InstallationFailed("the profile is for another Managed Apple Account")

    def sign_in_again(self, asked: SignInAgain, owner: Owner) -> None:
        """The owner signs in again, or the token is refreshed without them; the enrollment goes on with a new one."""
        if self.refresh_token and asked.challenge["method"] == "apple-oauth2":
            form = {"grant_type": "refresh_token", "refresh_token": self.refresh_token}
            self.phone.token = self._ask_token(asked.challenge, form)
        else:
            self.phone.token = self.ask_owner(asked.challenge, self.phone.account, owner)

    def _code_grant(self, challenge: dict[str, str], identifier: str, owner: Owner) -> str:
        """OAuth 2.0 as Apple's client does it: a public client, without PKCE."""
        state = secrets.token_urlsafe(16)
        query = {
            "response_type": "code",
            "client_id": challenge["client-id"],
            "redirect_uri": challenge["redirect-url"],
            "scope": challenge["scope"],
            "state": state,
            "login_hint": identifier,
        }
        back = owner(f"{challenge['authorization-url']}?{urlencode(query)}")
        told = parse_qs(urlsplit(back).query)
        if not back.startswith(challenge["redirect-url"]) or told.get("state") != [state]:
            raise InstallationFailed("the provider led elsewhere")
        form = {
            "grant_type": "authorization_code",
            "code": told["code"][0],
            "redirect_uri": challenge["redirect-url"],
        }
        return self._ask_token(challenge, form)

    def _ask_token(self, challenge: dict[str, str], form: dict[str, str]) -> str:
        answer = self.phone.http.post(challenge["token-url"], data={**form, "client_id": challenge["client-id"]})
        if answer.status_code != 200:
            raise InstallationFailed(f"the provider gave no token: {answer.status_code}")
        told = answer.json()
        self.refresh_token = str(told.get("refresh_token", ""))
        return str(told["access_token"])

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
