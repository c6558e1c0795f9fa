"""The link by text message, through a real HTTP gateway of the test's own."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from portal import jobs
from portal.models import OutboxMessage
from tests.pages import Browser


class Gateway:
    """Takes messages and remembers them; ``status`` is what it answers."""

    def __init__(self):
        self.status, self.taken = 200, []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                owner.taken.append((self.headers["Content-Type"], self.headers.get("Authorization"), body))
                self.send_response(owner.status)
                self.end_headers()

            def log_message(self, *_arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/messages"


@pytest.fixture
def gateway():
    made = Gateway()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def staff(app, company, clock):
    company.person("hilda", role="helpdesk", name="Hilda Help")
    return Browser(app).staff_sign_in("hilda", clock())


@pytest.fixture
def invitation(company):
    return company.invite(company.person(phone="+49 170 1234567"))


def press(staff, invitation):
    address = f"/helpdesk/requests/{invitation.request.id}"
    staff.get(address)
    return staff.submit(f"{address}/text")


def test_the_link_arrives_by_text_and_works_and_the_passcode_is_not_in_it(
    app, staff, company, invitation, gateway, configure, portal
):
    configure(
        sms__transport="http", sms__url=gateway.url, sms__authorization_secret="Bearer hush", sms__fields=["from=X"]
    )
    press(staff, invitation)
    assert "The link is on its way to their phone." in staff.text
    jobs.Worker(portal.live.base).deliver()
    [(kind, authorization, body)] = gateway.taken
    sent = json.loads(body)
    assert (kind, authorization) == ("application/json", "Bearer hush")
    assert (sent["to"], sent["from"]) == ("+49 170 1234567", "X")
    assert invitation.passcode not in sent["text"]
    link = next(word for word in sent["text"].split() if "/e/" in word)
    employee = Browser(app).get(link.removeprefix("https://portal.example.com")).sign_in()
    employee.submit(ownership="employee")
    employee.submit(acknowledge="yes")
    employee.submit(passcode=invitation.passcode)  # the mailed one still works
    assert employee.path == "/enroll/overview"
    assert ("request.texted", None) in company.events(invitation)
    assert ("mail.sent", "text") in company.events(invitation)


def test_a_gateway_may_want_a_form_with_other_names_and_our_own_words(staff, invitation, gateway, configure, portal):
    configure(sms__transport="http", sms__url=gateway.url)
    configure(sms__format="form", sms__to_field="recipient", sms__text_field="body")
    configure(texts__sms_invitation={"en": "Hi {name}, {link} from {company}"})
    press(staff, invitation)
    jobs.Worker(portal.live.base).deliver()
    [(kind, authorization, body)] = gateway.taken
    sent = parse_qs(body)
    assert (kind, authorization) == ("application/x-www-form-urlencoded", None)
    assert sent["recipient"] == ["+49 170 1234567"]
    assert sent["body"][0].startswith("Hi Erika, https://portal.example.com/e/")
    assert sent["body"][0].endswith(" from Example Company")


@pytest.mark.parametrize(("status", "lasting"), [(503, False), (429, False), (302, False), (400, True), (404, True)])
def test_a_gateway_that_refuses_is_tried_again_or_given_up(
    staff, invitation, gateway, configure, portal, session, status, lasting
):
    configure(sms__transport="http", sms__url=gateway.url)
    gateway.status = status
    press(staff, invitation)
    jobs.Worker(portal.live.base).deliver()
    row = session.query(OutboxMessage).filter_by(kind="text").one()
    assert (row.failed_at is not None) is lasting
    assert row.last_error == f"SMS gateway answered {status}"
    staff.get(f"/helpdesk/requests/{invitation.request.id}")
    assert ("cannot be delivered" if lasting else "not delivered yet") in staff.text


def test_an_outage_loses_nothing(staff, invitation, gateway, configure, portal, session, clock):
    configure(sms__transport="http", sms__url="http://127.0.0.1:9/closed")
    press(staff, invitation)
    jobs.Worker(portal.live.base).deliver()
    assert session.query(OutboxMessage).filter_by(kind="text").one().last_error == "SMS gateway: ConnectError"
    configure(sms__url=gateway.url)
    clock.forward(minutes=2)
    jobs.Worker(portal.live.base).deliver()
    assert len(gateway.taken) == 1


def test_without_a_gateway_or_a_number_nothing_is_offered_or_sent(staff, company, invitation, configure, session):
    address = f"/helpdesk/requests/{invitation.request.id}"
    assert staff.get(address).soup.find("form", action=f"{address}/text") is None
    staff.post(f"{address}/text", {"csrf_token": staff.soup.find("input", attrs={"name": "csrf_token"})["value"]})
    assert "Nothing was sent." in staff.text
    configure(sms__transport="file")
    other = company.invite(company.person("max"))
    page = staff.get(f"/helpdesk/requests/{other.request.id}")
    assert "Send by text message" not in page.text
    assert session.query(OutboxMessage).filter_by(kind="text").count() == 0


def test_an_admin_tries_the_gateway_and_reads_what_is_wrong(app, company, gateway, configure, clock):
    company.person("adam", role="admin")
    admin = Browser(app).staff_sign_in("adam", clock())
    admin.get("/admin/settings/sms")
    admin.post("/admin/settings/sms", admin.filled() | {"sms.transport": "http", "sms.url": "http://gateway.example"})
    assert admin.error_of("sms.url") == "A gateway's address begins with https://."
    admin.post("/admin/settings/sms", admin.filled() | {"sms.transport": "http", "sms.url": gateway.url})
    admin.send("/admin/settings/sms/try", who="+49 170 1")
    assert "It works. +49 170 1" in admin.text
    assert len(gateway.taken) == 1
    admin.send("/admin/settings/sms/try", who="nobody")
    assert "It does not work yet. no number" in admin.text
    admin.get("/admin/settings/texts")
    admin.post("/admin/settings/texts", admin.filled() | {"texts.sms_invitation.en": "Hello {name}"})
    assert admin.error_of("texts.sms_invitation") == "{link} is missing: without it nobody can begin."
