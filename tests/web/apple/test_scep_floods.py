"""Whoever knows a profile's id, which its device's certificate names, does not fill the trail of its request."""

import secrets

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from portal.pki import scep
from portal.pki.authority import Identity
from portal.simulator import scep_client
from tests.factories import BASE, phone_key


def test_reasons_that_come_in_turn_are_told_once_each(app, company, portal):
    invitation = company.invite(company.person())
    company.profile(invitation)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, company.request(invitation).profile_id)])
    signer = Identity(scep_client.self_signed(subject, phone_key()), phone_key())
    keys = [phone_key(), rsa.generate_private_key(65537, 1024)]
    before = len(company.events(invitation))
    with httpx.Client(transport=httpx.WSGITransport(app=app.wsgi_app), base_url=BASE) as http:
        for number in range(10):
            request = scep_client.certificate_request(subject, keys[number % 2], "a guess")
            message, _ = scep.request(request, portal.authority.ca.certificate, signer, secrets.token_hex(16))
            http.post("/scep", params={"operation": "PKIOperation"}, content=message)
    told = company.events(invitation)[before:]
    assert len(told) == len(set(told)) == 2, told
