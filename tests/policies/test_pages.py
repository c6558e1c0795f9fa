"""What admins read about policies, and what they say about them."""

import pytest

from portal.people.audiences import Line
from tests.pages import Browser
from tests.policies.conftest import passcode, wifi


@pytest.fixture
def office(app, company, clock, held_policies):
    """An admin, just signed in."""
    company.person("ada", "admin")
    return Browser(app).staff_sign_in("ada", clock())


def test_a_policy_begins_with_its_name(held_policies, office):
    office.get("/admin/policies").submit("/admin/policies", name="Basics")
    assert office.heading == "Basics"
    office.get("/admin/policies").submit("/admin/policies", name=" basics ")
    assert office.status == 422
    assert office.error_of("name")


def test_what_somebody_would_get_and_why(held_policies, company, office):
    held_policies.make("Basics", wifi(), passcode())
    max_ = company.person("max")
    held_policies.make("Visitors", wifi("Visitors"), audience=(Line("in", "everybody"), Line("out", "person", max_.id)))
    office.get("/admin/policies/person?username=max&ios=17.4")
    assert "Basics , version 1 everybody gets it Wi-Fi, Passcode" in office.text
    assert "Not Visitors: kept away by its exceptions." in office.text
