"""In which time zone people read times."""

import pytest

from portal import texts
from portal.settings import overlay
from portal.settings.overlay import NotValid
from tests.factories import Company
from tests.pages import Browser


def test_times_are_told_in_the_zone_of_the_company_which_they_name(make_app, clock):
    app = make_app(company={"time_zone": "Europe/Berlin"})
    portal = app.extensions["portal"]
    company = Company(portal)
    company.person("hilda", role="helpdesk")
    invitation = company.invite(company.person())
    page = Browser(app).staff_sign_in("hilda", clock()).get(f"/helpdesk/requests/{invitation.request.id}")
    assert "2 Mar 2026, 10:00" in page.text  # it is nine in UTC
    assert "Times are in the time zone Europe/Berlin." in page.soup.get_text()
    values = {"person": invitation.request.person, "message": [], "opening": [], "asked_by": "Helen", "url": "u",
              "passcode": "1", "expires_at": invitation.request.expires_at}  # fmt: skip
    assert "10:00 CET" in texts.render("mail/invitation.txt", "en", company=portal.settings.company, **values)


@pytest.mark.parametrize("name", ["Europe/Nowhere", "", "../../etc/passwd", "x" * 5000])
def test_a_time_zone_that_there_is_not_is_refused(portal, name):
    with pytest.raises(NotValid) as refused:
        overlay.lay_over(portal.settings, {"company.time_zone": name})
    assert [each.name for each in refused.value.problems] == ["company.time_zone"]
