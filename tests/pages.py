"""A browser for tests: follows redirects, keeps cookies, fills forms, and reads pages as a person would."""

from urllib.parse import urlsplit

from bs4 import BeautifulSoup
from flask import Flask
from werkzeug.test import TestResponse

from portal.enrollment.invitations import Invitation
from portal.simulator.employee import SAFARI
from tests.factories import BASE, PASSWORD, totp_code


class Browser:
    """One browser with its cookies."""

    def __init__(self, app: Flask, user_agent: str = SAFARI, language: str = "en") -> None:
        self.client = app.test_client()
        self.headers = {"User-Agent": user_agent, "Accept-Language": language}
        self.response: TestResponse | None = None
        self.path = ""
        self._read: BeautifulSoup | None = None

    # --- going ---------------------------------------------------------------------------------------------

    def get(self, path: str, **kwargs: object) -> "Browser":
        """Open an address and follow redirects."""
        return self._take(self.client.get(path, base_url=BASE, headers=self.headers, follow_redirects=True, **kwargs))

    def post(self, path: str, data: dict[str, str], follow: bool = True) -> "Browser":
        """Send ``data`` as it is."""
        return self._take(
            self.client.post(path, data=data, base_url=BASE, headers=self.headers, follow_redirects=follow)
        )

    def submit(self, action: str = "", **fields: str) -> "Browser":
        """Send the page's form (the one for ``action``) with its hidden fields."""
        return self.post(action or self.path, {**self.hidden(action), **fields})

    def hidden(self, action: str = "") -> dict[str, str]:
        """The hidden fields of a form of the page."""
        for form in self.soup.find_all("form"):
            if (form.get("action") or "") == action:
                return {field["name"]: field.get("value", "") for field in form.select("input[type=hidden]")}
        return {}

    def filled(self, action: str = "", holding: str = "") -> dict[str, str]:
        """Every field of a form (for ``action``, ``holding`` a field) as the page shows it, to be changed and sent."""
        forms = [each for each in self.soup.find_all("form") if (each.get("action") or "") == action]
        form = next(each for each in forms if not holding or each.find(attrs={"name": holding}))
        values: dict[str, str] = {}
        for field in form.select("input[name], textarea[name], select[name]"):
            if field.has_attr("disabled") or field.get("type") == "file":
                continue
            if field.get("type") in ("checkbox", "radio") and not field.has_attr("checked"):
                continue
            if field.name == "select":
                chosen = field.find("option", selected=True) or field.find("option")
                values[field["name"]] = chosen["value"]
            else:
                values[field["name"]] = (
                    field.get("value", "") if field.name == "input" else field.text.removeprefix("\n")
                )
        return values

    def send(self, address: str = "", **fields: str) -> "Browser":
        """Send the page's own form as it is shown, perhaps to another address, as a button with one of its own does."""
        return self.post(address or self.path, {**self.filled(), **fields})

    # --- reading -------------------------------------------------------------------------------------------

    @property
    def status(self) -> int:
        assert self.response is not None
        return self.response.status_code

    @property
    def soup(self) -> BeautifulSoup:
        assert self.response is not None
        if self._read is None:
            self._read = BeautifulSoup(self.response.get_data(as_text=True), "html.parser")
        return self._read

    @property
    def heading(self) -> str:
        """The page's h1."""
        found = self.soup.find("h1")
        return found.get_text(" ", strip=True) if found else ""

    @property
    def text(self) -> str:
        """What a person reads on the page."""
        body = self.soup.find("main")
        return " ".join(body.get_text(" ", strip=True).split()) if body else ""

    def error_of(self, field: str) -> str:
        """The error beside a field."""
        found = self.soup.find(id=f"{field}-error")
        return found.get_text(" ", strip=True) if found else ""

    # --- whole ways ----------------------------------------------------------------------------------------

    def open_link(self, invitation: Invitation) -> "Browser":
        """Tap the link in the mail."""
        return self.get(f"/e/{invitation.token}")

    def sign_in(self, username: str = "erika", password: str = PASSWORD) -> "Browser":
        """Sign in on the page that is open."""
        return self.submit(username=username, password=password)

    def walk_to(self, step: str, invitation: Invitation) -> "Browser":
        """From the link to the page of ``step``."""
        self.open_link(invitation)
        answers = {
            "sign-in": lambda: self.sign_in(invitation.request.person.username),
            "ownership": lambda: self.submit(ownership="employee"),
            "privacy": lambda: self.submit(acknowledge="yes"),
            "passcode": lambda: self.submit(passcode=invitation.passcode),
            "overview": lambda: self.submit(**{"continue": "yes"}),
            "terms": lambda: self.submit(accept="yes"),
        }
        for name, answer in answers.items():
            if name == step:
                break
            assert self.path == f"/enroll/{name}", (self.path, self.text)
            answer()
        assert self.path == f"/enroll/{step}", (self.path, self.text)
        return self

    def download(self) -> bytes:
        """Tap Download; the profile's bytes."""
        response = self.client.get(
            "/enroll/profile.mobileconfig", base_url=BASE, headers=self.headers, follow_redirects=True
        )
        assert response.status_code == 200, response.get_data(as_text=True)
        assert response.content_type == "application/x-apple-aspen-config"
        return response.data

    def staff_sign_in(self, username: str, at: object) -> "Browser":
        """Sign in as staff."""
        self.get("/staff/sign-in")
        return self.submit(username=username, password=PASSWORD, code=totp_code(at))  # type: ignore[arg-type]

    def _take(self, response: TestResponse) -> "Browser":
        self.response, self._read = response, None
        self.path = urlsplit(response.request.url).path
        return self
