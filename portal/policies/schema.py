"""Makes ``payloads.json`` from Apple's published schema: what of every payload type applies in user enrollment on iOS.

``python -m portal.policies.schema REPOSITORY COMMIT`` with a clone of github.com/apple/device-management; needs PyYAML.
What later releases changed, as far as it was read by hand, stands in ``LATER``. Only facts are taken: names, kinds,
modes and versions, none of Apple's sentences.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "payloads.json"
FOLDER = "mdm/profiles"
APP_VPN, VPN = "com.apple.vpn.managed.applayer", "com.apple.vpn.managed"
NOT_ON_IOS = "n/a"
DEEPEST = 6
"""Levels of keys within keys."""
LATER: dict[str, Any] = {
    "source": "schema of iOS 18.3 (2e66738), of seeds of iOS 27.0 (97a11a8, 61449b0), Apple's list of changes for 27.0",
    "forbidden": {"com.apple.cellularprivatenetwork.managed": "27.0"},
    "deprecated": {
        "com.apple.mobiledevice.passwordpolicy": "27.0",
        "com.apple.relay.managed": "27.0",
        "com.apple.dnsProxy.managed": "27.0",
        "com.apple.sso": "26.0",
        "com.apple.applicationaccess allowAssistant": "26.4",
        "com.apple.applicationaccess allowAssistantWhileLocked": "26.4",
        "com.apple.applicationaccess forceOnDeviceOnlyDictation": "26.4",
        "com.apple.applicationaccess forceOnDeviceOnlyTranslation": "26.4",
        "com.apple.applicationaccess allowExternalIntelligenceIntegrations": "26.4",
    },
    "keys": {
        "com.apple.applicationaccess": {
            "allowExternalIntelligenceIntegrations": "18.2",
            "allowSiriAI": "27.0",
        }
    },
}
"""Differences of later releases: payloads that became forbidden, what became deprecated (a payload,
or one of its keys), keys that came and may be used in user enrollment."""


def make(repository: str, commit: str) -> dict[str, Any]:
    """The facts of every payload type that exists on iOS, by type."""
    payloads: dict[str, Any] = {}
    for path in _git(repository, "ls-tree", "-r", "--name-only", commit, FOLDER).splitlines():
        if path.endswith(".yaml"):
            _add(payloads, _yaml(_git(repository, "show", f"{commit}:{path}")))
    vpn = _yaml(_git(repository, "show", f"{commit}:{FOLDER}/{VPN}.yaml"))
    of_apps = payloads[APP_VPN]  # every key of the VPN payload applies to it, at its own level
    of_apps["keys"] = _keys(vpn["payloadkeys"], of_apps["os"], of_apps["ue"]) | of_apps["keys"]
    for each in payloads.values():
        del each["os"]
    _later(payloads)
    return {"source": f"github.com/apple/device-management @ {commit}", "later": LATER["source"], "payloads": payloads}


def _add(payloads: dict[str, Any], file: dict[str, Any]) -> None:
    kind, os = file["payload"].get("payloadtype"), _inherited({}, file["payload"])
    mode = _mode(os)
    if mode is None or not kind:
        return
    keys = _keys(file.get("payloadkeys") or [], os, mode)
    if kind in payloads:  # one type in two files: the generic extension and the one for Kerberos
        payloads[kind]["keys"] = _either(payloads[kind]["keys"], keys)
        return
    payloads[kind] = {
        "title": file.get("title", kind),
        "ue": mode,
        "since": str(os["introduced"]),
        "supervised": bool(os.get("supervised")),
        "several": os.get("multiple") is True,
        "manual": os.get("allowmanualinstall") is not False,
        "keys": keys,
        "os": os,
    }


def _keys(nodes: list[dict[str, Any]], parent: dict[str, Any], weakest: str, depth: int = 1) -> dict[str, Any]:
    """By name; a key within another is no better than that one. Some contain themselves."""
    found: dict[str, Any] = {}
    for node in nodes:
        os = _inherited(parent, node)
        mode = _mode(os)
        if mode is None:
            continue
        mode = weakest if weakest in ("forbidden", "ignored") and mode != "removed" else mode
        key: dict[str, Any] = {
            "type": str(node.get("type", "")).strip("<>"),
            "ue": mode,
            "since": str(os["introduced"]),
        }
        if node.get("presence") == "required":
            key["required"] = True
        if os.get("supervised"):
            key["supervised"] = True
        if os.get("deprecated"):
            key["deprecated"] = str(os["deprecated"])
        key |= {name: node[name] for name in ("default", "range", "rangelist") if name in node}
        deeper = depth < DEEPEST and _has_keys(node, key["type"])
        within = _keys(node.get("subkeys") or [], os, mode, depth + 1) if deeper else {}
        found[str(node["key"])] = key | ({"keys": within} if within else {})
    return found


def _either(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The keys of a payload that may be one of two: needed is what both need, a choice what either has."""
    both = {}
    for name in sorted(one.keys() | other.keys()):
        known = [keys[name] for keys in (one, other) if name in keys]
        key = dict(known[-1])
        if len(known) == 1 or not all(each.get("required") for each in known):
            key.pop("required", None)
        if len(known) == 2 and known[0].get("keys") != known[1].get("keys"):
            key.pop("keys", None)  # what stands within depends on which of both it is
        choices = [each.get("rangelist") for each in known]
        if len(known) == 2 and all(choices):
            key["rangelist"] = sorted({choice for each in choices for choice in each})
        else:
            key.pop("rangelist", None)
        both[name] = key
    return both


def _has_keys(node: dict[str, Any], kind: str) -> bool:
    """Whether what stands below a key are keys, and not the values that it may have."""
    return kind in ("dictionary", "array") or any("presence" in each for each in node.get("subkeys") or [])


def _inherited(parent: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    own = ((node.get("supportedOS") or {}).get("iOS")) or {}
    mode = {**(parent.get("userenrollment") or {}), **(own.get("userenrollment") or {})}
    return {**parent, **own, "userenrollment": mode}


def _mode(os: dict[str, Any]) -> str | None:
    """allowed, required, forbidden, ignored or removed; None for what does not exist on iOS."""
    since = str(os.get("introduced") or NOT_ON_IOS)
    if since == NOT_ON_IOS:
        return None
    return "removed" if os.get("removed") else str(os["userenrollment"].get("mode") or "allowed")


def _later(payloads: dict[str, Any]) -> None:
    for kind, version in LATER["forbidden"].items():
        payloads[kind] |= {"ue": "forbidden", "forbidden_since": version}
    for kind, names in LATER["keys"].items():
        for name, version in names.items():
            payloads[kind]["keys"].setdefault(name, {"type": "boolean", "default": True})
            payloads[kind]["keys"][name] |= {"ue": "allowed", "since": version}
    for name, version in LATER["deprecated"].items():
        kind, _, key = name.partition(" ")
        (payloads[kind]["keys"][key] if key else payloads[kind])["deprecated"] = version


def _git(repository: str, *arguments: str) -> str:
    command = ["git", "-C", repository, *arguments]
    done = subprocess.run(command, check=True, capture_output=True)  # noqa: S603  (a clone of Apple's, by who makes the file)
    return done.stdout.decode()


def _yaml(text: str) -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped]  # only who makes the file needs it

    read: dict[str, Any] = yaml.safe_load(text)
    return read


def write(repository: str, commit: str, path: Path = DATA) -> None:
    """Make the file anew."""
    told = json.dumps(make(repository, commit), indent=1, sort_keys=True, default=str, ensure_ascii=False)
    path.write_text(re.sub(r"\n {4,}", " ", told) + "\n", "utf-8")


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2])
