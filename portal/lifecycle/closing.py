"""When somebody may not work here any more, or wants to be forgotten."""

from sqlalchemy import ColumnExpressionArgument, func, select, update

from portal import audit, people
from portal.enrollment import ending
from portal.events import Event
from portal.models import Campaign, CampaignEntry, EnrollmentRequest, Person
from portal.people import PEOPLE_CHAIN, DevicesManaged, erasure
from portal.storage.cases import Cases


def disable(cases: Cases, person: Person, actor: str) -> None:
    """Stop the person from signing in and end every session. Raises LastAdmin.

    Devices that are managed keep their tokens: the worker has them remove the work side (``rounds``). Those on their
    way to being managed get no further.
    """
    people.lock(cases.session, person)
    people.keep_an_admin(cases.session, person)
    # Locked before their sessions, as at a step.
    for request_id in _requests(cases, person, EnrollmentRequest.is_unfinished):
        cases.lock(request_id).retire_profile(ending.Reason.DISABLED)
    person.disabled_at = person.disabled_at or cases.now
    people.end_sign_ins(cases.session, person)
    detail = {"person": person.id}
    audit.record(cases.session, audit.SETTINGS, Event.PERSON_DISABLED, cases.now, actor=actor, detail=detail)


def erase(cases: Cases, person: Person, actor: str) -> None:
    """Remove what is personal; requests, times and the audit chains stay. Raises LastAdmin, DevicesManaged.

    Its devices have to be free of work data before: their enrollment would end here, all at once and unseen.
    """
    session, now = cases.session, cases.now
    people.lock(session, person)
    people.keep_an_admin(session, person)
    if cases.managed_devices(person):
        raise DevicesManaged
    for request_id in _requests(cases, person):
        ending.end(cases.lock(request_id), ending.Reason.ERASED)
    audit.erase_details_of(session, PEOPLE_CHAIN, person.id)
    called = (person.username, person.email.casefold(), person.managed_apple_account)  # as a list may call somebody
    listed = func.lower(CampaignEntry.username).in_([each for each in called if each])
    session.execute(update(CampaignEntry).where(listed).values(username=""))
    session.execute(update(Campaign).where(Campaign.created_by.endswith(f":{person.id}")).values(asked_by=""))
    person.username = f"erased-{person.id}"
    person.disabled_at = person.disabled_at or now
    person.erased_at = now
    erasure.of_person(session, person.id)
    audit.record(session, audit.SETTINGS, Event.PERSON_ERASED, now, actor=actor)


def _requests(cases: Cases, person: Person, *which: ColumnExpressionArgument[bool]) -> list[str]:
    query = select(EnrollmentRequest.id).where(EnrollmentRequest.person_id == person.id, *which)
    return list(cases.session.scalars(query.order_by(EnrollmentRequest.id)))
