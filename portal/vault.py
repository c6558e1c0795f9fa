"""Secrets at rest: sealed with MultiFernet, newest key first; and hashes of tokens we hand out."""

import hashlib
import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_FILE = "secret.keys"


class VaultError(Exception):
    """A sealed value cannot be opened with the configured keys, or there are no keys."""


class Vault:
    """Seals and opens small secrets. ``keys`` are Fernet keys, newest first; all of them open, the first seals."""

    def __init__(self, keys: list[str]) -> None:
        if not keys:
            raise VaultError("No secret keys: run `flask --app app setup` or set PORTAL_SECRET_KEYS.")
        self._keys = keys
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, secret: bytes) -> bytes:
        """Encrypt ``secret`` for storage."""
        return self._fernet.encrypt(secret)

    def open(self, sealed: bytes) -> bytes:
        """The secret in ``sealed``. Raises VaultError if no key fits."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise VaultError("A stored secret fits none of the configured secret keys.") from None

    def reseal(self, sealed: bytes) -> bytes:
        """The same secret under the newest key (key rotation)."""
        return self._fernet.rotate(sealed)

    def derive(self, purpose: str) -> bytes:
        """32 bytes for ``purpose``, from the newest key (RFC 5869)."""
        return self.derive_all(purpose)[-1]

    def derive_all(self, purpose: str) -> list[bytes]:
        """The same from every key, the newest last: what was signed before a rotation can still be verified."""
        return [HKDF(SHA256(), 32, None, purpose.encode()).derive(key.encode()) for key in reversed(self._keys)]


def token_hash(token: str) -> str:
    """What is stored of a random token: the SHA-256 in hex. Tokens have 128 bits or more, so no salt."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def read_keys(configured: tuple[str, ...], data: Path) -> list[str]:
    """The configured keys, else those of the key file in ``data``, else none."""
    if configured:
        return list(configured)
    path = data / KEY_FILE
    return path.read_text("ascii").split() if path.exists() else []


def write_keys(data: Path, keys: list[str]) -> None:
    """Replace the key file, readable by its owner only, in one step."""
    data.mkdir(parents=True, exist_ok=True)
    path = data / KEY_FILE
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write("\n".join(keys) + "\n")
    fresh.replace(path)


def new_key() -> str:
    """A fresh Fernet key."""
    return Fernet.generate_key().decode()
