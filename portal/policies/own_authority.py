"""Identities for work from the portal's own authority: a SCEP part whose address is ``portal``.

The part says only for whom: the address, a challenge for one device and the authority's fingerprint are put in when the
profile is made. The authority is not that of the enrollment: nothing that it issues speaks for a device.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from portal.pki import scep
from portal.pki.names import Names
from portal.policies.content import Part, at

SCEP, OWN = "com.apple.security.scep", "portal"
ADDRESS = "PayloadContent.URL"
PATH, LIST_PATH, CERTIFICATE_PATH = "/scep/work", "/work-ca.crl", "/work-ca.cer"
VALID_DAYS = 400
RENEW_EVERY = timedelta(days=300)
"""Since the enrollment: a device then fetches the profile anew and gets another certificate."""
KNOWN = {"CN": NameOID.COMMON_NAME, "O": NameOID.ORGANIZATION_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
         "L": NameOID.LOCALITY_NAME, "ST": NameOID.STATE_OR_PROVINCE_NAME, "C": NameOID.COUNTRY_NAME,
         "2.5.4.5": NameOID.SERIAL_NUMBER}  # fmt: skip


def is_own(part: Part) -> bool:
    """Whether the portal itself is to issue what the part asks for."""
    return part.type == SCEP and at(part.values, ADDRESS) == OWN


def period(enrolled_at: datetime | None, now: datetime) -> int:
    """How often identities of a device were due for renewal."""
    return max(0, (now - enrolled_at) // RENEW_EVERY) if enrolled_at is not None else 0


def with_server(part: Part, url: str, challenge: str, fingerprint: bytes) -> Part:
    """The part as a device gets it; ``fingerprint``: of the authority's certificate (``scep.fingerprint_of``)."""
    own = dict(part.values.get("PayloadContent", {}))
    content = own | scep.client_settings(url, challenge, fingerprint) | {"Name": "work"}
    return Part(part.uuid, part.type, {**part.values, "PayloadContent": content})


PRINTABLE = (NameOID.SERIAL_NUMBER, NameOID.COUNTRY_NAME)
"""Kinds whose values are PrintableString (RFC 5280, appendix A.1)."""


def names(values: Mapping[str, Any]) -> Names:
    """The subject and e-mail addresses that a part says, variables filled in.

    Nothing is shortened: two people could become one. Raises ValueError for what no certificate can say.
    """
    levels = at(values, "PayloadContent.Subject") or []
    subject = x509.Name(
        [
            x509.RelativeDistinguishedName(
                [x509.NameAttribute(KNOWN[kind], str(value)) for kind, value in level if kind in KNOWN]
            )
            for level in levels
            if any(kind in KNOWN for kind, _ in level)
        ]
    )
    told = at(values, "PayloadContent.SubjectAltName.rfc822Name")
    emails = tuple(each for each in (told if isinstance(told, list) else [told]) if isinstance(each, str) and each)
    if any(each.oid in PRINTABLE and not str(each.value).isascii() for each in subject):
        raise ValueError("a value of the subject has to be ASCII")
    for each in emails:
        x509.RFC822Name(each)
    return Names(subject, emails)
