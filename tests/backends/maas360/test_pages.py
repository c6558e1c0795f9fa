"""What helpdesk, admins and monitoring see of a MaaS360."""

import pytest

from portal.backends.maas360 import MaaS360Backend
from portal.credentials import api_tokens
from portal.simulator.maas360 import serving
from tests.factories import BASE, editing
from tests.pages import Browser


@pytest.fixture
def staff(tenancy):
    tenancy.company.person("ada", "admin")
    return Browser(tenancy.app).staff_sign_in("ada", tenancy.clock())


def open_device(tenancy, staff, invitation):
    return staff.get(f"/helpdesk/devices/{tenancy.company.device(invitation).id}")


def buttons(staff):
    main = staff.soup.find("main")
    return {each.get_text(strip=True) for each in main.select("summary, form.section button")}


# --- the device's page ---------------------------------------------------------------------------------------------


def test_only_what_the_device_allows_is_offered(tenancy, staff):
    invitation, _ = tenancy.enrolled()
    open_device(tenancy, staff, invitation)
    assert buttons(staff) == {"Read again", "Lock the screen", "Send a message", "Remove work data", "Remove control"}
    tenancy.tenant.allows = ["MDM_LOCK", "MDM_LOCATE"]
    open_device(tenancy, staff, invitation)
    assert buttons(staff) == {"Lock the screen"}
    tenancy.tenant.allows = []
    open_device(tenancy, staff, invitation)
    assert buttons(staff) == set()
    assert "allows nothing for this device right now" in staff.text


def test_work_data_can_be_given_back_only_when_it_was_removed(tenancy, staff):
    invitation, device = tenancy.enrolled()
    device.row["selectiveWipeStatus"] = "Completed"
    tenancy.sweep()
    open_device(tenancy, staff, invitation)
    assert "Give work data back" in buttons(staff)


def test_an_outage_of_maas360_hides_what_nobody_knows(tenancy, staff):
    invitation, _ = tenancy.enrolled()
    tenancy.tenant.mood["deviceActions"] = lambda: (503, {})
    open_device(tenancy, staff, invitation)
    assert staff.status == 200
    assert buttons(staff) == set()
    assert "does not answer right now" in staff.text


@pytest.mark.parametrize(
    ("action", "typed", "call"),
    [("lock", {}, "lockDevice"), ("read", {}, "refreshDeviceInformation"), ("give-back", {}, "revokeSelectiveWipe"),
     ("remove-work-data", {"confirm": "iPhone 14"}, "selectiveWipeDevice"),
     ("remove-control", {"confirm": "iphone 14"}, "removeDevice"),
     ("message", {"title": "Hello", "text": "Come by"}, "sendMessage")],
)  # fmt: skip
def test_each_button_asks_maas360(tenancy, staff, action, typed, call):
    invitation, _ = tenancy.enrolled()
    open_device(tenancy, staff, invitation)
    address = f"{staff.path}/{action}"
    staff.post(address, {**staff.hidden(f"{staff.path}/remove-work-data"), **typed})
    assert "MaaS360 is asked" in staff.text
    tenancy.work()
    assert call in tenancy.tenant.calls


@pytest.mark.parametrize(
    ("action", "typed", "field", "says"),
    [("remove-work-data", {"confirm": "iPhone"}, "confirm", "exactly as shown"),
     ("remove-control", {}, "confirm", "exactly as shown"),
     ("message", {"title": "", "text": "x"}, "title", "cannot be empty"),
     ("message", {"title": "x", "text": "y" * 501}, "text", "too long")],
)  # fmt: skip
def test_what_is_typed_wrongly_is_said_and_nothing_is_asked(tenancy, staff, action, typed, field, says):
    invitation, _ = tenancy.enrolled()
    open_device(tenancy, staff, invitation)
    path = staff.path
    staff.post(f"{path}/{action}", {**staff.hidden(f"{path}/remove-work-data"), **typed})
    assert staff.status == 422
    assert says in staff.error_of(field)
    tenancy.work()
    assert not {"selectiveWipeDevice", "removeDevice", "sendMessage"} & set(tenancy.tenant.calls)


def test_the_page_leads_to_maas360_for_policies_and_apps(tenancy, staff):
    invitation, _ = tenancy.enrolled()
    open_device(tenancy, staff, invitation)
    assert "Policies and work apps are set in MaaS360." in staff.text
    assert staff.soup.find("a", href="https://maas360.example/console", rel="noopener") is not None
    assert "EnrollmentID" not in staff.text


def test_without_an_address_of_its_pages_no_link_leads_there(tenancies):
    tenancy = tenancies(console_url="")
    tenancy.company.person("ada", "admin")
    invitation, _ = tenancy.enrolled()
    page = open_device(tenancy, Browser(tenancy.app).staff_sign_in("ada", tenancy.clock()), invitation)
    assert "Policies and work apps are set in MaaS360." in page.text
    assert page.soup.find("a", string="Open MaaS360") is None


