"""Inviting many from a list: checked by line, invited at a pace, paused, reminded; nobody is lost or invited twice."""

import csv
import io
import threading
from email import message_from_bytes
from email.policy import default

import pytest
from sqlalchemy import func, select

from portal import jobs, people
from portal.enrollment import invitations
from portal.lifecycle import closing
from portal.models import Campaign, CampaignEntry, EnrollmentRequest, OutboxMessage, Person
from portal.people import lists
from portal.people.lists import ListRefused
from portal.storage import campaigns
from portal.storage.cases import Cases
from tests.factories import BASE
from tests.pages import Browser


@pytest.fixture
def staff(app, company, clock):
    company.person("hilda", role="helpdesk", name="Hilda Help")
    return Browser(app).staff_sign_in("hilda", clock())


def upload(staff, text, name="Spring"):
    content = text if isinstance(text, bytes) else text.encode()
    staff.get("/helpdesk/campaigns")
    return staff.post("/helpdesk/campaigns", staff.filled() | {"name": name, "file": (io.BytesIO(content), "list.csv")})


def start(staff, **values):
    fields = {"message": "", "starts_at": "", "per_minute": "60", "remind_after_days": "0"} | values
    path = staff.path.removesuffix("/start") + "/start"
    return staff.post(path, staff.hidden(path) | fields)


def press(staff, what):
    path = staff.path + f"/{what}"
    return staff.submit(path)


def minute(portal):
    """One minute of the worker."""
    jobs.Worker(portal.live.base).every_minute()


def invited(session):
    session.rollback()
    return sorted(
        each.person.username
        for each in session.scalars(select(EnrollmentRequest).where(EnrollmentRequest.source == "import"))
    )


def numbers(staff):
    """lines, with a problem, waiting, invited, started, enrolled"""
    return [int(each.get_text()) for each in staff.get(staff.path).soup.select(".numbers dd")]


# --- the file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"username\nanna\nberta\n",
        b"\xef\xbb\xbfUsername;Name\r\nanna;A\r\n\r\nberta;B\r\n",
        "name\tUSERNAME\nA\tanna\nB\tberta\n".encode("utf-16"),
        b'username\n"anna"\n"ber""ta"\n'.replace(b'ber""ta', b"berta"),
    ],
    ids=["plain", "excel", "utf-16", "quoted"],
)
def test_lists_are_read_as_spreadsheets_write_them(content):
    assert [name for _, name in lists.usernames(content)] == ["anna", "berta"]


