"""Everything the domain can refuse, by name. ``web/errors.py`` turns each into one page or status."""

from portal.database import Recorded


class EnrollmentError(Exception):
    """Base of all refusals."""


class LinkUnusable(EnrollmentError):
    """The link is unknown, mangled, used, cancelled or expired: to the outside all the same."""


class StepOutOfOrder(EnrollmentError):
    """The step is not the current one; the caller goes to the current step."""


class RequestEnded(EnrollmentError):
    """The request expired, was cancelled or was used up."""


class WrongPerson(Recorded, EnrollmentError):
    """Someone else than the person the request is for signed in."""


class NoManagedAppleAccount(Recorded, EnrollmentError):
    """The person has no Managed Apple Account: no request is made for them, and one that there is goes no further."""


class SelfEnrollmentOff(EnrollmentError):
    """Employees may not start by themselves."""


class TooManyDevices(EnrollmentError):
    """The person has as many managed devices as one may have."""


class NoPhone(EnrollmentError):
    """Nobody knows a phone number of the person, or no gateway for text messages is configured."""


class UnknownPerson(EnrollmentError):
    """No such person, or one that is disabled."""


class PasscodeWrong(Recorded, EnrollmentError):
    """The passcode does not fit; ``tries_left`` says how many tries remain."""

    def __init__(self, tries_left: int) -> None:
        super().__init__(tries_left)
        self.tries_left = tries_left


class PasscodeLocked(Recorded, EnrollmentError):
    """No tries are left, or the passcode was used: a new one must be sent."""


class PasscodeTooSoon(EnrollmentError):
    """A passcode was sent less than the shortest wait ago; ``seconds`` until the next."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class PasscodeExpired(Recorded, EnrollmentError):
    """The passcode is too old: a new one has to be sent."""


class PasscodeSendsUsedUp(EnrollmentError):
    """The employee had as many passcodes sent as allowed; helpdesk has to send the next."""


class TermsChanged(EnrollmentError):
    """Another version than the one shown is current; it must be read and accepted instead."""


class ProfileUnavailable(EnrollmentError):
    """The ticket is unknown, superseded, used or expired."""


class ChallengeRefused(Recorded, EnrollmentError):
    """A SCEP challenge is not accepted; ``reason`` is a code for the event."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TokenRefused(Recorded, EnrollmentError):
    """An access token is not accepted: its device's owner has to sign in again; ``reason`` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class WrongAccount(Recorded, EnrollmentError):
    """Another Managed Apple Account was typed in Settings than ``account``, that of the person who signed in."""

    def __init__(self, account: str) -> None:
        super().__init__()
        self.account = account


class DeviceRefused(Recorded, EnrollmentError):
    """A device may not enroll or speak; ``reason`` is a code for the event.

    ``for_good``: there is nothing to come back for, so it is to give its enrollment up.
    """

    def __init__(self, reason: str, *, for_good: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.for_good = reason, for_good


class CommandForbidden(EnrollmentError):
    """User enrollment does not allow the command; ``reason`` is a code, ``parts`` what of the command is forbidden."""

    def __init__(self, request_type: str, reason: str, parts: tuple[str, ...] = ()) -> None:
        super().__init__(f"{request_type}: {', '.join(parts) or reason}")
        self.request_type = request_type
        self.reason = reason
        self.parts = parts


class HandoverRefused(Recorded, EnrollmentError):
    """The server that enrolls devices by itself does not take this person; ``reason`` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BackendUnavailable(EnrollmentError):
    """Device management cannot be reached; nothing is lost."""


class DeviceGone(EnrollmentError):
    """The enrollment is over, or never came to an end: there is nothing to manage."""


class ConfirmationWrong(EnrollmentError):
    """What was typed to confirm is not the device's name."""


class ProfileUnknown(EnrollmentError):
    """The device has no such profile, or it is the enrollment's own, which only leaves with everything else."""


class RemovalsHeld(Recorded, EnrollmentError):
    """The brake holds: two admins have to agree first."""
