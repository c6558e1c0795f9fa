"""The owner of a simulated iPhone: walks the journey's pages over HTTP as Safari would, without JavaScript."""

from collections.abc import Callable
from html.parser import HTMLParser
from urllib.parse import urlsplit

import httpx

SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.6 Mobile/15E148 Safari/604.1"
)
TIMEOUT_SECONDS = 20.0


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

    def __init__(self, server: str, tell: Callable[[str], None] = lambda line: None) -> None:
        self.tell = tell
        self.http = httpx.Client(
            base_url=server,
            headers={"User-Agent": SAFARI, "Accept-Language": "en"},
            follow_redirects=True,
            timeout=TIMEOUT_SECONDS,
        )
        self.page = ""
        self.heading = ""
        self._hidden: dict[str, str] = {}

    def open(self, url: str) -> None:
        """Open an address: a link from the mail, or a path."""
        self._see(self.http.get(url))

    def answer(self, **fields: str) -> None:
        """Send the page's form."""
        self._see(self.http.post(self.page, data={**self._hidden, **fields}))

    def walk(self, url: str, username: str, password: str, passcode: Callable[[], str]) -> bytes:
        """From the link to the downloaded profile; returns its bytes. Raises Stuck."""
        self.open(url)
        answers: dict[str, Callable[[], dict[str, str]]] = {
            "/enroll/sign-in": lambda: {"username": username, "password": password},
            "/enroll/ownership": lambda: {"ownership": "employee"},
            "/enroll/privacy": lambda: {"acknowledge": "yes"},
            "/enroll/passcode": lambda: {"passcode": passcode()},
            "/enroll/overview": lambda: {"continue": "yes"},
            "/enroll/terms": lambda: {"accept": "yes"},
        }
        for page, fields in answers.items():
            if self.page != page:
                raise Stuck(f"expected {page}, got {self.page}: {self.heading}")
            self.answer(**fields())
        return self.download()

    def download(self) -> bytes:
        """Tap the download button."""
        answer = self.http.get("/enroll/profile.mobileconfig")
        if answer.headers.get("content-type") != "application/x-apple-aspen-config":
            raise Stuck(f"no profile but {answer.status_code} {answer.url.path}")
        self.tell("profile.mobileconfig: downloaded")
        return answer.content

    def _see(self, answer: httpx.Response) -> None:
        parsed = _Form()
        parsed.feed(answer.text)
        self.page, self.heading = urlsplit(str(answer.url)).path, parsed.heading
        self._hidden = {}
        for action, fields in parsed.forms:
            if not action or action == self.page:
                self._hidden = fields
                break
        self.tell(f"{self.page}: {self.heading}")
        if answer.status_code >= 400:
            raise Stuck(f"{self.page} answered {answer.status_code}: {self.heading}")