@pytest.mark.parametrize(
    ("content", "code", "detail"),
    [
        (b"username\nanna\nm\xfcller\n", "encoding", "3"),
        (b"name\nanna\n", "column", "name"),
        (b"", "column", ""),
        (b"username\n\n\n", "empty", ""),
        (b"username\n\0\0\n", "binary", ""),
        (b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00\x9f", "encoding", "1"),
        (b"username\n" + b"x" * lists.LARGEST_BYTES, "large", ""),
        (b"username\n" + b"x\n" * 50_001, "lines", ""),
        (b"username\n" + b'"' + b"x" * 200_000 + b'"\n', "binary", "2"),
    ],
    ids=["latin-1", "column", "nothing", "empty", "nul", "xlsx", "large", "lines", "one huge field"],
)
def test_a_file_that_is_no_list_is_refused_with_its_place(content, code, detail):
    with pytest.raises(ListRefused) as refused:
        lists.usernames(content)
    assert (refused.value.code, refused.value.detail) == (code, detail)


def test_a_huge_upload_is_refused_before_it_is_read(staff):
    upload(staff, b"username\n" + b"x" * 9_000_000)
    assert staff.status == 413


def test_a_refused_file_is_explained_and_the_name_kept(staff):
    upload(staff, "nmae\nanna\n")
    assert staff.status == 422
    assert "The first line has no column username. It has: nmae" in staff.text
    assert staff.soup.find(id="name")["value"] == "Spring"
    staff.get("/helpdesk/campaigns")
    staff.post("/helpdesk/campaigns", staff.filled())
    assert "Choose a file first." in staff.text


# --- the dry run ---------------------------------------------------------------------------------------------------


def test_every_problem_is_told_by_its_line_and_nobody_is_invited(app, staff, company, portal, session):
    for name in ("anna", "berta", "open"):
        company.person(name)
    company.person("noaccount", managed_apple_account=None)
    company.invite(company.person("invited"))
    with portal.database.transaction() as writing:
        person = people.by_username(writing, "open")
        closing.disable(Cases(writing, portal), person, "command")
    upload(staff, "username\nanna\nBERTA\nanna\nnobody\nopen\nnoaccount\ninvited\n=cmd\n@x\n")
    problems = {row[0].text: row[2].text for row in (tr.find_all("td") for tr in staff.soup.select("tbody tr"))}
    assert problems == {
        "4": "is already on the list",
        "5": "nobody is known by that username",
        "6": "is disabled",
        "7": "no Managed Apple Account",
        "8": "is invited already",
        "9": "cannot be a username",
        "10": "cannot be a username",
    }
    assert numbers(staff) == [9, 7, 2, 0, 0, 0]
    minute(portal)
    assert invited(session) == []
    answer = staff.client.get(f"{staff.path}/problems.csv", base_url=BASE, headers=staff.headers)
    table = list(csv.reader(io.StringIO(answer.get_data(as_text=True).removeprefix("\ufeff"))))
    assert table[6] == ["9", "'=cmd", "not_a_username"]


def test_fifty_thousand_lines_are_checked(staff, company):
    company.person("anna")
    upload(staff, "username\n" + "".join(f"person{number}\n" for number in range(49_999)) + "anna\n")
    assert numbers(staff) == [50_000, 49_999, 1, 0, 0, 0]
    assert len(staff.soup.select("tbody tr")) == 50
    assert len(staff.response.data) < 100_000


def test_a_sample_file_is_offered_and_accepted(staff):
    staff.get("/helpdesk/campaigns")
    sample = staff.client.get(staff.soup.find("a", string="A sample file")["href"], base_url=BASE).data
    assert len(lists.usernames(sample)) == 2


# --- inviting ------------------------------------------------------------------------------------------------------


@pytest.fixture
def five(company):
    return [company.person(name) for name in ("anna", "berta", "cora", "dora", "emma")]


def test_people_are_invited_at_the_pace_with_the_message(staff, five, portal, session, clock):
    upload(staff, "username\n" + "".join(f"{each.username}\n" for each in five))
    start(staff, message="Dear colleagues,\n\nplease do it this week.", per_minute="2")
    assert "It is on its way." in staff.text
    minute(portal)
    assert invited(session) == ["anna", "berta"]
    minute(portal)
    minute(portal)
    assert len(invited(session)) == 5
    minute(portal)
    assert "Done" in staff.get(staff.path).text
    assert numbers(staff) == [5, 0, 0, 5, 0, 0]
    mails = [
        message_from_bytes(path.read_bytes(), policy=default)
        for path in (portal.settings.data / "outbox").glob("*.eml")
    ]
    assert sorted(mail["To"] for mail in mails) == sorted(each.email for each in five)
    for kind in ("plain", "html"):
        assert "please do it this week." in mails[0].get_body((kind,)).get_content()
        assert "invites you" in mails[0].get_body((kind,)).get_content()


def test_it_begins_at_its_time_is_paused_goes_on_and_is_cancelled(staff, five, portal, session, clock):
    upload(staff, "username\n" + "".join(f"{each.username}\n" for each in five))
    start(staff, starts_at="2026-03-02T10:00", per_minute="1")
    minute(portal)
    assert invited(session) == []
    clock.forward(hours=1)
    staff.staff_sign_in("hilda", clock())
    [campaign] = session.scalars(select(CampaignEntry.campaign_id).distinct())
    staff.get(f"/helpdesk/campaigns/{campaign}")
    minute(portal)
    press(staff, "pause")
    assert "Paused. Invitations that were sent keep working." in staff.text
    minute(portal)
    assert invited(session) == ["anna"]
    press(staff, "resume")
    minute(portal)
    press(staff, "cancel")
    minute(portal)
    assert invited(session) == ["anna", "berta"]
    token = staff.soup.find("input", attrs={"name": "csrf_token"})["value"]
    staff.post(staff.path + "/resume", {"csrf_token": token})
    assert "Somebody else changed this list meanwhile; nothing was done." in staff.text


def test_the_funnel_counts_its_own_people(app, staff, five, company, portal, session):
    upload(staff, "username\nanna\nberta\n")
    start(staff)
    minute(portal)
    request = session.scalar(select(EnrollmentRequest).join(Person).where(Person.username == "anna"))
    with portal.database.transaction() as writing:
        token = invitations.add_link(Cases(writing, portal).lock(request.id), "mail")
    Browser(app).get(f"/e/{token}").sign_in("anna")
    company.invite(five[4])
    assert numbers(staff) == [2, 0, 0, 2, 1, 0]


def test_whoever_did_nothing_is_reminded_once_and_the_others_never(app, staff, five, portal, session, clock):
    upload(staff, "username\nanna\nberta\n")
    start(staff, remind_after_days="3")
    minute(portal)
    request = session.scalar(select(EnrollmentRequest).join(Person).where(Person.username == "anna"))
    with portal.database.transaction() as writing:
        token = invitations.add_link(Cases(writing, portal).lock(request.id), "mail")
    Browser(app).get(f"/e/{token}").sign_in("anna")

    def mails():
        session.rollback()
        return session.query(OutboxMessage).count()

    clock.forward(days=2)
    minute(portal)
    assert mails() == 2
    clock.forward(days=1, minutes=1)
    for _ in range(3):
        minute(portal)
    assert mails() == 3
    berta = session.scalar(select(EnrollmentRequest).join(Person).where(Person.username == "berta"))
    assert (
        session.scalar(select(OutboxMessage.request_id).order_by(OutboxMessage.created_at.desc()).limit(1)) == berta.id
    )


def test_what_changed_since_the_check_is_told_when_it_is_their_turn(staff, five, company, portal, session):
    upload(staff, "username\nanna\nberta\ncora\n")
    with portal.database.transaction() as writing:
        closing.disable(Cases(writing, portal), people.by_username(writing, "anna"), "command")
        people.by_username(writing, "berta").managed_apple_account = None
    company.invite(five[2])
    start(staff)
    minute(portal)
    assert invited(session) == []
    reasons = [each.find_all("td")[2].text for each in staff.get(staff.path).soup.select("tbody tr")]
    assert reasons == ["is disabled", "no Managed Apple Account", "is invited already"]


def test_a_worker_that_stops_in_the_middle_neither_loses_nor_repeats_anybody(staff, five, portal, session, monkeypatch):
    upload(staff, "username\n" + "".join(f"{each.username}\n" for each in five))
    start(staff)
    real, calls = invitations.invite, []

    def dies_on_the_third(*arguments, **keywords):
        made = real(*arguments, **keywords)
        calls.append(made)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return made

    monkeypatch.setattr(campaigns.invitations, "invite", dies_on_the_third)
    with pytest.raises(KeyboardInterrupt):
        jobs.Worker(portal.live.base).invite_many()
    assert len(invited(session)) == 2
    monkeypatch.setattr(campaigns.invitations, "invite", real)
    minute(portal)
    assert invited(session) == ["anna", "berta", "cora", "dora", "emma"]
    session.rollback()
    assert session.query(OutboxMessage).count() == 5


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"per_minute": "0"}, "per_minute"),
        ({"per_minute": "many"}, "per_minute"),
        ({"per_minute": ""}, "per_minute"),
        ({"remind_after_days": "61"}, "remind_after_days"),
        ({"starts_at": "2020-01-01T00:00"}, "starts_at"),
        ({"starts_at": "soon"}, "starts_at"),
        ({"message": "x" * 2001}, "message"),
    ],
)
def test_a_wrong_plan_is_told_beside_its_field_and_nothing_starts(staff, five, portal, session, values, field):
    upload(staff, "username\nanna\n")
    start(staff, **{"message": "Hello", **values})
    assert staff.status == 422
    assert staff.error_of(field)
    assert staff.soup.find(id="message").text.strip() == values.get("message", "Hello")
    minute(portal)
    assert invited(session) == []


