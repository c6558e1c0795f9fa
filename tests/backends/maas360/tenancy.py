"""A portal whose devices a MaaS360 manages, with the fake tenant behind both processes' backends."""

import httpx

from portal import jobs
from portal.backends.maas360 import MaaS360Backend
from portal.services import Portal
from portal.simulator.maas360 import FakeMaaS360
from tests.factories import Company
from tests.pages import Browser

IOS_14 = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 14_8 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/14.1 Mobile/15E148 Safari/604.1"
)


class Tenancy:
    """One such portal with its tenant."""

    def __init__(self, make_app, clock, **settings):
        self.tenant = FakeMaaS360("https://maas360.example")
        chosen = {**self.tenant.settings(), **settings.pop("maas360", {})}
        self.app = make_app(mdm={"backend": "maas360", "topic": "", "push_identity": "", "refresh_hours": 24},
                            maas360=chosen, **settings)  # fmt: skip
        self.portal: Portal = self.app.extensions["portal"]
        self.clock, self.company = clock, Company(self.portal)
        self.worker = jobs.Worker(self.portal.live.base)
        self.connect_anew()

    def connect_anew(self):
        """Both processes' backends, as after a restart."""
        for portal in (self.portal, self.worker.portal):
            portal.__dict__["backend"] = MaaS360Backend(
                portal.settings, portal.database, portal.vault, httpx.WSGITransport(app=self.tenant)
            )

    @property
    def client(self):
        """The worker's client."""
        return self.worker.portal.backend.client

    def invite(self, username="erika", known=True):
        """Somebody with an invitation; ``known``: MaaS360 knows them."""
        invitation = self.company.invite(self.company.person(username))
        if known:
            self.tenant.add_user(invitation.request.managed_apple_account)
        return invitation

    def handed_over(self, invitation, **browser):
        """The journey to its end, and the hand-over."""
        return self.hand_over(Browser(self.app, **browser).walk_to("profile", invitation))

    def hand_over(self, browser):
        """Tap the button of the last page."""
        return browser.post("/enroll/hand-over", browser.hidden("/enroll/hand-over") | {"continue": "yes"})

    def enrolled(self, invitation=None, **row):
        """The same, with the device that came of it."""
        invitation = invitation or self.invite()
        self.handed_over(invitation)
        device = self.tenant.enroll(invitation.request.managed_apple_account, **row)
        self.work()
        assert self.company.status(invitation) == "enrolled"
        return invitation, device

    def work(self, seconds=0):
        """The worker's turn, after ``seconds``."""
        self.clock.forward(seconds=seconds or 1)
        self.worker.manage()

    def sweep(self):
        """The worker's turn when all devices are read."""
        self.worker.portal.backend._follower.sweep_soon()
        self.work()

    def rested(self):
        """After the rest that follows a failure."""
        for portal in (self.portal, self.worker.portal):
            portal.backend.client._rests_until = 0.0
            portal.backend._health._last = None
        return self
