"""Which browsers can install a profile: what the user agent tells, and what follows from it.

Facts: shared knowledge of Apple's protocols, section 6. Since iOS 18 a profile no longer enrolls; Safari 26 keeps
an iOS 18 token, so the larger of the two versions counts. The version is never stored as the device's.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

OLDEST = (13, 1)
"""User Enrollment came with iOS 13.1."""
FIRST_WITHOUT_PROFILES = 18
"""From this major version on Apple accepts account-driven enrollment only."""
LONGEST_USER_AGENT = 1024


class Verdict(StrEnum):
    OK = "ok"
    IOS_TOO_NEW = "ios-too-new"
    IOS_TOO_OLD = "ios-too-old"
    ANDROID = "android"
    OTHER_BROWSER = "other-browser"
    IN_APP = "in-app"
    COMPUTER = "computer"


@dataclass(frozen=True, slots=True)
class Browser:
    """What a user agent says. ``version`` is iOS's (major, minor), None when it does not tell."""

    verdict: Verdict
    name: str = ""
    version: tuple[int, int] | None = None


_IOS = re.compile(r"\b(?:iPhone|iPad|iPod)\b")
_IOS_VERSION = re.compile(r"\bOS (\d{1,3})[_.](\d{1,3})(?:[_.]\d{1,3})? like Mac OS X")
_SAFARI_VERSION = re.compile(r"\bVersion/(\d{1,3})\.(\d{1,3})")
_OTHER_BROWSERS = (
    (re.compile(r"\bCriOS/"), "Chrome"),
    (re.compile(r"\bFxiOS/"), "Firefox"),
    (re.compile(r"\bFocus/"), "Firefox Focus"),
    (re.compile(r"\bEdgiOS/"), "Edge"),
    (re.compile(r"\bOPT/|\bOPiOS/"), "Opera"),
    (re.compile(r"\bDuckDuckGo/|\bDdg/"), "DuckDuckGo"),
    (re.compile(r"\bYaBrowser/"), "Yandex"),
    (re.compile(r"\bBrave/"), "Brave"),
    (re.compile(r"\bGSA/"), "Google"),
)


@lru_cache(maxsize=1024)
def judge(user_agent: str) -> Browser:
    """What ``user_agent`` can do. Never fails: what is not understood counts as a computer."""
    agent = user_agent[:LONGEST_USER_AGENT]
    if not _IOS.search(agent):
        return Browser(Verdict.ANDROID if "Android" in agent else Verdict.COMPUTER)
    version = _ios_version(agent)
    for pattern, name in _OTHER_BROWSERS:
        if pattern.search(agent):
            return Browser(Verdict.OTHER_BROWSER, name, version)
    if "Version/" not in agent or "Safari/" not in agent:
        return Browser(Verdict.IN_APP, version=version)
    if version is None:
        return Browser(Verdict.IOS_TOO_NEW)  # unknown: never offer a profile
    if version[0] >= FIRST_WITHOUT_PROFILES:
        return Browser(Verdict.IOS_TOO_NEW, version=version)
    return Browser(Verdict.OK if version >= OLDEST else Verdict.IOS_TOO_OLD, version=version)


def _ios_version(agent: str) -> tuple[int, int] | None:
    system = _IOS_VERSION.search(agent)
    if system is None:
        return None
    found = (int(system[1]), int(system[2]))
    safari = _SAFARI_VERSION.search(agent)
    # Safari's own number only counts from the version on that froze the system's.
    if safari and int(safari[1]) > max(found[0], FIRST_WITHOUT_PROFILES - 1):
        return int(safari[1]), int(safari[2])
    return found
