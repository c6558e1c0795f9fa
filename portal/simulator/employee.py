"""The owner of a simulated iPhone: walks the journey's pages over HTTP, as Safari or as the web view of Settings would.

Without JavaScript.
"""

from collections.abc import Callable
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.6 Mobile/15E148 Safari/604.1"
)
DEVICE_SCHEME = "apple-remotemanagement-user-login"
TIMEOUT_SECONDS = 20.0
MOST_REDIRECTS = 10


class Stuck(Exception):
    """The journey did not lead where it should."""


class _Form(HTMLParser):
    """Finds a page's first heading and the fields of each form."""

    def __init__(self) -> None:
        super().__init__()
        self.heading = ""
        self.forms: list[tuple[str, dict[str, str]]] = []
        self._in_heading = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag == "h1":
            self._in_heading = True
        elif tag == "form":
            self.forms.append((values.get("action", ""), {}))
        elif tag == "input" and values.get("type") == "hidden" and self.forms:
            self.forms[-1][1][values.get("name", "")] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "h1":
            self._in_heading = False

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.heading += data.strip()


class Employee:
    """One person with one browser. ``tell`` gets a line for each page."""

    def __init__(self, server: str, tell: Callable[[str], None] = lambda line: None, user_agent: str = SAFARI) -> None:
        self.tell = tell
        self.http = httpx.Client(
            base_url=server,
            headers={"User-Agent": user_agent, "Accept-Language": "en"},
            timeout=TIMEOUT_SECONDS,
        )
        self.page = ""
        self.heading = ""
        self.text = ""
        self.token: str | None = None
        self._hidden: dict[str, str] = {}

    def open(self, url: str) -> None:
        """Open an address: a link from the mail, or a path."""
        self._see(self._follow(self.http.get(url)))

    def answer(self, **fields: str) -> None:
        """Send the page's form."""
        self._see(self._follow(self.http.post(self.page, data={**self._hidden, **fields})))

    def walk(self, url: str, username: str, password: str, passcode: Callable[[], str]) -> bytes:
        """From the link to the downloaded profile; returns its bytes. Raises Stuck."""
        self.walk_to_the_end(url, username, password, passcode)
        return self.download()

    def walk_to_the_end(self, url: str, username: str, password: str, passcode: Callable[[], str]) -> None:
        """From the link through every question, up to the page of the profile or of Settings. Raises Stuck."""
        self.open(url)
        self._answer_everything(username, password, passcode)
        if self.page != "/enroll/profile":
            raise Stuck(f"expected the profile's page, got {self.page}: {self.heading}")

    def walk_web_view(self, url: str, username: str, password: str, passcode: Callable[[], str]) -> str:
        """The web view of Settings, through whatever is still asked, to its access token. Raises Stuck."""
        self.open(url)
        self._answer_everything(username, password, passcode)
        if self.token is None:
            raise Stuck(f"no access token but {self.page}: {self.heading}")
        return self.token

    def hand_over(self) -> None:
        """Tap the button that hands over to a device management which enrolls devices by itself. Raises Stuck."""
        self._see(self._follow(self.http.post("/enroll/hand-over", data={**self._hidden, "continue": "yes"})))

    def download(self) -> bytes:
        """Tap the download button."""
        answer = self._follow(self.http.get("/enroll/profile.mobileconfig"))
        if answer.headers.get("content-type") != "application/x-apple-aspen-config":
            raise Stuck(f"no profile but {answer.status_code} {answer.url.path}")
        self.tell("profile.mobileconfig: downloaded")
        return answer.content

    def _answer_everything(self, username: str, password: str, passcode: Callable[[], str]) -> None:
        answers: dict[str, Callable[[], dict[str, str]]] = {
            "sign-in": lambda: {"username": username, "password": password},
            "ownership": lambda: {"ownership": "employee"},
            "privacy": lambda: {"acknowledge": "yes"},
            "passcode": lambda: {"passcode": passcode()},
            "overview": lambda: {"continue": "yes"},
            "terms": lambda: {"accept": "yes"},
        }
        seen: list[str] = []
        while self.token is None and (step := self.page.rpartition("/")[2]) in answers:
            if step in seen:
                raise Stuck(f"{self.page} asked twice: {self.heading}")
            seen.append(step)
            self.answer(**answers[step]())

    def _follow(self, answer: httpx.Response) -> httpx.Response:
        for _ in range(MOST_REDIRECTS):
            if not answer.is_redirect:
                return answer
            address = urljoin(str(answer.url), answer.headers["location"])
            parts = urlsplit(address)
            if parts.scheme == DEVICE_SCHEME:
                if answer.status_code != 308 or parts.netloc != "authentication-results":
                    raise Stuck(f"the device does not understand {answer.status_code} {parts.netloc}")
                self.token = parse_qs(parts.query)["access-token"][0]
                return answer
            answer = self.http.get(address)
        raise Stuck("too many redirects")

    def _see(self, answer: httpx.Response) -> None:
        if self.token is not None:
            return
        parsed = _Form()
        parsed.feed(answer.text)
        self.page, self.heading, self.text = urlsplit(str(answer.url)).path, parsed.heading, answer.text
        self._hidden = {}
        for action, fields in parsed.forms:
            if not action or action in (self.page, "/enroll/hand-over"):
                self._hidden = fields
                break
        self.tell(f"{self.page}: {self.heading}")
        if answer.status_code >= 400:
            raise Stuck(f"{self.page} answered {answer.status_code}: {self.heading}")
