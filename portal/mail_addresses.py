"""What may be a mail address: one that a header takes as it is and that no mail server takes for another.

That is RFC 5321's dot-string at a domain, in ASCII: neither quoted names, nor literals in brackets, nor names beyond
ASCII, which few mail servers take (RFC 6531). A name that would be decoded (RFC 2047) is none.
"""

import re
from email.utils import parseaddr

LONGEST = 254
"""Characters of an address (RFC 5321 section 4.5.3.1.3, without the angle brackets)."""
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*"
_NAME = r"""(?:"[^\x00-\x1f\x7f"\\]*"|[^\x00-\x1f\x7f"<>@,;:\\()\[\]]*)"""
ADDRESS = re.compile(rf"\A(?!.*=\?)(?=.{{1,{LONGEST}}}\Z){_ADDRESS}\Z")
SENDER = re.compile(rf"\A(?!.*=\?)(?=.{{1,{2 * LONGEST}}}\Z)(?:{_ADDRESS}|{_NAME} *<{_ADDRESS}>)\Z")
"""An address, or a display name with the address in angle brackets."""


def usable(told: str) -> str:
    """``told`` without spaces around it, or nothing if it cannot be an address."""
    address = told.strip()
    return address if ADDRESS.match(address) else ""


def named(sender: str) -> tuple[str, str]:
    """The display name, perhaps empty, and the address of a ``SENDER``."""
    return parseaddr(sender)
