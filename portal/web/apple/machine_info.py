"""What an iPhone says of itself when Settings begins an enrollment: a property list in a CMS signature.

Facts: Apple's MachineInfo schema (other/machineinfo.yaml). Identifiers that user enrollment forbids never leave this
module. Which of the optional keys a device sends is not known for certain [?]: any subset is taken.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from portal.pki import cms
from portal.plists import BadPlist, optional_text, read, text

_BUILD_OF_IOS_13, _BUILD_OF_IOS_26 = 17, 23
"""The first number of a build: 17 for iOS 13, 18 for iOS 14, ... 22 for iOS 18; then came iOS 26 with 23."""
_PRODUCT = re.compile(r"(iPhone|iPad|iPod)\d")
_NUMBERS = re.compile(r"\d{1,3}(?:\.\d{1,3}){0,3}")


class UnknownDevice(Exception):
    """The message is not signed by a device that Apple made, as far as the configured roots can tell."""


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """The part of MachineInfo that user enrollment allows and the portal uses."""

    product: str
    build: str
    os_version: str | None = None
    language: str | None = None
    can_update: bool = False

    @property
    def fits(self) -> bool:
        """Whether it is an iPhone or iPad."""
        return _PRODUCT.match(self.product) is not None

    @property
    def ios(self) -> tuple[int, ...]:
        """The version of iOS as numbers; before iOS 17 only its first number, known from the build."""
        if self.os_version:
            return numbers(self.os_version)
        major = re.match(r"\d+", self.build)
        if major is None:
            return (0,)
        build = int(major[0])
        return (build - _BUILD_OF_IOS_26 + 26 if build >= _BUILD_OF_IOS_26 else build - _BUILD_OF_IOS_13 + 13,)

    def older_than(self, minimum: str) -> bool:
        """Whether this iOS is older than ``minimum`` (like 15.1), as far as its numbers are known."""
        known = self.ios
        return known < numbers(minimum)[: len(known)]


def numbers(version: str) -> tuple[int, ...]:
    """``17.6.1`` as (17, 6, 1); (0,) for what is no version."""
    return tuple(int(part) for part in version.split(".")) if _NUMBERS.fullmatch(version) else (0,)


def read_signed(body: bytes, roots: str) -> MachineInfo:
    """The MachineInfo in a CMS SignedData. ``roots``: PEM file its signer must lead to, empty for none.

    Dates in the chain are not judged: one of Apple's certificates in it has expired, devices keep using it.
    Raises CmsError, BadPlist, UnknownDevice, OSError when the roots cannot be read.
    """
    signed = cms.verify(body)
    if roots:
        trusted = x509.load_pem_x509_certificates(Path(roots).read_bytes())
        if not any(_leads_to(signed.certificates, root) for root in trusted):
            raise UnknownDevice
    info = read(signed.content)
    product, build = text(info, "PRODUCT", 64), text(info, "VERSION", 32)
    if product is None or build is None:
        raise BadPlist("MachineInfo without PRODUCT or VERSION")
    return MachineInfo(
        product=product,
        build=build,
        os_version=optional_text(info, "OS_VERSION", 32),
        language=optional_text(info, "LANGUAGE", 35),
        can_update=info.get("MDM_CAN_REQUEST_SOFTWARE_UPDATE") is True,
    )


def _leads_to(certificates: tuple[x509.Certificate, ...], root: x509.Certificate) -> bool:
    try:
        cms.verify_chain(certificates, root)
    except cms.CmsError:
        return False
    return True
