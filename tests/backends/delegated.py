"""A portal whose devices a NanoMDM manages that is not there: webhooks are made by hand, its API answers as told."""

import base64
import hashlib
import hmac
import json
import plistlib
import uuid

import httpx
from sqlalchemy import select

from portal import jobs
from portal.backends.nanomdm import NanoMdmBackend
from portal.models import BackendEvent, Command, IssuedProfile
from portal.services import Portal
from tests.factories import BASE, Company, phone

API_KEY, SECRET = "an api key of sixteen", "a webhook secret, long"
SETTINGS = {
    "mdm": {"backend": "nanomdm", "topic": "com.apple.mgmt.External.test", "push_identity": "", "refresh_hours": 24},
    "nanomdm": {"api_url": "http://127.0.0.1:9", "api_key": API_KEY, "webhook_secret": SECRET, "server_url": "",
                "timeout_seconds": 5},
}  # fmt: skip
TOPIC = "com.apple.mgmt.External.test"


class Api:
    """NanoMDM's API as its source says it answers; ``answers`` changes that, ``asked`` is what came."""

    def __init__(self):
        self.queued: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.answer = None
        self.handed_on: list[tuple[str, bytes]] = []
        """Check-ins with the query they came with."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, request.url.path))
        if self.answer is not None:
            return self.answer(request)
        if request.url.path == "/mdm":
            self.handed_on.append((request.url.query.decode(), request.content))
            return httpx.Response(200)
        if request.url.path == "/v1/pushcert" and request.method == "GET":
            return httpx.Response(400, json={"error": "tls: failed to find any PEM data in certificate input"})
        if request.url.path.startswith("/v1/enqueue/"):
            command = plistlib.loads(request.content)["CommandUUID"]
            if command in self.queued:
                return httpx.Response(500, json={"command_error": f"command already exists: {command}"})
            self.queued[command] = request.content
        return httpx.Response(200, json={"status": {}})


class Delegated:
    """One such portal."""

    def __init__(self, make_app, clock, **settings):
        self.app = make_app(**{**SETTINGS, **settings})
        self.portal: Portal = self.app.extensions["portal"]
        self.clock, self.api = clock, Api()
        self.company = Company(self.portal)
        self.worker = jobs.Worker(self.portal.live.base)
        self.use(self.api)
        self.invitation = self.company.invite(self.company.person())
        self.client = self.app.test_client()

    def use(self, api):
        """Both processes' backends ask ``api``."""
        made = [NanoMdmBackend(self.portal.settings, TOPIC, httpx.MockTransport(api)) for _ in range(2)]
        self.portal.__dict__["backend"] = made[0]
        self.worker.portal.__dict__["backend"] = made[1]

    def prepared(self, number=0, invitation=None):
        """A phone with a profile and a certificate."""
        device = phone(self.app, number)
        profile = self.company.profile(invitation or self.invitation)
        device.obtain_identity(device.open_profile(profile))
        return device

    def reference(self, invitation=None):
        """The profile's id, as the device's address carries it."""
        request_id = (invitation or self.invitation).request.id
        with self.portal.database.session() as session:
            query = select(IssuedProfile.id).where(IssuedProfile.request_id == request_id)
            return session.scalar(query.order_by(IssuedProfile.issued_at.desc()))

    def post(self, body, signature=None):
        """Send a webhook; its signature is right unless told otherwise."""
        if signature is None:
            signature = base64.b64encode(hmac.new(SECRET.encode(), body, hashlib.sha256).digest()).decode()
        headers = {"X-Hmac-Signature": signature, "Content-Type": "application/json; charset=utf-8"}
        return self.client.post("/hooks/nanomdm", data=body, headers=headers, base_url=BASE)

    def tell(self, *webhooks):
        for each in webhooks:
            assert self.post(each).status_code == 200
        return self

    def work(self, seconds=0):
        """The worker takes up what came; then again after ``seconds``."""
        self.worker.manage()
        if seconds:
            self.clock.forward(seconds=seconds)
            self.worker.manage()

    def events(self):
        with self.portal.database.session() as session:
            return list(session.scalars(select(BackendEvent).order_by(BackendEvent.id)))

    def commands(self, state):
        with self.portal.database.session() as session:
            return list(session.scalars(select(Command).where(Command.status == state).order_by(Command.id)))

    def enroll(self, device_id="E-1"):
        """Over webhooks alone; returns the reference."""
        self.prepared()
        reference = self.reference()
        self.tell(authenticate(device_id, reference), token_update(device_id, reference)).work()
        assert self.company.status(self.invitation) == "enrolled"
        return reference


def webhook(kind, enrollment_id, reference, message, event_id=None, **part):
    """A webhook as NanoMDM makes them."""
    raw = plistlib.dumps({key: value for key, value in message.items() if value is not None})
    told = {
        "ids": {"id": enrollment_id, "type": "User Enrollment (Device)"},
        "enrollment_id": enrollment_id,
        "raw_payload": base64.b64encode(raw).decode(),
        "url_params": {"ref": reference} if reference else {},
        **part,
    }
    name = "acknowledge_event" if kind == "Connect" else "checkin_event"
    event = {"topic": f"mdm.{kind}", "event_id": event_id or uuid.uuid4().hex[:16],
             "created_at": "2026-03-02T10:00:00Z", name: told}  # fmt: skip
    return json.dumps(event).encode()


def authenticate(enrollment_id, reference, event_id=None, part=(), **extra):
    message = {"MessageType": "Authenticate", "Topic": TOPIC, "EnrollmentID": enrollment_id, "OSVersion": "17.6.1",
               "BuildVersion": "21G93", "ProductName": "iPhone14,5", **extra}  # fmt: skip
    return webhook("Authenticate", enrollment_id, reference, message, event_id, **dict(part))


def token_update(enrollment_id, reference, event_id=None):
    message = {"MessageType": "TokenUpdate", "Topic": TOPIC, "EnrollmentID": enrollment_id, "Token": b"t" * 32,
               "PushMagic": "magic", "AwaitingConfiguration": False}  # fmt: skip
    return webhook("TokenUpdate", enrollment_id, reference, message, event_id)


def check_out(enrollment_id, reference, event_id=None):
    message = {"MessageType": "CheckOut", "Topic": TOPIC, "EnrollmentID": enrollment_id}
    return webhook("CheckOut", enrollment_id, reference, message, event_id)


def connect(enrollment_id, reference, status="Idle", command=None, event_id=None, **answer):
    message = {"EnrollmentID": enrollment_id, "Status": status, "CommandUUID": command, **answer}
    part = {"status": status} | ({"command_uuid": command} if command else {})
    return webhook("Connect", enrollment_id, reference, message, event_id, **part)
