"""Opens what admins upload, a certificate with its key, in a process of its own.

How often a passphrase is hashed says the file itself, at several places, some of them enciphered: a small one can ask
for hours, and no other thread of the process that does it would run meanwhile. This one is stopped after some seconds.
It is run by its path, knows nothing of the portal nor of its environment, and reads and writes JSON.
"""

import base64
import json
import subprocess
import sys
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

MOST_SECONDS = 10


class NotOpened(Exception):
    """The file cannot be used; ``code``: unreadable, passphrase, key (there is none)."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def opened(content: bytes, passphrase: str) -> tuple[bytes, bytes]:
    """The key (PKCS#8) and the certificates in a PKCS#12 or PEM file, as PEM without a passphrase. Raises NotOpened."""
    asked = json.dumps({"content": base64.b64encode(content).decode(), "passphrase": passphrase})
    try:
        command = [sys.executable, "-I", __file__]
        done = subprocess.run(  # noqa: S603  (this very file)
            command, input=asked.encode(), capture_output=True, timeout=MOST_SECONDS, check=True, env={}
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        raise NotOpened("unreadable") from None
    told = json.loads(done.stdout)
    if "refused" in told:
        raise NotOpened(told["refused"])
    return told["key"].encode(), told["certificates"].encode()


def _open(content: bytes, passphrase: str) -> dict[str, str]:
    secret = passphrase.encode("utf-8", "surrogatepass") or None
    key, certificates = _pem(content, secret) if b"-----BEGIN" in content else _pkcs12(content, secret)
    try:
        written = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    except (AttributeError, ValueError):
        raise NotOpened("key") from None
    chain = b"".join(each.public_bytes(Encoding.PEM) for each in certificates)
    return {"key": written.decode(), "certificates": chain.decode()}


def _pkcs12(content: bytes, secret: bytes | None) -> tuple[Any, list[x509.Certificate]]:
    try:
        key, certificate, others = pkcs12.load_key_and_certificates(content, secret)
    except ValueError as error:
        raise NotOpened("passphrase" if "password" in str(error).casefold() else "unreadable") from None
    if key is None or certificate is None:
        raise NotOpened("key")
    return key, [certificate, *others]


def _pem(content: bytes, secret: bytes | None) -> tuple[Any, list[x509.Certificate]]:
    if b"PRIVATE KEY-----" not in content:
        raise NotOpened("key")
    try:
        certificates = x509.load_pem_x509_certificates(content)
    except ValueError:
        raise NotOpened("unreadable") from None
    begin = content.index(b"-----BEGIN", max(0, content.index(b"PRIVATE KEY-----") - 40))
    key_pem = content[begin:]
    try:
        return load_pem_private_key(key_pem, secret if b"ENCRYPTED" in key_pem[:2000] else None), certificates
    except TypeError:
        raise NotOpened("passphrase") from None
    except ValueError:
        raise NotOpened("passphrase" if secret and b"ENCRYPTED" in key_pem[:200] else "unreadable") from None


def _answer() -> None:
    asked = json.load(sys.stdin)
    try:
        told = _open(base64.b64decode(asked["content"]), asked["passphrase"])
    except NotOpened as refusal:
        told = {"refused": refusal.code}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    _answer()
