"""Two browser engines behind one small class: Chromium as an iPhone would show it, and WebKit, which employees use."""

import atexit
import contextlib
import glob
import os
import re
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Error, sync_playwright
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.webkitgtk.options import Options
from selenium.webdriver.webkitgtk.service import Service

from portal.simulator.employee import SAFARI
from tests import databases

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
WEBKIT_DRIVER = shutil.which("WebKitWebDriver")
MINI_BROWSER = next(iter(glob.glob("/usr/lib/*/webkit2gtk-4.*/MiniBrowser")), None)
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
]
AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
AXE_RULES = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}"
PHONE, SMALL_PHONE, DESK = (390, 844), (320, 568), (1280, 860)
CHECKED = {(PHONE, "light"), (SMALL_PHONE, "dark"), (DESK, "dark")}
"""Each size and each colour scheme is checked once; the other two pictures are only made."""
PATIENCE_SECONDS = 15.0
UNSEEN = bool(os.environ.get("PORTAL_TESTS_MUST_RUN"))
"""Nobody will look at the pictures."""
_running: list[Browser] = []
OUTPUT = Path(__file__).resolve().parent.parent / "output" / "screenshots"


UNAPPLIED = """
const links = [...document.querySelectorAll('link[rel=stylesheet]')];
const sheets = links.filter(link => !link.sheet).map(link => link.href);
const sources = [...document.scripts].map(script => script.src);
const scripts = sources.filter(source => !performance.getEntriesByName(source).length);
const forbidden = '[style]:not([style=""]), style, script:not([src])';
const inline = [...document.querySelectorAll(forbidden)].map(each => each.outerHTML);
return [...sheets, ...scripts, ...inline];
"""


class Engine(ABC):
    """One browser."""

    name = ""

    @abstractmethod
    def open(self, url: str) -> None: ...

    @abstractmethod
    def path(self) -> str: ...

    @abstractmethod
    def heading(self) -> str: ...

    @abstractmethod
    def fill(self, field: str, value: str) -> None: ...

    @abstractmethod
    def tap(self, selector: str) -> None: ...

    @abstractmethod
    def run(self, script: str) -> Any: ...

    @abstractmethod
    def picture(self, name: str) -> None: ...

    @abstractmethod
    def ending_with(self, action: Callable[[], None], scheme: str) -> str:
        """The address of the device itself that ``action`` leads to; no browser opens it."""

    def wait_for_heading(self, heading: str) -> None:
        """Until the page says ``heading``."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(Exception):  # the page may be changing right now
                if self.heading() == heading:
                    return
            time.sleep(0.1)
        raise AssertionError(f"expected {heading!r}, got {self.heading()!r} at {self.path()}")

    def check_page(self, accessible: bool = True) -> None:
        """No axe-core violation on this page, nothing wider than the screen, nothing that the CSP would stop."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.run("return document.readyState === 'complete'"):
            assert time.monotonic() < deadline, f"{self.path()} is still loading"
            time.sleep(0.02)
        unapplied = self.run(UNAPPLIED)
        assert not unapplied, f"{self.path()}: {unapplied}"
        if accessible:
            violations = self.run(f"return axe.run(document, {AXE_RULES}).then(r => r.violations)")
            found = [f"{v['id']}: {v['help']} {[n['html'][:120] for n in v['nodes']]}" for v in violations]
            assert not found, f"{self.path()}: {found}"
        self.check_width()

    def check_width(self) -> None:
        """Nothing is wider than the screen."""
        wide = self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{self.path()} is {wide} px too wide"


