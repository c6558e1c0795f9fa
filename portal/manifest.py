"""What one device is told: declarations, each with a token that is a hash of its content, and the list of them.

A device compares tokens and fetches what is new or changed; what is not listed any more it forgets. So nothing about
what it has needs to be remembered here: the same content has the same token.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

LONGEST_IDENTIFIER = 64
"""Octets, of identifiers and tokens (``declarationbase``)."""
KINDS = {"activation": "Activations", "configuration": "Configurations", "asset": "Assets", "management": "Management"}
"""By the word in a type, and in the address of a declaration: its list in the manifest."""
ACTIVATION = "com.apple.activation.simple"
SUBSCRIPTIONS = "com.apple.configuration.management.status-subscriptions"
ORGANIZATION = "com.apple.management.organization-info"


@dataclass(frozen=True, slots=True)
class Declaration:
    """``identifier`` is the portal's own name for it, the same for as long as it means the same.

    ``payload`` may be made when it is fetched, and hold what is another each time; then ``content`` is a hash of what
    it stands for.
    """

    type: str
    identifier: str
    payload: Mapping[str, Any] | Callable[[], Mapping[str, Any]]
    content: str = ""

    @property
    def kind(self) -> str:
        """activation, configuration, asset or management."""
        return self.type.split(".")[2]

    @property
    def server_token(self) -> str:
        """Another one for every other content."""
        if self.content:  # of thousands of devices at once: not by way of JSON
            told = f"{self.type} {self.identifier} {self.content}"
            return hashlib.sha256(told.encode()).hexdigest()[:LONGEST_IDENTIFIER]
        return _digest([self.type, self.identifier, self.payload])

    def answer(self) -> bytes:
        """The declaration as a device fetches it (JSON)."""
        told = {"Type": self.type, "Identifier": self.identifier, "ServerToken": self.server_token}
        return _json({**told, "Payload": self.payload() if callable(self.payload) else self.payload})


@dataclass(frozen=True)
class Manifest:
    """Everything that one device is told."""

    declarations: tuple[Declaration, ...] = ()

    def with_(self, more: Sequence[Declaration]) -> "Manifest":
        """The same and ``more``."""
        return Manifest((*self.declarations, *more))

    @cached_property
    def token(self) -> str:
        """Another one as soon as anything in it is another."""
        return _digest(sorted([each.identifier, each.server_token] for each in self.declarations))

    def find(self, kind: str, identifier: str) -> Declaration | None:
        """One declaration by the address with which a device asks for it."""
        found = (each for each in self.declarations if (each.kind, each.identifier) == (kind, identifier))
        return next(found, None)

    def tokens(self, now: datetime) -> bytes:
        """What ``tokens`` answers, and what the command to look brings along (JSON)."""
        return tokens(self.token, now)

    def items(self) -> bytes:
        """What ``declaration-items`` answers (JSON): all four lists, also the empty ones."""
        listed: dict[str, list[dict[str, str]]] = {name: [] for name in KINDS.values()}
        for each in self.declarations:
            listed[KINDS[each.kind]].append({"Identifier": each.identifier, "ServerToken": each.server_token})
        return _json({"Declarations": listed, "DeclarationsToken": self.token})


def tokens(token: str, now: datetime) -> bytes:
    """The same for a list of declarations that is not at hand any more."""
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return _json({"SyncTokens": {"Timestamp": stamp, "DeclarationsToken": token}})


def basic(company: str, email: str, subscribed: Sequence[str]) -> Manifest:
    """What every managed device is told: who manages it, and which of the ``subscribed`` items to report."""
    name = "subscriptions"
    items = [{"Name": each} for each in sorted(subscribed)]
    return Manifest(
        (
            Declaration(ORGANIZATION, "organization", {"Name": company, "Email": email}),
            Declaration(SUBSCRIPTIONS, name, {"StatusItems": items}),
            Declaration(ACTIVATION, "activation", {"StandardConfigurations": [name]}),
        )
    )


def activation(identifier: str) -> Declaration:
    """What makes one configuration count: one for each, so that none fails because of another."""
    return Declaration(ACTIVATION, f"activation.{identifier}", {"StandardConfigurations": [identifier]}, identifier)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode()


def _digest(value: object) -> str:
    return hashlib.sha256(_json(value)).hexdigest()[:LONGEST_IDENTIFIER]
