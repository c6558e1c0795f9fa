"""What the worker looks for among devices every minute: whom the company let go, what was held, who went quiet."""

from datetime import timedelta

from sqlalchemy import func, select

from portal.enrollment import commands, ending, management
from portal.enrollment.case import Case
from portal.events import Actor
from portal.models import Command, Device, EnrollmentRequest, Person
from portal.storage import brake
from portal.storage.cases import Cases

BATCH_SIZE = 100
MOST_QUIET = 50


def of_disabled_people(cases: Cases) -> int:
    """Devices of people who may not work here any more are asked to leave; how many."""
    disabled = select(Person.id).where(Person.disabled_at.is_not(None))
    of_the_disabled = select(EnrollmentRequest.id).where(EnrollmentRequest.person_id.in_(disabled))
    query = (
        select(Device.id)
        .where(
            Device.request_id.in_(of_the_disabled),
            Device.is_managed,
            Device.leaving_reason.is_(None),
        )
        .order_by(Device.request_id)
        .limit(BATCH_SIZE)
    )

    def ask(case: Case) -> bool:
        device = case.device
        free = device is not None and device.ended_at is None and device.leaving_reason is None
        return free and ending.ask(case, ending.Reason.DISABLED, Actor.SYSTEM)

    return sum(cases.each(cases.of_devices(query), ask))


def of_enabled_people(cases: Cases) -> int:
    """Devices that were to leave because of their person, who is enabled again meanwhile; how many stay."""
    return brake.spare_enabled(cases.session, cases.now)


def go_on(cases: Cases) -> int:
    """What the brake held and two admins released; how many devices were asked."""
    if brake.held(cases.session) is not None:
        return 0
    query = select(Device.id).where(Device.is_held).order_by(Device.request_id).limit(BATCH_SIZE)

    def ask(case: Case) -> bool:
        if case.device is None or not case.device.is_held:
            return False
        ending.order_removal(case, ending.Reason.CANCELLED, brake.RELEASED)
        return True

    return sum(cases.each(cases.of_devices(query), ask))


def refresh_quiet(cases: Cases) -> int:
    """Ask devices that were not heard of for a while how they are; how many were asked.

    Who answers is seen; whose answers got lost on the way is found; and of who left without a word, silence tells.
    """
    quiet = cases.now - timedelta(hours=cases.services.settings.mdm.refresh_hours)
    theirs = Command.device_id == Device.id
    lately = select(Command.id).where(theirs, Command.created_at > quiet).exists()
    # Where every question waits there is none to ask; phones in drawers were always the first in line.
    kinds = {each.request_type for each in commands.READ}
    waiting = theirs & Command.status.in_(commands.OPEN) & Command.app_id.is_(None) & Command.request_type.in_(kinds)
    questions = select(func.count(Command.request_type.distinct())).where(waiting).scalar_subquery()
    query = (
        select(Device.id)
        .where(Device.is_managed_here, Device.last_seen_at <= quiet)  # another server asks its devices by itself
        .where(~lately, questions < len(kinds))
        .order_by(Device.last_seen_at)
        .limit(MOST_QUIET)
    )

    def ask(case: Case) -> bool:
        if case.device is None or case.device.ended_at is not None:
            return False
        management.ask_how_it_is(case)
        return True

    return sum(cases.each(cases.of_devices(query), ask))
