"""What admins read about work apps, and what they say about them."""

import pytest

from portal import clock, jobs
from portal.apps_and_books.store import Described
from portal.people.audiences import Line
from portal.storage import apps
from tests.apps.conftest import OFFERED
from tests.factories import BASE
from tests.pages import Browser

PICTURE = b"\x89PNG as it was fetched and made smaller"


@pytest.fixture
def office(app, company, clock, held_apps):
    """An admin, just signed in."""
    company.person("ada", "admin")
    return Browser(app).staff_sign_in("ada", clock())


def listed(office):
    """The apps of the list, as they are read."""
    entries = office.get("/admin/apps").soup.select("ul.doors li")
    return [" ".join(each.get_text(" ", strip=True).split()) for each in entries]


def test_the_list_says_where_an_app_is_and_how_many_licenses_are_left(held_apps, enrolled, office):
    held_apps.add("Mail", total=3)
    held_apps.add("Tasks", audience=OFFERED)
    held, _device = enrolled()
    held_apps.until_settled(held)
    mail, tasks = listed(office)
    assert "1 of 3 licenses given, 2 free · for everybody 1 installed" in mail
    assert tasks.endswith("offered")


def test_what_has_licenses_is_offered_for_the_catalogue_and_shows_its_picture(held_apps, office, app):
    app_id, _asset = held_apps.add("Mail")
    held_apps.location.add("Tasks")
    held_apps.work()
    offered = [each.get_text(" ", strip=True) for each in office.get("/admin/apps/new").soup.select(".profile")]
    assert len(offered) == 1
    assert "Tasks" in offered[0]
    with held_apps.portal.database.transaction() as session:
        apps.describe(apps.locked(session, app_id), Described("com.example.mail", "Mail", ""), PICTURE, clock.now())
    shown = office.get(f"/admin/apps/{app_id}").soup.select_one("img.appicon")
    picture = app.test_client().get(shown["src"], base_url=BASE)
    assert (picture.status_code, picture.data) == (200, PICTURE)


def test_what_somebody_would_get_and_why(held_apps, company, office):
    held_apps.add("Mail", minimum_ios="26.0")
    held_apps.add("Tasks", audience=(*OFFERED, Line("out", "person", company.person("max").id)))
    office.get("/admin/apps/person?username=max&ios=18.1")
    assert "Mail comes by itself everybody gets it · no licenses It needs iOS 26.0 or later." in office.text
    assert "Not Tasks: kept away by its exceptions." in office.text
    office.get("/admin/apps/person?username=nobody")
    assert "Nobody is known by the username nobody." in office.text


def test_who_gets_an_app_is_changed_seen_and_told_soon(held_apps, company, office, monkeypatch):
    nudged = []
    monkeypatch.setattr(jobs, "nudge", lambda _settings, what=jobs.MAIL: nudged.append(what))
    company.person("max")
    app_id, _asset = held_apps.add("Mail")
    office.get(f"/admin/apps/{app_id}")
    address = f"/admin/apps/{app_id}/audience"
    shown = office.filled(address)
    assert shown.pop("in.everybody") == "yes"
    office.post(address, {**shown, "offered.people": "max"})
    assert office.path == f"/admin/apps/{app_id}"
    assert nudged == [jobs.POLICIES]
    assert listed(office)[0].endswith("offered")
    office.post(address, {**shown, "in.everybody": "yes"})  # as it was seen before that
    assert office.status == 409


def test_an_app_that_is_taken_out_is_gone_from_the_list(held_apps, office):
    app_id, _asset = held_apps.add("Mail")
    office.get(f"/admin/apps/{app_id}").submit(f"/admin/apps/{app_id}/end")
    assert office.path == "/admin/apps"
    assert "Taken out." in office.text
    assert listed(office) == ["There is none yet."]
