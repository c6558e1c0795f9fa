"""What an app is: name, bundle identifier, icon and lowest iOS, from Apple's store or from an in-house app's manifest.

Facts: Apple, "Apps and Books metadata for organizations" (``contentMetadataLookup``, the token as cookie ``itvt``);
an in-house app's manifest: Apple, "ManifestURL". What was read is kept: no page depends on either.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from portal import bounded, plists
from portal.apps_and_books.answers import text

TIMEOUT_SECONDS, LONGEST_SECONDS = 10.0, 20.0
"""For each piece of an answer, and for the whole."""
LARGEST = 1024 * 1024
"""Bytes of an answer, a manifest, a picture; unpacked."""
ICON_PIXELS = 128
BUNDLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,154}")
"""Apple, CFBundleIdentifier: letters, digits, hyphens and periods."""
VERSION = re.compile(r"[0-9]{1,3}(\.[0-9]{1,4}){0,3}")

log = logging.getLogger("portal.apps_and_books")


class NotFound(Exception):
    """Nothing is known of such an app; ``code``: unreachable, unknown, not_for_iphone, no_manifest."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of an app. ``icon``: a picture as it was fetched, or nothing."""

    bundle_id: str
    name: str
    minimum_ios: str
    icon: bytes = b""


def look_up(
    address: str, token: str, country: str, adam_id: str, transport: httpx.BaseTransport | None = None
) -> Described:
    """An app of the store. Raises NotFound."""
    query = {
        "version": "2",
        "p": "mdm-lockup",
        "caller": "MDM",
        "platform": "enterprisestore",
        "cc": country.lower() or "us",
        "l": "en",
        "id": adam_id,
    }
    with _client(transport) as client:
        content = _fetched(client, address, params=query, headers={"Cookie": f"itvt={token}"} if token else {})
        try:
            told = json.loads(content)
        except (ValueError, RecursionError):
            told = None
        results = told.get("results") if isinstance(told, dict) else None
        found = results.get(adam_id) if isinstance(results, dict) else None
        if not isinstance(found, dict):
            raise NotFound("unknown")
        families = found.get("deviceFamilies")
        if isinstance(families, list) and families and "iphone" not in families:
            raise NotFound("not_for_iphone")
        return _described(
            text(found, "bundleId"),
            text(found, "name"),
            text(found, "minimumOSVersion"),
            _icon(client, found.get("artwork"), address),
        )


def read_manifest(address: str, transport: httpx.BaseTransport | None = None) -> Described:
    """An in-house app by its manifest's https address. Raises NotFound."""
    with _client(transport) as client:
        content = _fetched(client, address)
    try:
        told = plists.read(content)
        items = told.get("items")
        first = items[0] if isinstance(items, list) and items and isinstance(items[0], dict) else {}
        metadata = first.get("metadata") if isinstance(first.get("metadata"), dict) else {}
    except plists.BadPlist:
        raise NotFound("no_manifest") from None
    if not metadata or metadata.get("kind") not in ("software", None):
        raise NotFound("no_manifest")
    return _described(
        text(metadata, "bundle-identifier"), text(metadata, "title"), text(metadata, "minimum-os-version")
    )


def _described(bundle_id: str, name: str, minimum_ios: str, icon: bytes = b"") -> Described:
    if not BUNDLE_ID.fullmatch(bundle_id):
        raise NotFound("unknown")
    return Described(bundle_id, name or bundle_id, minimum_ios if VERSION.fullmatch(minimum_ios) else "", icon)


def _client(transport: httpx.BaseTransport | None) -> httpx.Client:
    hooks = bounded.within(LARGEST, LONGEST_SECONDS)
    return httpx.Client(timeout=TIMEOUT_SECONDS, transport=transport, follow_redirects=False, event_hooks=hooks)


def _fetched(client: httpx.Client, address: str, **request: Any) -> bytes:
    """What stands at an address, as far as it is not too large."""
    try:
        answer = client.get(address, **request)
    except bounded.TooLarge:
        raise NotFound("unknown") from None
    except (httpx.HTTPError, httpx.InvalidURL):
        raise NotFound("unreachable") from None
    if answer.status_code != 200:
        raise NotFound("unreachable" if answer.status_code >= 500 else "unknown")
    return answer.content


def _icon(client: httpx.Client, artwork: object, address: str) -> bytes:
    """The icon, if the store has one at an address that it may be fetched from."""
    told: Mapping[str, Any] = artwork if isinstance(artwork, dict) else {}
    pattern = str(told.get("url") or "")[:1000]
    url = pattern.replace("{w}", str(ICON_PIXELS)).replace("{h}", str(ICON_PIXELS)).replace("{f}", "png")
    try:
        parts = urlsplit(url if url.isprintable() else "")
    except ValueError:
        return b""
    if parts.scheme != "https" and (parts.scheme, parts.netloc) != ("http", urlsplit(address).netloc):
        return b""
    try:
        return _fetched(client, url)
    except NotFound:
        log.info("apps_and_books.no_icon")
        return b""