class Chromium(Engine):
    """Debian's Chromium, driven by Playwright, as an iPhone; pictures in light and dark, small and large.

    ``problems`` collects what its console complains of.
    """

    name = "chromium"

    def __init__(self, page: Any) -> None:
        self.page = page
        self.problems = []
        page.on("console", self._complain)
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    def _complain(self, message: Any) -> None:
        # Chromium also logs the status of a page that is shown again because of a wrong entry.
        if message.type == "error" and "status of 422" not in message.text:
            self.problems.append(message.text)

    def open(self, url: str) -> None:
        try:
            self.page.goto(url)
        except Error as aborted:
            if "ERR_ABORTED" not in str(aborted):
                raise
            self.page.goto(url)  # the page before went on by itself at that moment

    def path(self) -> str:
        return re.sub(r"^https?://[^/]+", "", self.page.url)

    def heading(self) -> str:
        return self.page.locator("h1").first.inner_text()

    def fill(self, field: str, value: str) -> None:
        self.page.fill(f"[name={field}]", value)

    def tap(self, selector: str) -> None:
        self.page.click(selector)

    def run(self, script: str) -> Any:
        if "axe." in script and not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(AXE)
        return self.page.evaluate(f"() => {{ {script} }}")

    def picture(self, name: str, desk: bool = False) -> None:
        """The page in light and dark, on two phones; staff's pages (``desk``) on a phone and on a desk.

        CI, where nobody looks, only checks; and on PostgreSQL, where pages are the same, just that they are whole.
        """
        if databases.SERVER:
            self.check_page(accessible=False)
            return
        OUTPUT.mkdir(parents=True, exist_ok=True)
        for size, label in ((PHONE, ""), (DESK, "-desk") if desk else (SMALL_PHONE, "-320")):
            self.page.set_viewport_size({"width": size[0], "height": size[1]})
            for scheme in ("light", "dark"):
                if UNSEEN and (size, scheme) not in CHECKED:
                    continue
                self.page.emulate_media(color_scheme=scheme)
                if not UNSEEN:
                    self.page.screenshot(path=str(OUTPUT / f"{name}{label}-{scheme}.png"), full_page=True)
                if (size, scheme) in CHECKED:
                    self.check_page()
        self.page.set_viewport_size({"width": SMALL_PHONE[0], "height": SMALL_PHONE[1]})
        self.check_width()
        self.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        self.page.emulate_media(color_scheme="light")

    def ending_with(self, action: Callable[[], None], scheme: str) -> str:
        with self.page.expect_response(lambda answer: answer.status == 308) as ended:
            action()
        return str(ended.value.headers["location"])


class WebKit(Engine):
    """Debian's WebKitGTK in its MiniBrowser, driven by Selenium under Xvfb.

    Its driver gives no access to the console, so that scripts work is seen from what they do.
    """

    def __init__(self, driver: Any, scheme: str) -> None:
        self.name = f"webkit-{scheme}"
        self.driver = driver
        self.scheme = scheme

    def open(self, url: str) -> None:
        self.driver.get(url)

    def path(self) -> str:
        return re.sub(r"^https?://[^/]+", "", self.driver.current_url)

    def heading(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "h1").text

    def fill(self, field: str, value: str) -> None:
        element = self.driver.find_element(By.NAME, field)
        element.clear()
        element.send_keys(value)

    def tap(self, selector: str) -> None:
        element = self.driver.find_element(By.CSS_SELECTOR, selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def run(self, script: str) -> Any:
        if "axe." in script:
            self.driver.execute_script(AXE)
            script = script.replace("return ", "const done = arguments[arguments.length - 1]; ", 1) + ".then(done)"
            return self.driver.execute_async_script(script)
        return self.driver.execute_script(script)

    def picture(self, name: str) -> None:
        OUTPUT.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(OUTPUT / f"{name}-webkit-{self.scheme}.png"))
        self.check_page()

    def ending_with(self, action: Callable[[], None], scheme: str) -> str:
        action()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if self.driver.current_url.startswith(scheme):
                return str(self.driver.current_url)
            time.sleep(0.1)
        raise AssertionError(f"still at {self.driver.current_url}")


@contextlib.contextmanager
def chromium(
    user_agent: str = SAFARI, locale: str = "en-GB", trust_anything: bool = False, touch: bool = True
) -> Iterator[Chromium]:
    """A Chromium that shows pages like an iPhone, with cookies and storage of its own."""
    context = _launched().new_context(
        user_agent=user_agent,
        viewport={"width": PHONE[0], "height": PHONE[1]},
        device_scale_factor=2,
        is_mobile=True,
        has_touch=touch,
        locale=locale,
        ignore_https_errors=trust_anything,
    )
    try:
        yield Chromium(context.new_page())
    finally:
        context.close()


def _launched() -> Browser:
    """This process's Chromium: starting one takes longer than most of what is asked of it."""
    if not _running:
        playwright = sync_playwright().start()
        atexit.register(playwright.stop)
        _running.append(playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS))
    if not _running[0].is_connected():
        _running[0] = _running[0].browser_type.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
    return _running[0]


@contextlib.contextmanager
def webkit(scheme: str) -> Iterator[WebKit]:
    """A WebKitGTK MiniBrowser on the X display at hand, light or dark."""
    options = Options()
    options.binary_location = MINI_BROWSER
    for argument in ("--automation", f"--user-agent={SAFARI}"):
        options.add_argument(argument)
    environment = {**os.environ, "GTK_THEME": "Adwaita:dark" if scheme == "dark" else "Adwaita"}
    service = Service(WEBKIT_DRIVER, env=environment)
    driver = webdriver.WebKitGTK(options=options, service=service)
    try:
        driver.set_window_size(*PHONE)
        yield WebKit(driver, scheme)
    finally:
        driver.quit()
