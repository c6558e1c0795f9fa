"""The device check: which page a browser gets that cannot go on, and how one that can will enroll."""

from collections.abc import Collection

from flask import g, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from portal import discovery
from portal.enrollment.eligibility import Browser, Verdict, judge, may_be_ipad, ways_of
from portal.enrollment.journey import Way
from portal.extensions import current_portal, db_session
from portal.models import EnrollmentRequest
from portal.notifications.messages import qr_svg
from portal.versions import version_key
from portal.web import web_sessions
from portal.web.rules import WEB_VIEW

SAFARI, SETTINGS = "safari", "settings"
"""What a browser is called that may go on: Safari with its version, or Settings, whose web view has none."""
IPAD = "ipad"
"""What ``device`` says in an address when a script or the owner tells that this is one."""


def browser_here() -> Browser:
    """What this browser is, with what it or its owner told."""
    if request.args.get("device") == IPAD:
        session[web_sessions.IPAD] = True
    oldest = version_key(current_portal.settings.enrollment.minimum_ios)
    return judge(request.headers.get("User-Agent", ""), is_ipad=bool(session.get(web_sessions.IPAD)), oldest=oldest)


def browser_in_words() -> str:
    """This browser for helpdesk: ``safari 17.4``, ``settings``, or what the device check calls it."""
    if web_sessions.area() == WEB_VIEW:
        return SETTINGS
    browser = browser_here()
    name = SAFARI if browser.verdict in (Verdict.OK, Verdict.IOS_TOO_OLD) else browser.verdict.value
    return f"{name} {browser.version[0]}.{browser.version[1]}" if browser.version else name


def refuse_unfit_browser() -> ResponseReturnValue | None:
    """None if this browser may go on, else the page that says why not and what to do.

    In the demo every browser may go on; pages then say so.
    """
    browser = browser_here()
    if browser.verdict is Verdict.OK:
        return None
    if current_portal.settings.demo:
        g.demo_browser = browser
        return None
    here = request.path if request.endpoint == "safari.enter" else url_for("safari.enroll")
    address = current_portal.settings.url(here)
    return render_template(
        "employee/browser.html",
        browser=browser,
        minimum_ios=current_portal.settings.enrollment.minimum_ios,
        address=address,
        qr=qr_svg(address) if browser.verdict is Verdict.COMPUTER else None,
        report=f"{here}/browser" if request.endpoint == "safari.enter" else None,
        ipad_address=f"{here}?device={IPAD}" if may_be_ipad(request.headers.get("User-Agent", "")) else None,
    )


def way_here(walked: EnrollmentRequest) -> Way:
    """How the device of this browser will enroll."""
    if web_sessions.area() == WEB_VIEW:
        return Way.ACCOUNT
    browser = browser_here()
    return _way(browser.ways, walked) if browser.verdict is Verdict.OK else Way.PROFILE  # that only in the demo


def way_seen(walked: EnrollmentRequest) -> Way:
    """The same for the browser that the employee used last (``browser_in_words``), or for any if there was none yet."""
    name, _, version = (walked.browser or "").partition(" ")
    if name == SETTINGS:
        return Way.ACCOUNT
    major = version.partition(".")[0]
    if name == SAFARI:
        return _way(ways_of(int(major) if major.isdigit() else None), walked)
    return _way(tuple(Way), walked)


def _way(ways: Collection[Way], walked: EnrollmentRequest) -> Way:
    """Of those that a device has the only one, else as the settings prefer.

    ``auto`` means from Settings if the domain of the person's account was seen to lead here, else with a profile.
    """
    server = current_portal.backend.elsewhere
    left = [way for way in ways if way in server.ways()] if server is not None else list(ways)
    if len(left) == 1:
        return left[0]
    if server is not None:  # from Settings wherever that is possible
        return Way.ACCOUNT if Way.ACCOUNT in ways else Way.PROFILE
    prefer = current_portal.settings.account_driven.prefer
    if prefer != "auto":
        return Way(prefer)
    return Way.ACCOUNT if discovery.is_verified(db_session, walked.managed_apple_account) else Way.PROFILE
