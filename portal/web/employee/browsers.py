"""The device check: which page a browser gets that cannot install a profile."""

from flask import g, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.enrollment.eligibility import Verdict, judge
from portal.extensions import portal
from portal.notifications.messages import qr_svg


def refuse_unfit_browser() -> ResponseReturnValue | None:
    """None if this browser may go on, else the page that says why not and what to do.

    In the demo every browser may go on; pages then say so.
    """
    browser = judge(request.headers.get("User-Agent", ""))
    if browser.verdict is Verdict.OK:
        return None
    if portal.settings.demo:
        g.demo_browser = browser
        return None
    here = request.path if request.endpoint == "safari.enter" else url_for("safari.enroll")
    address = portal.settings.url(here)
    qr = qr_svg(address) if browser.verdict is Verdict.COMPUTER else None
    return render_template("employee/browser.html", browser=browser, address=address, qr=qr)
