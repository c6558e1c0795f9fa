"""People and Managed Apple Accounts from a CSV file."""

import pytest
from sqlalchemy import select

from portal.models import Person
from portal.people import accounts


@pytest.fixture
def take(app, tmp_path):
    def run(content, *more):
        file = tmp_path / "people.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return app.test_cli_runner().invoke(args=["people", "import", str(file), *more])

    return run


def known(portal):
    with portal.database.session() as session:
        people = session.scalars(select(Person).order_by(Person.username)).all()
        return {person.username: person.managed_apple_account for person in people}


def test_accounts_are_given_and_people_added(take, company, portal):
    company.person("erika", managed_apple_account=None)
    done = take(
        "﻿Username;managed_apple_account;name;email\nErika;ERIKA@Work.example.com;;\nnew;new@work.example.com;New;n@example.com\n"
    )
    assert done.output == "2 people added or changed.\n"
    assert known(portal) == {"erika": "erika@work.example.com", "new": "new@work.example.com"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("name\nx\n", "line 1: columns"),
        ("username,evil\nx,y\n", "line 1: columns"),
        ("", "line 1: columns"),
        ("username,managed_apple_account\nerika,none\n", "line 2: 'none' cannot be"),
        ("username,managed_apple_account\nerika,a@b\n", "cannot be a Managed Apple Account"),
        ("username,managed_apple_account\nerika,x@work.example.com\nother,x@work.example.com\n", "line 3: x@work"),
        ("username,managed_apple_account\nerika,other@work.example.com\n", "belongs to somebody else"),
        ("username\nnobody\n", "line 2: nobody is not known"),
        ("username\nerika\nERIKA\n", "line 3: erika stands there twice"),
        ("username\n\n , \n", "line"),
        ("username,name\nerika,a,b\n", "more values than columns"),
        ("name,username\nErika\n", "line 2: no username"),
        ("username,locale\nerika,xx\n", "language 'xx'"),
        ("username,name\nerika," + "x" * 300 + "\n", "too long"),
        ("username,name\nerika," + "x" * 201 + "\n", "too long"),
        ("username,name,email\n" + "x" * 129 + ",X,x@example.com\n", "too long"),
        ("username,name,email\n" + "ﷺ" * 20 + ",X,x@example.com\n", "too long"),
        ("username,name,email,source\nx,X,x@example.com,ldap\n", "'ldap' is no source"),
        ("username,name,email,source\nx,X,x@example.com,oidc:" + "x" * 40 + "\n", "is no source"),
        (b"username\n\xff\xfe\n", "not UTF-8"),
    ],
)
def test_whatever_is_wrong_is_named_by_line_and_changes_nothing(take, company, portal, content, problem):
    company.person("erika", managed_apple_account=None)
    company.person("other")
    before = known(portal)
    done = take(content)
    assert done.exit_code == 1
    assert problem in done.output
    assert known(portal) == before


def test_a_dry_run_changes_nothing(take, company, portal):
    company.person("erika", managed_apple_account=None)
    done = take("username,managed_apple_account\nerika,e@work.example.com\n", "--dry-run")
    assert done.output == "1 lines are right.\n"
    assert known(portal) == {"erika": None}


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" Erika@Work.Example.com ", "erika@work.example.com"),
        ("erika", None), ("@work.example.com", None), ("a@b", None), ("a b@work.example.com", None),
        ("a@b@work.example.com", None), ("a@work..com", None), ("a@-x.com", None), ("a@1.2.3.4", None),
        ("x" * 65 + "@work.example.com", None), ("", None), ("a@work.example.com\n", "a@work.example.com"),
    ],
)  # fmt: skip
def test_an_account_has_one_form(typed, kept):
    assert accounts.normal(typed) == kept


def test_what_a_spreadsheet_writes_is_read_in_utf_16_and_with_tabs(take, company):
    company.person()
    done = take("username\tname\nerika\tErika Meier\n".encode("utf-16"))
    assert done.output == "1 people added or changed.\n"


@pytest.mark.parametrize("content", [b"username,name\nerika,\0\n", b'username,name\nerika,"' + b"x" * 140_000 + b'"\n'])
def test_what_is_no_spreadsheet_is_refused_in_words(take, content):
    done = take(content)
    assert (done.exit_code, "not text" in done.output) == (1, True)
