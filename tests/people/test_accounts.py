"""A Managed Apple Account that the rules make of what is known is one person's, or nobody's."""

import pytest

from portal.people import accounts

SHARED = "boss@work.example.com"
BY_PATTERN = {"source": "pattern", "pattern": "{username}@{domain}", "domain": "work.example.com"}


@pytest.fixture
def account(portal, session):
    """What somebody enrolls with."""
    return lambda person: accounts.of(session, person, portal.settings)


def test_an_address_that_two_have_is_the_account_of_neither(company, configure, account, session):
    configure(enrollment__email_as_managed_apple_account=True)
    boss = company.person("boss", email=SHARED, managed_apple_account=None)
    assert account(boss) == SHARED
    other = company.person("other", email=SHARED.upper(), managed_apple_account=None)
    assert (account(boss), account(other)) == (None, None)
    assert account(company.person("third", email="third@work.example.com", managed_apple_account=None))
    session.rollback()


def test_whoever_left_for_good_or_has_a_stored_one_is_no_rival(company, configure, account, clock, portal):
    configure(enrollment__email_as_managed_apple_account=True)
    boss = company.person("boss", email=SHARED, managed_apple_account=None)
    company.person("stored", email=SHARED, managed_apple_account="stored@work.example.com")
    assert account(boss) == SHARED
    company.person("owner", email="owner@work.example.com", managed_apple_account=SHARED)
    assert account(boss) is None


def test_one_name_in_two_domains_makes_the_account_of_neither(company, configure, account):
    configure(**{f"managed_apple_account__{name}": value for name, value in BY_PATTERN.items()})
    one = company.person("erika@one.example", email="e1@one.example", managed_apple_account=None)
    assert account(one) == "erika@work.example.com"
    erik = company.person("erik@two.example", email="e2@two.example", managed_apple_account=None)
    assert (account(one), account(erik)) == ("erika@work.example.com", "erik@work.example.com")
    two = company.person("erika@two.example", email="e3@two.example", managed_apple_account=None)
    assert (account(one), account(two)) == (None, None)
