"""What a device shows Apple when somebody signs in with a Managed Apple Account: that this organization manages it.

Where Apple Business allows these accounts on managed devices only, Apple asks the device for such a token, and the
device asks its server (check-in message ``GetToken``, iOS 17). Facts: Apple, "Get Token": a JWT (RFC 7519) signed with
the key that is registered in Apple Business, used once.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import RSAKey

from portal.pki.authority import Identity

SERVICE = "com.apple.maid"
CAPABILITY = "com.apple.mdm.token"
"""In ServerCapabilities of an enrollment profile: the server answers ``GetToken``."""
MESSAGE = "GetToken"


@dataclass(frozen=True, slots=True)
class Voucher:
    """Who vouches: the key registered with Apple, and the id that Apple gave the server."""

    identity: Identity
    server_uuid: str

    def token(self, now: datetime) -> bytes:
        """A new one."""
        pem = self.identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        claims = {
            "iss": self.server_uuid,
            "iat": int(now.timestamp()),
            "jti": str(uuid.uuid4()),
            "service_type": SERVICE,
        }
        return jwt.encode({"alg": "RS256", "typ": "JWT"}, claims, RSAKey.import_key(pem)).encode()
