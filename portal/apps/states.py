"""Where a work app is on a device. Apple's own states (InstallApplication, ManagedApplicationList) keep their names."""

from enum import StrEnum


class State(StrEnum):
    """What is known of an app on a device."""

    LICENSE = "license"
    """A license is being got for its owner."""
    NO_LICENSE = "no_license"
    """There is none; the reason says why."""
    TOO_OLD = "too_old"
    """The app asks for a newer iOS."""
    WAITING = "waiting"
    """The device is asked to install it, and did not answer yet."""
    REMOVING = "removing"
    """The device is asked to remove it."""

    QUEUED = "Queued"
    NEEDS_REDEMPTION = "NeedsRedemption"
    REDEEMING = "Redeeming"
    PROMPTING = "Prompting"
    PROMPTING_FOR_LOGIN = "PromptingForLogin"
    VALIDATING_PURCHASE = "ValidatingPurchase"
    INSTALLING = "Installing"
    MANAGED = "Managed"
    MANAGED_BUT_UNINSTALLED = "ManagedButUninstalled"
    USER_INSTALLED = "UserInstalledApp"
    USER_REJECTED = "UserRejected"
    PROMPTING_FOR_UPDATE = "PromptingForUpdate"
    PROMPTING_FOR_UPDATE_LOGIN = "PromptingForUpdateLogin"
    VALIDATING_UPDATE = "ValidatingUpdate"
    UPDATING = "Updating"
    UPDATE_REJECTED = "UpdateRejected"
    PROMPTING_FOR_MANAGEMENT = "PromptingForManagement"
    MANAGEMENT_REJECTED = "ManagementRejected"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


APPLES = frozenset(each for each in State if each.value[0].isupper())
"""Those that a device may tell."""
ENDS = frozenset(
    {
        State.MANAGED,
        State.MANAGED_BUT_UNINSTALLED,
        State.USER_INSTALLED,
        State.USER_REJECTED,
        State.MANAGEMENT_REJECTED,
        State.UPDATE_REJECTED,
        State.TOO_OLD,
    }
)
"""Nothing more happens by itself: it is there, or its owner decided."""
THERE = frozenset({State.MANAGED, State.UPDATE_REJECTED})
"""It is installed, and IT's."""
WITHOUT_LICENSE = frozenset({State.USER_INSTALLED, State.USER_REJECTED, State.MANAGEMENT_REJECTED, State.TOO_OLD})
"""The owner decided otherwise, or the device cannot: the license is somebody else's meanwhile."""
NEVER_THERE = frozenset({State.LICENSE, State.NO_LICENSE, *WITHOUT_LICENSE})
"""Nothing of it is on the device that IT could remove."""
UNDER_WAY = APPLES - ENDS - {State.FAILED}
"""The device is at it, or waits for its owner: it is asked how far it is."""


NOT_LICENSED = frozenset({"9610", "506"})
"""Codes with which devices say that they find no license, as other device managements saw them [?]."""


def lacks_license(reason: str | None) -> bool:
    """Whether a device failed for want of a license: the code is the last word of the reason."""
    words = (reason or "").split()
    return bool(words) and (words[-1] in NOT_LICENSED or "LicenseNotFound" in words[-1])


def told(value: object) -> State:
    """A state as a device tells it; what nobody knows is unknown."""
    try:
        state = State(str(value))
    except ValueError:
        return State.UNKNOWN
    return state if state in APPLES else State.UNKNOWN