def test_erasing_a_person_also_erases_them_from_lists(staff, five, portal, session):
    upload(staff, "username\nanna\n")
    with portal.database.transaction() as writing:
        closing.erase(Cases(writing, portal), people.by_username(writing, "anna"), "command")
    session.rollback()
    assert session.scalars(select(CampaignEntry.username)).all() == [""]


def test_a_list_that_does_not_exist_is_not_there(staff):
    assert staff.get("/helpdesk/campaigns/nothing").status == 404
    staff.get("/helpdesk/campaigns")
    token = staff.hidden()
    for what in ("start", "pause", "nonsense"):
        assert staff.post(f"/helpdesk/campaigns/nothing/{what}", token).status == 404


def test_a_files_name_that_no_database_takes_is_refused(staff):
    staff.get("/helpdesk/campaigns")
    staff.post("/helpdesk/campaigns", staff.filled() | {"file": (io.BytesIO(b"username\r\nerika\r\n"), "a\0b.csv")})
    assert staff.status == 400


def test_whoever_begins_by_themselves_meanwhile_gets_no_second_request(staff, company, portal, session, monkeypatch):
    """Between the look whether somebody has an open request and the invitation they sign in by themselves."""
    erika = company.person("erika")
    upload(staff, "username\r\nerika\r\n")
    start(staff)
    invite, others = invitations.invite, []

    def by_themselves():
        with portal.database.transaction() as writing:
            invitations.for_self_enrollment(Cases(writing, portal), writing.get_one(Person, erika.id), "en")

    def meanwhile(cases, person, source, *more, **named):
        if source == "import" and not others:
            others.append(threading.Thread(target=by_themselves))
            others[0].start()
            others[0].join(1)
        return invite(cases, person, source, *more, **named)

    monkeypatch.setattr(invitations, "invite", meanwhile)
    minute(portal)
    others[0].join(20)
    assert session.scalar(select(func.count(EnrollmentRequest.id)).where(EnrollmentRequest.person_id == erika.id)) == 1


def test_cancelling_stops_reminders_at_once(staff, company, portal, clock, session, monkeypatch):
    for number in range(5):
        company.person(f"p{number}")
    upload(staff, "username\r\n" + "".join(f"p{number}\r\n" for number in range(5)))
    start(staff, remind_after_days="1")
    minute(portal)
    clock.forward(days=2)
    remind, calls = campaigns._remind_next, []

    def cancelled_after_two(this, campaign_id):
        calls.append(campaign_id)
        if len(calls) == 3:
            with portal.database.transaction() as writing:
                writing.get_one(Campaign, campaign_id).state = "cancelled"
        return remind(this, campaign_id)

    monkeypatch.setattr(campaigns, "_remind_next", cancelled_after_two)
    minute(portal)
    reminded = select(func.count()).select_from(CampaignEntry).where(CampaignEntry.reminded_at.is_not(None))
    assert session.scalar(reminded) == 2
