"""Which devices can enroll, and how: what the browser's user agent tells, and what follows from it.

Facts: Apple's user enrollment came with iOS 13.1 (a profile from Safari), from Settings with iOS 15; since iOS 18 a
profile no longer enrolls. Safari 26 keeps an iOS 18 token, so the larger of the two versions counts. An iPad's Safari
calls itself a Mac unless its owner says otherwise; its own version is then that of iOS. No version from here is ever
stored as the device's.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from portal.enrollment.journey import Way

OLDEST = (13, 1)
"""User Enrollment came with iOS 13.1; an admin may ask for more."""
FIRST_FROM_SETTINGS = 15
"""From this major version on a device can enroll from Settings."""
FIRST_WITHOUT_PROFILES = 18
"""From this major version on it can only enroll from Settings."""
LONGEST_USER_AGENT = 1024


class Verdict(StrEnum):
    OK = "ok"
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

    @property
    def ways(self) -> tuple[Way, ...]:
        """How the device can enroll."""
        return ways_of(self.version[0] if self.version is not None else None)


def ways_of(ios: int | None) -> tuple[Way, ...]:
    """How a device with that major version can enroll; never with a profile if it is unknown: iOS 18 takes none."""
    if ios is None or ios >= FIRST_WITHOUT_PROFILES:
        return (Way.ACCOUNT,)
    return (Way.PROFILE, Way.ACCOUNT) if ios >= FIRST_FROM_SETTINGS else (Way.PROFILE,)


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
def judge(user_agent: str, is_ipad: bool = False, oldest: tuple[int, ...] = OLDEST) -> Browser:
    """What ``user_agent`` can do; ``is_ipad``: what calls itself a Mac was seen to be an iPad, or its owner says so.

    ``oldest`` is the first version of iOS that may enroll.

    Never fails: what is not understood counts as a computer.
    """
    agent = user_agent[:LONGEST_USER_AGENT]
    if not _IOS.search(agent):
        if is_ipad and may_be_ipad(agent):
            return _safari(_version(_SAFARI_VERSION, agent), oldest)
        return Browser(Verdict.ANDROID if "Android" in agent else Verdict.COMPUTER)
    version = _ios_version(agent)
    for pattern, name in _OTHER_BROWSERS:
        if pattern.search(agent):
            return Browser(Verdict.OTHER_BROWSER, name, version)
    if "Version/" not in agent or "Safari/" not in agent:
        return Browser(Verdict.IN_APP, version=version)
    return _safari(version, oldest)


def may_be_ipad(user_agent: str) -> bool:
    """Whether this could be an iPad's Safari that asks for pages as a Mac does."""
    return all(part in user_agent for part in ("Macintosh", "Version/", "Safari/"))


def _safari(version: tuple[int, int] | None, oldest: tuple[int, ...]) -> Browser:
    fits = version is None or version >= oldest
    return Browser(Verdict.OK if fits else Verdict.IOS_TOO_OLD, version=version)


def _ios_version(agent: str) -> tuple[int, int] | None:
    system, safari = _version(_IOS_VERSION, agent), _version(_SAFARI_VERSION, agent)
    # Safari's own number only counts from the version on that froze the system's.
    if system and safari and safari[0] > max(system[0], FIRST_WITHOUT_PROFILES - 1):
        return safari
    return system


def _version(pattern: re.Pattern[str], agent: str) -> tuple[int, int] | None:
    found = pattern.search(agent)
    return (int(found[1]), int(found[2])) if found else None