def test_helpdesk_reads_where_somebody_is(tenancy, staff):
    invitation = tenancy.invite()
    address = f"/helpdesk/requests/{invitation.request.id}"
    tenancy.handed_over(invitation)
    assert "for 60 more minutes the device can enroll" in staff.get(address).text
    assert "Handed over to the device management" in staff.text
    tenancy.clock.forward(minutes=61)
    staff.staff_sign_in("ada", tenancy.clock())
    assert "no device came in time" in staff.get(address).text


def test_the_preview_shows_the_hand_over(tenancy, staff):
    invitation = tenancy.invite()
    Browser(tenancy.app).walk_to("profile", invitation)
    address = f"/helpdesk/requests/{invitation.request.id}/preview"
    assert staff.get(address).heading == "Set up your device"


# --- admins --------------------------------------------------------------------------------------------------------


def test_the_settings_page_is_listed(tenancy, staff):
    assert "/admin/settings/maas360" in str(staff.get("/admin/settings").soup)


def test_the_settings_page_is_not_listed_with_another_backend(app, company, clock):
    company.person("ada", "admin")
    other = Browser(app).staff_sign_in("ada", clock())
    assert "/admin/settings/maas360" not in str(other.get("/admin/settings").soup)


def test_a_trial_signs_in_and_reads_one_page(tenancy, staff):
    with serving() as tenant:
        tenant.enroll("erika@example.com")
        staff.get("/admin/settings/maas360")
        typed = {f"maas360.{key}": value for key, value in tenant.settings().items()}
        staff.post("/admin/settings/maas360/try", {**staff.filled(holding="maas360.host"), **typed})
        assert "1 devices can be read" in staff.text
        assert tenant.calls == ["authenticate", "search"]
        typed["maas360.password"] = "wrong"
        staff.post("/admin/settings/maas360/try", {**staff.filled(holding="maas360.host"), **typed})
        assert "does not let the portal in: credentials" in staff.text


def test_a_held_secret_never_goes_to_another_host(tenancy, staff):
    with serving() as tenant:
        staff.get("/admin/settings/maas360")
        staff.post("/admin/settings/maas360/try", {**staff.filled(holding="maas360.host"), "maas360.host": tenant.url})
        assert "does not let the portal in: not_set_up" in staff.text
        assert tenant.calls == []


def test_saved_settings_count_at_once(tenancy, staff):
    staff.get("/admin/settings/maas360")
    staff.post("/admin/settings/maas360", {**staff.filled(holding="maas360.host"), "maas360.handover_minutes": "15"})
    assert isinstance(tenancy.portal.backend, MaaS360Backend)
    assert tenancy.portal.backend.minutes == 15


@pytest.mark.parametrize(("name", "typed"), [("host", "http://maas360.example"), ("discovery_url", "ftp://x"),
                                             ("names", "lock.device=a&b"), ("billing_id", "12x")])  # fmt: skip
def test_what_cannot_be_used_is_refused_at_its_field(tenancy, staff, name, typed):
    staff.get("/admin/settings/maas360")
    staff.post("/admin/settings/maas360", {**staff.filled(holding="maas360.host"), f"maas360.{name}": typed})
    assert staff.status == 422
    assert staff.error_of(f"maas360.{name}")


def test_device_management_says_who_does_what(tenancy, staff):
    staff.get("/admin/device-management")
    assert "MaaS360 enrolls their devices" in staff.text
    assert "https://maas360.example/enroll/byod" in staff.text
    assert "push certificate" not in staff.text


def test_the_checklist_asks_for_maas360_and_for_no_push_certificate(tenancy, staff):
    staff.get("/admin")
    assert "Connect MaaS360, and try whether it lets the portal in" in staff.text
    assert "push certificate" not in staff.text


# --- monitoring ----------------------------------------------------------------------------------------------------


def test_readyz_says_why_maas360_does_not_let_the_portal_in(tenancies):
    tenancy = tenancies(password="wrong")
    told = tenancy.app.test_client().get("/readyz", base_url=BASE).json
    assert (told["status"], told["problems"]) == ("degraded", {"backend": "credentials"})


def test_readyz_is_ready_with_maas360_and_without_a_push_certificate(tenancy):
    assert tenancy.app.test_client().get("/readyz", base_url=BASE).json["status"] == "ready"


def test_an_outage_shows_and_ends(tenancy):
    tenancy.tenant.mood["search"] = lambda: (503, {})
    tenancy.handed_over(tenancy.invite())
    client = tenancy.app.test_client()
    assert client.get("/readyz", base_url=BASE).json["problems"] == {"backend": "status_503"}
    tenancy.tenant.mood.clear()
    tenancy.rested()
    tenancy.portal.backend.client.trial()
    assert client.get("/readyz", base_url=BASE).json["status"] == "ready"


def test_metrics_count_who_waits(tenancy, staff):
    with tenancy.portal.database.transaction() as session:
        token = api_tokens.make(editing(tenancy.portal, session, tenancy.clock()), "monitoring", ["metrics"])
    tenancy.handed_over(tenancy.invite())
    headers = {"Authorization": f"Bearer {token}"}
    told = tenancy.app.test_client().get("/metrics", base_url=BASE, headers=headers).get_data(as_text=True)
    assert "portal_handovers_waiting 1" in told
    assert "portal_backend_ready 1" in told
