"""Handing the person over to a device management that enrolls devices by itself, from Safari or the web view."""

from portal.backends.base import BackendDown, Elsewhere, Newcomer
from portal.enrollment import handover, profile
from portal.enrollment.errors import BackendUnavailable, HandoverRefused
from portal.enrollment.journey import Way
from portal.extensions import db_session, transaction
from portal.models import WebSession
from portal.web import web_sessions
from portal.web.employee.steps import case_of


def hand_over(web_session: WebSession, server: Elsewhere, way: Way) -> None:
    """Make sure that ``server`` knows the person; from now on their device may enroll there, this ``way``.

    Raises BackendUnavailable, HandoverRefused (recorded), ProofOver, and what ``profile.account_for`` raises.
    """
    if way not in server.ways():
        raise HandoverRefused("no_way")
    with transaction():
        case = case_of(web_session, locked=True)
        if handover.is_live(case, server.name):
            return  # a second tap
        account, person = profile.account_for(case), case.request.person
        newcomer = Newcomer(person.username, person.name, person.email, account)
    db_session.rollback()  # hold nothing while waiting for the network
    try:
        there_before = server.prepare(newcomer)
    except BackendDown:
        raise BackendUnavailable from None
    except HandoverRefused as refusal:
        with transaction():
            handover.refused(case_of(web_session, locked=True), refusal.reason)
        raise
    with transaction() as writing:
        web_sessions.must_live(web_session.id, writing)  # signed out while the network was slow
        handover.begin(case_of(web_session, locked=True), server.name, way, server.minutes, there_before)
