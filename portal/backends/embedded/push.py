"""Waking a device through Apple's push service, behind one method."""

from typing import Protocol


class Push(Protocol):
    """Sends ``{"mdm": PushMagic}`` to a device."""

    def wake(self, enrollment_id: str) -> str | None:
        """None if Apple took the push, else a reason code; never raises."""
        ...


class NoPush:
    """Without an MDM push certificate nobody can be woken: the device is served at its next connection."""

    def wake(self, enrollment_id: str) -> str | None:
        """Always the reason."""
        return "no_push_certificate"
