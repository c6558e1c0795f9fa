"""Whom a certificate is for."""

from dataclasses import dataclass

from cryptography import x509


@dataclass(frozen=True, slots=True)
class Names:
    """The subject of a certificate, and the e-mail addresses beside it."""

    subject: x509.Name
    emails: tuple[str, ...]
