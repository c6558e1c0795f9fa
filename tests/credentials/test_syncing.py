"""What a source tells of somebody is kept as it fits, whatever it is."""

import pytest
from sqlalchemy import select

from portal.credentials import syncing
from portal.credentials.base import Found
from portal.models import Person
from tests.pages import Browser

LONG = "x" * 300


@pytest.mark.parametrize("subject", ["s1", LONG, "a\x00b", "\udc80", "CN=" + "é" * 260])
def test_a_key_of_any_form_finds_the_same_person_again(portal, clock, subject):
    for email in ("ida@example.com", "new@example.com"):
        found = Found(source="directory", subject=subject, username="ida", name="Ida", email=email)
        with portal.database.transaction() as session:
            syncing.sync(session, portal.settings, found, clock())
    with portal.database.session() as session:
        assert [each.email for each in session.scalars(select(Person))] == ["new@example.com"]


def test_two_long_keys_that_begin_alike_are_two_people(portal, clock):
    for username in ("ida", "ada"):
        found = Found(source="directory", subject=LONG + username, username=username, name="X", email="x@example.com")
        with portal.database.transaction() as session:
            syncing.sync(session, portal.settings, found, clock())
    with portal.database.session() as session:
        assert len(session.scalars(select(Person)).all()) == 2


def test_what_is_too_long_to_be_a_phone_number_is_none(portal, clock):
    """A part of it might be somebody else's."""
    found = Found("directory", "1", "ida", "Ida" * 100, "x@example.com", phone="+49 " + "1" * 40)
    with portal.database.transaction() as session:
        person, _ = syncing.sync(session, portal.settings, found, clock())
        assert (person.phone, len(person.name)) == (None, 200)


@pytest.mark.parametrize("username", ["x" * 129, "ﷺ" * 20], ids=["typed", "folded"])
def test_a_username_is_measured_as_it_is_kept(app, company, clock, username):
    """The second is 20 characters as typed, and 360 as compared."""
    company.person("adam", role="admin")
    admin = Browser(app).staff_sign_in("adam", clock())
    form = admin.get("/admin/people").filled(holding="username")
    admin.post("/admin/people", form | {"username": username, "name": "X", "email": "x@example.com"})
    assert admin.status == 422
    assert "too long" in admin.error_of("username")
    typed = ["people", "add", username, "--name", "X", "--email", "x@example.com", "--password", "p" * 20]
    done = app.test_cli_runner().invoke(args=typed)
    assert (done.exit_code, done.output) == (1, "The username is nothing, longer than 128 characters, or not text.\n")
    typed = ["people", "add", "x", "--name", "X" * 201, "--email", "x@example.com", "--password", "p" * 20]
    assert app.test_cli_runner().invoke(args=typed).exit_code == 1


@pytest.mark.parametrize(("phone", "status"), [("+" + "1" * 39, 200), ("+" + "1" * 40, 422), ("1" * 41, 422)])
def test_a_phone_number_is_measured_with_its_sign(app, company, clock, phone, status):
    company.person("adam", role="admin")
    admin = Browser(app).staff_sign_in("adam", clock())
    form = admin.get("/admin/people").filled(holding="username")
    typed = {"username": "x", "name": "X", "email": "x@example.com", "phone": phone}
    assert admin.post("/admin/people", form | typed).status == status
