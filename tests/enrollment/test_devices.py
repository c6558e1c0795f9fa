"""The device page: what helpdesk sees of a managed device, locking it, removing the work data."""

import pytest

from portal.enrollment.commands import Order
from portal.enrollment.errors import CommandForbidden
from tests.factories import phone, queue_command
from tests.pages import Browser


@pytest.fixture
def invitation(company):
    return company.invite(company.person())


@pytest.fixture
def held(app, company, invitation):
    """An enrolled iPhone."""
    made = phone(app)
    made.install(company.profile(invitation))
    return made


@pytest.fixture
def staff(app, company, clock, held, invitation):
    """Helpdesk before the device's page."""
    company.person("helen", "helpdesk")
    page = Browser(app).staff_sign_in("helen", clock()).get(f"/helpdesk/requests/{invitation.request.id}")
    return page.get(page.soup.find("a", string="Device")["href"])


def press(staff, action, **fields):
    return staff.submit(staff.soup.find("form", action=lambda to: to.endswith(action))["action"], **fields)


def test_the_page_tells_what_is_known_and_what_is_not_possible(staff):
    assert staff.heading == "iPhone · Erika"
    assert "17.6.1" in staff.text
    assert "Erasing the whole device and resetting its passcode are not possible" in staff.text
    assert [cell.get_text() for cell in staff.soup.select("td:nth-of-type(2)")] == [
        "Look at what is declared", "Read profiles", "Read attributes"]  # fmt: skip


def test_work_data_is_removed_after_the_name_is_typed(staff, held, company, invitation):
    press(staff, "/remove-work-data", confirm="ipad")
    assert (staff.status, staff.error_of("confirm")) == (422, "To confirm, type iPhone exactly as shown.")
    assert held.connect() == []
    staff.get(staff.path.removesuffix("/remove-work-data"))
    press(staff, "/remove-work-data", confirm="iphone")
    press(staff, "/remove-work-data", confirm="iPhone")  # a second time changes nothing
    assert held.connect() == ["RemoveProfile"]
    assert company.status(invitation) == "removed"
    assert ("device.left", "selective_wipe") in company.events(invitation)
    assert [event[0] for event in company.events(invitation)].count("device.asked_to_leave") == 1
    assert "work data removed by staff" in staff.get(staff.path).text
    assert staff.soup.find("form", action=lambda to: to and to.endswith("/lock")) is None


def test_a_device_that_was_wiped_is_told_so_and_nothing_else(staff, held):
    press(staff, "/remove-work-data", confirm="iPhone")
    held.connect()
    hidden = staff.hidden(staff.path + "/lock")
    staff.post(staff.path + "/lock", {**staff.hidden("/staff/sign-out"), **hidden})
    assert "not managed any more" in staff.text


def test_the_screen_is_locked_once_however_often_it_is_asked(staff, held):
    for _ in range(2):
        press(staff, "/lock")
    assert "locks when the device connects next" in staff.text
    assert held.connect() == ["DeviceLock"]
    assert "done" in staff.get(staff.path).text


@pytest.mark.parametrize("command", ["EraseDevice", "ClearPasscode", "DeviceLocation", "EnableLostMode"])
def test_what_user_enrollment_forbids_is_refused_wherever_it_is_asked(
    held, company, portal, clock, invitation, command
):
    device = company.device(invitation)
    with pytest.raises(CommandForbidden), portal.database.transaction() as session:
        queue_command(session, portal, device.id, Order(command))
    assert held.connect() == []


def test_an_unknown_device_is_not_found_and_employees_see_none(staff, app, company, invitation):
    assert staff.get("/helpdesk/devices/unknown").status == 404
    assert Browser(app).get(f"/helpdesk/devices/{company.device(invitation).id}").path == "/staff/sign-in"
